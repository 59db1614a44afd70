/**
 * Hostile and broken torch archives. Each must be refused with the code it says, within a second, without touching the
 * canary that the code-running ones aim at, and without memory growing out of proportion.
 */

import { existsSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  broken,
  canary,
  forbidden,
  invalid,
  type Payload,
  requireRefused,
  shell,
  source,
} from './payloads.ts';
import {
  bytes,
  call,
  dict,
  global,
  int,
  op,
  orderedDict,
  pickle,
  shortText,
  storage,
  tensor,
  text,
  tuple,
  u32,
  u64,
} from './pickleAssembler.ts';

const test = suite('hostile pickles');

/** Globals that have run code in known attacks on torch and pickle scanners. */
const gadgets: readonly [string, string][] = [
  ['os', 'system'],
  ['posix', 'system'],
  ['nt', 'system'],
  ['builtins', 'eval'],
  ['builtins', 'exec'],
  ['builtins', 'getattr'],
  ['builtins', '__import__'],
  ['builtins', 'compile'],
  ['__builtin__', 'eval'],
  ['subprocess', 'Popen'],
  ['subprocess', 'check_output'],
  ['runpy', '_run_code'],
  ['code', 'InteractiveInterpreter'],
  ['pickle', 'loads'],
  ['_pickle', 'loads'],
  ['torch', 'load'],
  ['torch.storage', '_load_from_bytes'],
  ['torch._utils', '_rebuild_tensor'],
  ['torch._utils', '_rebuild_tensor_v3'],
  ['torch', 'Storage'],
  ['numpy.testing._private.utils', 'runstring'],
  ['numpy.core.multiarray', '_reconstruct'],
  ['pip', 'main'],
  ['operator', 'attrgetter'],
  ['functools', 'partial'],
  ['asyncio.unix_events', '_UnixSubprocessTransport._start'],
  ['importlib', 'import_module'],
  ['ctypes', 'CDLL'],
  ['shutil', 'rmtree'],
  ['socket', 'create_connection'],
  ['webbrowser', 'open'],
  ['timeit', 'timeit'],
  ['bdb', 'Bdb.run'],
  ['collections', 'OrderedDict.__init__'],
  ['collections', 'namedtuple'],
  ['copyreg', '_reconstructor'],
  ['types', 'CodeType'],
  ['typing', 'get_type_hints'],
];

const payloads: readonly Payload[] = [
  ...gadgets.map(([module, name]) =>
    forbidden(
      `GLOBAL ${module}.${name}`,
      () => dict({ w: call(global(module, name), shell()) }),
      new RegExp(`${module}.${name}`.replaceAll('.', '\\.')),
    ),
  ),
  ...gadgets
    .slice(0, 5)
    .map(([module, name]) =>
      forbidden(
        `STACK_GLOBAL ${module}.${name}`,
        () => [shortText(module), shortText(name), op.STACK_GLOBAL, tuple(source()), op.REDUCE],
        /global/,
        4,
      ),
    ),
  forbidden(
    'STACK_GLOBAL of memoised strings',
    () => [
      shortText('os'),
      op.MEMOIZE,
      shortText('system'),
      op.MEMOIZE,
      op.BINGET,
      0,
      op.BINGET,
      1,
      op.STACK_GLOBAL,
      tuple(shell()),
      op.REDUCE,
    ],
    /os\.system/,
    4,
  ),
  forbidden('STACK_GLOBAL of numbers', () => [int(1), int(2), op.STACK_GLOBAL], /STACK_GLOBAL/, 4),
  forbidden(
    'STACK_GLOBAL with a newline in the module',
    () => [shortText('torch\nos'), shortText('system'), op.STACK_GLOBAL],
    /global/,
    4,
  ),
  forbidden('GLOBAL with a known word inside', () => [global('torch FloatStorage', 'x')], /global/),
  forbidden('GLOBAL with spaces', () => [global('torch', 'FloatStorage ')], /global/),
  forbidden('INST', () => [op.MARK, shell(), op.INST, 'os\nsystem\n'], /INST/),
  forbidden('OBJ', () => [op.MARK, global('collections', 'OrderedDict'), shell(), op.OBJ], /OBJ/),
  forbidden('NEWOBJ', () => [global('collections', 'OrderedDict'), op.EMPTY_TUPLE, op.NEWOBJ], /NEWOBJ/),
  forbidden(
    'NEWOBJ_EX',
    () => [global('collections', 'OrderedDict'), op.EMPTY_TUPLE, op.EMPTY_DICT, op.NEWOBJ_EX],
    /NEWOBJ_EX/,
    4,
  ),
  forbidden('EXT1', () => [op.EXT1, 1], /EXT1/),
  forbidden('EXT2', () => [op.EXT2, 1, 0], /EXT2/),
  forbidden('EXT4', () => [op.EXT4, u32(1)], /EXT4/),
  forbidden(
    'BUILD with __setstate__',
    () => [dict({ w: tensor() }), dict({ __setstate__: global('torch', 'FloatStorage') }), op.BUILD],
    /__setstate__/,
  ),
  forbidden(
    'BUILD with __dict__ tricks',
    () => [dict({ w: tensor() }), dict({ __class__: int(1) }), op.BUILD],
    /__class__/,
  ),
  forbidden('BUILD on a tensor', () => dict({ w: [tensor(), op.EMPTY_DICT, op.BUILD] }), /BUILD/),
  forbidden(
    'BUILD with slots state',
    () => [dict({ w: tensor() }), tuple(op.NONE, op.EMPTY_DICT), op.BUILD],
    /BUILD/,
  ),
  forbidden('REDUCE on a string', () => call(text('os.system'), shell()), /REDUCE/),
  forbidden('REDUCE on a dict', () => call(orderedDict, shell()), /REDUCE/),
  forbidden(
    'REDUCE without a tuple',
    () => [global('collections', 'OrderedDict'), op.EMPTY_DICT, op.REDUCE],
    /REDUCE/,
  ),
  forbidden(
    'a call of a storage type',
    () => dict({ w: call(global('torch', 'FloatStorage'), int(1e6)) }),
    /FloatStorage/,
  ),
  forbidden(
    'OrderedDict with arguments',
    () => call(global('collections', 'OrderedDict'), tuple()),
    /OrderedDict/,
  ),
  forbidden('PERSID of protocol 0', () => [op.PERSID, 'storage\n'], /PERSID/),
  forbidden('persistent id that is a string', () => [text('storage'), op.BINPERSID], /persistent/),
  forbidden(
    'persistent id of four',
    () => [tuple(text('storage'), global('torch', 'FloatStorage'), text('0'), text('cpu')), op.BINPERSID],
    /persistent/,
  ),
  forbidden(
    'persistent id of a module',
    () => [
      tuple(text('module'), global('torch', 'FloatStorage'), text('0'), text('cpu'), int(4)),
      op.BINPERSID,
    ],
    /persistent/,
  ),
  broken(
    'persistent id whose type is a string',
    [tuple(text('storage'), text('FloatStorage'), text('0'), text('cpu'), int(4)), op.BINPERSID],
    /storage/,
  ),
  broken(
    'persistent id whose type is a function',
    [
      tuple(text('storage'), global('torch._utils', '_rebuild_parameter'), text('0'), text('cpu'), int(4)),
      op.BINPERSID,
    ],
    /storage/,
  ),
  broken('storage key with a path', dict({ w: tensor({ key: '../version' }) }), /key/),
  broken('storage key of an inherited property', dict({ w: tensor({ key: '__proto__' }) }), /missing/),
  broken('storage with a negative size', dict({ w: tensor({ elements: -4 }) }), /storage/),
  broken('storage larger than its entry', dict({ w: tensor({ elements: 5 }) }), /takes 20 bytes, found 16/),
  broken(
    'storage smaller than its entry',
    dict({ w: tensor({ elements: 3, shape: [3] }) }),
    /takes 12 bytes, found 16/,
  ),
  broken('storage of 2^53 elements', dict({ w: tensor({ elements: 2 ** 53 - 1 }) }), /takes/),
  broken('storage that is not in the archive', dict({ w: tensor({ key: '7' }) }), /missing/),
  broken('one storage in two types', dict({ v: tensor(), w: tensor({ type: 'IntStorage' }) }), /two ways/),
  broken('negative offset', dict({ w: tensor({ offset: -1 }) }), /offset/),
  broken('offset past the end', dict({ w: tensor({ offset: 1 }) }), /runs past/),
  broken('negative stride', dict({ w: tensor({ stride: [2, -1] }) }), /stride/),
  broken('transposed', dict({ w: tensor({ stride: [1, 2] }) }), /contiguous/),
  broken('expanded (stride 0)', dict({ w: tensor({ shape: [1000000, 4], stride: [0, 1] }) }), /contiguous/),
  broken('shape past its storage', dict({ w: tensor({ shape: [3, 3] }) }), /runs past/),
  broken(
    'shape whose product overflows',
    dict({
      w: tensor({ shape: [2 ** 31 - 1, 2 ** 22, 2 ** 31 - 1], stride: [2 ** 53 - 1, 2 ** 31 - 1, 1] }),
    }),
    /contiguous|runs past/,
  ),
  broken('shape with a zero', dict({ w: tensor({ shape: [0, 4] }) }), /no elements/),
  broken(
    'shape with a fraction',
    dict({
      w: call(
        global('torch._utils', '_rebuild_tensor_v2'),
        storage(),
        int(0),
        tuple([0x47, Buffer.alloc(8, 0x3f)]),
        tuple(int(1)),
        op.NEWFALSE,
        orderedDict,
      ),
    }),
    /broken storage/,
  ),
  broken(
    'shape of nine dimensions',
    dict({ w: tensor({ shape: [1, 1, 1, 1, 1, 1, 1, 1, 4] }) }),
    /broken storage/,
  ),
  broken('strides of another rank', dict({ w: tensor({ stride: [1] }) }), /broken storage/),
  broken(
    'tensor without a storage',
    dict({
      w: call(
        global('torch._utils', '_rebuild_tensor_v2'),
        text('0'),
        int(0),
        tuple(),
        tuple(),
        op.NEWFALSE,
        orderedDict,
      ),
    }),
    /broken storage/,
  ),
  broken(
    'parameter of a string',
    dict({ w: call(global('torch._utils', '_rebuild_parameter'), text('x'), op.NEWTRUE, orderedDict) }),
    /parameter/,
  ),
  broken('a tensor at the top', tensor(), /dict of tensors/),
  broken('a nested state dict', dict({ state_dict: dict({ w: tensor() }) }), /dict of tensors/),
  broken('a function as a value', dict({ w: global('torch', 'FloatStorage') }), /dict of tensors/),
  broken('a number as a key', [op.EMPTY_DICT, int(1), tensor(), op.SETITEM], /dict of tensors/),
  broken('a tuple as a key', [op.EMPTY_DICT, tuple(), tensor(), op.SETITEM], /key/),
  broken(
    'one key twice',
    [op.EMPTY_DICT, text('w'), tensor(), op.SETITEM, text('w'), tensor(), op.SETITEM],
    /twice/,
  ),
  broken('items of a string', [text('x'), text('w'), tensor(), op.SETITEM], /not a dict/),
  broken('appending to a dict', [op.EMPTY_DICT, int(1), op.APPEND], /not a list/),
  broken('an empty stack', op.REDUCE, /empty stack/),
  broken('a value across a MARK', [int(1), op.MARK, op.TUPLE1], /empty stack/),
  broken('TUPLE without MARK', [int(1), op.TUPLE], /MARK/),
  broken('odd SETITEMS', [op.EMPTY_DICT, op.MARK, text('w'), op.SETITEMS], /dict/),
  broken('values left over', [int(1), dict({ w: tensor() })], /stack/),
  broken('unknown memo', [op.BINGET, 9], /remembered/),
  broken('memo of nothing', [op.BINPUT, 0], /empty stack/),
  broken('frame longer than the pickle', [op.FRAME, u64(2n ** 60n), dict({ w: tensor() })], /frame/, 4),
  broken('string longer than the pickle', [op.BINUNICODE, u32(4000), 'x'], /too early/),
  broken('string that is not UTF-8', [op.SHORT_BINUNICODE, 2, 0xff, 0xfe], /UTF-8/),
  broken('integer past 2^53', [op.LONG1, 8, Buffer.alloc(8, 0x7f)], /range/),
  broken('a second PROTO', [op.PROTO, 2, dict({ w: tensor() })], /protocol/),
  forbidden('integer of 255 bytes', () => [op.LONG1, 255, Buffer.alloc(255, 1)], /integer/),
  forbidden('LONG4 of 2 GB', () => [op.LONG4, u32(0x7fffffff)], /LONG4/),
  forbidden('string of 4 GB', () => [op.BINUNICODE, u32(0xffffffff)], /string/),
  forbidden('BINUNICODE8 of 2^63', () => [op.BINUNICODE8, u64(2n ** 63n)], /BINUNICODE8/, 4),
  forbidden('BINBYTES8', () => [op.BINBYTES8, u64(2n ** 40n)], /BINBYTES8/, 4),
  forbidden('BYTEARRAY8', () => [op.BYTEARRAY8, u64(2n ** 40n)], /BYTEARRAY8/, 5),
  forbidden('NEXT_BUFFER', () => op.NEXT_BUFFER, /NEXT_BUFFER/, 5),
  forbidden('POP to hide a value', () => [int(1), op.POP], /POP/),
  forbidden('DUP', () => [int(1), op.DUP], /DUP/),
  forbidden('old STRING', () => [op.STRING, "'x'\n"], /STRING/),
  forbidden('old GET', () => [op.GET, '0\n'], /GET/),
  forbidden('FROZENSET', () => [op.MARK, op.FROZENSET], /FROZENSET/, 4),
  forbidden('an opcode that does not exist', () => 0xff, /0xff/),
  // bombs
  forbidden('tuples nested 100,000 deep', () => [op.EMPTY_TUPLE, Buffer.alloc(100_000, op.TUPLE1)], /nested/),
  forbidden(
    'billion laughs',
    () => [text('lol'), Array.from({ length: 64 }, () => [op.BINPUT, 1, op.BINGET, 1, op.TUPLE2])],
    /nested/,
  ),
  forbidden(
    'memo of 300,000 values',
    () => [int(1), Array.from({ length: 300_000 }, (_, i) => bytes(op.LONG_BINPUT, u32(i)))],
    /remembered/,
  ),
  forbidden('300,000 values on the stack', () => Buffer.alloc(300_000, op.NONE), /stack/),
  forbidden('300,000 marks', () => Buffer.alloc(300_000, op.MARK), /stack/),
  forbidden('100,000 dicts', () => Buffer.alloc(100_000, op.EMPTY_DICT), /objects/),
  forbidden(
    '100,000 lists in lists',
    () => Buffer.alloc(200_000, bytes(op.EMPTY_LIST, op.MARK)),
    /objects|stack/,
  ),
  forbidden(
    'two million opcodes',
    () => [op.EMPTY_LIST, Buffer.alloc(2_000_000, bytes(op.NONE, op.APPEND))],
    /opcodes/,
  ),
  invalid(
    'a pickle of 5 MB',
    { pickle: pickle([op.EMPTY_LIST, Buffer.alloc(5_000_000, op.NONE)]) },
    /at most/,
  ),
];

test(`${payloads.length} pickles are refused by name`, async () => {
  assert.ok(payloads.length >= 60);
  await requireRefused(payloads);
  assert.not(existsSync(canary()));
});

test.run();
