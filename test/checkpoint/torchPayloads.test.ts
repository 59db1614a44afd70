/**
 * Hostile and broken torch archives. Each must be refused with the code it says, within a second, without touching the
 * canary that the code-running ones aim at, and without memory growing out of proportion.
 */

import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readTorchArchive } from '../../lib/checkpoint/torchArchive.ts';
import { type ErrorCode, SemanticVlaError } from '../../lib/errors.ts';
import { scratchFolder } from '../helpers/golden.ts';
import {
  bytes,
  call,
  dict,
  global,
  int,
  op,
  orderedDict,
  type Part,
  pickle,
  shortText,
  storage,
  tensor,
  text,
  tuple,
  u32,
  u64,
} from './pickleAssembler.ts';
import { fourFloats, slowCrc32, type TorchParts, torchArchive, type ZipPart, zip } from './zipAssembler.ts';

const test = suite('hostile torch archives');
const canary = (): string => join(scratchFolder(), 'canary');
const valid = pickle(dict({ w: tensor() }));
const shell = (): Part => text(`touch ${canary()}`);
const source = (): Part => text(`open(${JSON.stringify(canary())}, 'w')`);

interface Payload {
  readonly name: string;
  readonly code: ErrorCode;
  readonly make: () => Buffer;
  /** In the message. */
  readonly names?: RegExp;
}

/** A pickle that is refused because of what it would do. */
function forbidden(name: string, body: () => Part, names?: RegExp, protocol = 2): Payload {
  return {
    name,
    code: 'TORCH_ARCHIVE_FORBIDDEN',
    make: () => torchArchive({ pickle: pickle(body(), protocol) }),
    ...(names === undefined ? {} : { names }),
  };
}

/** A pickle that is refused because it is broken. */
function broken(name: string, body: Part, names?: RegExp, protocol = 2): Payload {
  return { ...forbidden(name, () => body, names, protocol), code: 'TORCH_ARCHIVE_INVALID' };
}

/** An archive that is refused whatever its pickle says. */
function invalid(name: string, parts: Partial<TorchParts> | (() => Buffer), names?: RegExp): Payload {
  const make = typeof parts === 'function' ? parts : () => torchArchive({ pickle: valid, ...parts });
  return { name, code: 'TORCH_ARCHIVE_INVALID', make, ...(names === undefined ? {} : { names }) };
}

/** Changes the entry whose name ends so. */
function change(ending: string, changes: Partial<ZipPart>): Partial<TorchParts> {
  return {
    edit: (parts) => parts.map((part) => (part.name.endsWith(ending) ? { ...part, ...changes } : part)),
  };
}

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
  // the archive around it
  invalid('compressed pickle', change('data.pkl', { method: 8 }), /compressed/),
  invalid('compressed data', change('data/0', { method: 8 }), /compressed/),
  invalid('encrypted entry', change('data/0', { flags: 0x801 }), /encrypted/),
  invalid('strong encryption flag', change('data/0', { flags: 0x840 }), /flags/),
  invalid('wrong CRC of the pickle', change('data.pkl', { crc: 1 }), /CRC/),
  invalid('wrong CRC in one header', change('data/0', { localCrc: 1 }), /CRC/),
  invalid('wrong size in the local header', change('data/0', { localSize: 12 }), /sizes/),
  invalid('two sizes for a stored entry', change('data/0', { centralCompressedSize: 8 }), /two sizes/),
  invalid(
    'size past the end',
    change('data/0', { centralSize: 0x10000000, localSize: 0x10000000 }),
    /runs into/,
  ),
  invalid('offset past the end', change('data/0', { centralOffset: 0x7fffffff }), /outside/),
  invalid('another name in the local header', change('data/0', { localName: 'archive/data/9' }), /differs/),
  invalid(
    'overlapping entries',
    change('version', { centralOffset: 0, name: 'archive/data.pkl2', localName: 'archive/data.pkl' }),
    /differs|overlap/,
  ),
  invalid('one body, two entries', overlapping, /overlap/),
  invalid(
    'parent path',
    { edit: (parts) => [...parts, { name: 'archive/../../etc/passwd', data: fourFloats }] },
    /unsafe/,
  ),
  invalid(
    'absolute path',
    { edit: (parts) => [...parts, { name: '/etc/passwd', data: fourFloats }] },
    /unsafe/,
  ),
  invalid(
    'backslash path',
    { edit: (parts) => [...parts, { name: 'archive\\..\\x', data: fourFloats }] },
    /unsafe/,
  ),
  invalid(
    'NUL in a name',
    { edit: (parts) => [...parts, { name: 'archive/data.pkl\0.txt', data: fourFloats }] },
    /unsafe/,
  ),
  invalid('empty name', { edit: (parts) => [...parts, { name: '', data: fourFloats }] }, /unsafe/),
  invalid('duplicate names', { edit: (parts) => [...parts, parts[0]!] }, /two entries/),
  invalid(
    'two pickles',
    { edit: (parts) => [...parts, { name: 'other/data.pkl', data: valid }] },
    /one entry/,
  ),
  invalid(
    'no pickle',
    change('data.pkl', { name: 'archive/data.txt', localName: 'archive/data.txt' }),
    /one entry/,
  ),
  invalid(
    'entries outside of the stem',
    { edit: (parts) => [...parts, { name: 'constants.pkl', data: valid }] },
    /outside/,
  ),
  invalid('big endian', { byteorder: 'big' }, /byteorder/),
  invalid('a TorchScript version', { version: '10\n' }, /version/),
  invalid('no version', { version: null }, /version/),
  invalid('ZIP64 count lies', { lies: { zip64: true, zip64Count: 2 ** 40 } }, /central directory/),
  invalid('ZIP64 offset past 2^53', { lies: { zip64: true, zip64Offset: 2n ** 63n } }, /range/),
  invalid('ZIP64 offset lies', { lies: { zip64: true, zip64Offset: 0 } }, /directory/),
  invalid(
    'saturated sizes without a ZIP64 field',
    change('data/0', { centralSize: 0xffffffff, localSize: 0xffffffff }),
    /ZIP64/,
  ),
  invalid('entry count lies', { lies: { count: 3 } }, /more than its entries/),
  invalid('entry count too high', { lies: { count: 9 } }, /broken/),
  invalid('directory size lies', { lies: { directorySize: 10 } }, /directory/),
  invalid('directory offset lies', { lies: { directoryOffset: 5 } }, /directory/),
  invalid('several disks', { lies: { disk: 1 } }, /disks/),
  invalid('an archive comment', { lies: { comment: 'x' } }, /end record/),
  invalid(
    'prepended bytes that shift everything',
    () => Buffer.concat([Buffer.alloc(64, 0x50), torchArchive({ pickle: valid })]),
    /directory/,
  ),
  invalid(
    'a second archive behind',
    () => Buffer.concat([torchArchive({ pickle: valid }), torchArchive({ pickle: valid })]),
    /directory/,
  ),
  invalid('an empty file', () => Buffer.alloc(0), /too few/),
  invalid('a text file', () => Buffer.from('not found\n'.repeat(10)), /end record/),
  invalid('a bare pickle, as torch < 1.6 wrote', () => valid, /end record|too few/),
  invalid('an empty archive', () => zip([]), /one entry/),
];

/** Two names for the same bytes: the second local header lies inside the first entry's data. */
function overlapping(): Buffer {
  const inner = zip([{ name: 'archive/data/1', data: fourFloats }]);
  const data = inner.subarray(0, 30 + 'archive/data/1'.length + fourFloats.length);
  const outerHeader = 30 + 'archive/data/0'.length;
  return torchArchive({
    pickle: valid,
    edit: () => [
      { name: 'archive/data/0', data },
      { name: 'archive/version', data: Buffer.from('3\n') },
      { name: 'archive/data.pkl', data: valid },
      // Its own local header is written too, but the directory points into the first entry.
      { name: 'archive/data/1', data: fourFloats, centralOffset: outerHeader },
    ],
  });
}

/** What is wrong with how the payload was treated; null when it was refused as it should be. */
async function complaint(payload: Payload, index: number): Promise<string | null> {
  const file = join(scratchFolder(), `payload-${index}.pt`);
  writeFileSync(file, payload.make());
  const before = process.memoryUsage().rss;
  const started = performance.now();
  const error: unknown = await readTorchArchive(file).then(
    () => null,
    (reason: unknown) => reason,
  );
  const took = performance.now() - started;
  const grown = process.memoryUsage().rss - before;
  rmSync(file);
  if (!(error instanceof SemanticVlaError)) return `${payload.name}: ended with ${String(error)}`;
  const isWorded = error.message.includes(file) && (payload.names ?? /again\./).test(error.message);
  if (error.code !== payload.code || !isWorded) return `${payload.name}: ${error.code}: ${error.message}`;
  if (took > 1000) return `${payload.name}: took ${took} ms`;
  // The file itself (5 MB at most) and what the garbage collector has not taken back yet.
  return grown > 128 * 2 ** 20 ? `${payload.name}: memory grew by ${grown} bytes` : null;
}

async function requireRefused(list: readonly Payload[]): Promise<void> {
  const complaints: string[] = [];
  for (const [index, payload] of list.entries()) {
    const text = await complaint(payload, index);
    if (text !== null) complaints.push(text);
  }
  assert.is(complaints.length, 0, complaints.join('\n'));
}

test(`${payloads.length} payloads are refused by name`, async () => {
  assert.ok(payloads.length >= 60);
  await requireRefused(payloads);
  assert.not(existsSync(canary()));
});

test('truncated at every point', async () => {
  const whole = torchArchive({ pickle: valid });
  const lengths = Array.from({ length: Math.floor(whole.length / 7) }, (_, i) => 7 * i);
  await requireRefused(lengths.map((length) => invalid(`${length} bytes`, () => whole.subarray(0, length))));
});

test('the assembler itself writes archives that are read', async () => {
  const file = join(scratchFolder(), 'sound.pt');
  writeFileSync(file, torchArchive({ pickle: valid }));
  assert.is((await readTorchArchive(file)).tensors.size, 1);
  assert.is(slowCrc32(Buffer.from('123456789')), 0xcbf43926);
});

test.run();
