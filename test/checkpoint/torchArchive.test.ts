/** Torch archives that must be read: the goldens, and every layout torch is known to write. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readTensor, readTensorFloat32 } from '../../lib/checkpoint/readTensor.ts';
import { readTorchArchive } from '../../lib/checkpoint/torchArchive.ts';
import { goldenCheckpoint, scratchFolder } from '../helpers/golden.ts';
import {
  bytes,
  dict,
  global,
  op,
  orderedDict,
  type Part,
  pickle,
  shortText,
  storage,
  tensor,
  text,
  tuple,
  u64,
} from './pickleAssembler.ts';
import { fourFloats, type TorchParts, torchArchive } from './zipAssembler.ts';

const test = suite('torch archives');
let written = 0;

async function read(parts: TorchParts) {
  const file = join(scratchFolder(), `archive-${written++}.pt`);
  writeFileSync(file, torchArchive(parts));
  return readTorchArchive(file);
}

/** The values of the tensor `w` of an archive with this state dict. */
async function values(body: Part, parts: Partial<TorchParts> = {}, protocol = 2): Promise<number[]> {
  const archive = await read({ pickle: pickle(body, protocol), ...parts });
  return [...(await readTensorFloat32(archive.tensors.get('w')!))];
}

test('golden archives: names, shapes and dtypes', async () => {
  const archive = await readTorchArchive(
    join(goldenCheckpoint('libero-tiny'), 'vision_backbone--30000_checkpoint.pt'),
  );
  assert.is(archive.tensors.size, 298);
  const queries = archive.tensors.get('vision_queries')!;
  assert.is(queries.dtype, 'F32');
  assert.equal(queries.shape, [1, 32, 48]);
  const cls = archive.tensors.get('vision_backbone.featurizer.cls_token')!;
  assert.is(cls.dtype, 'BF16');
  assert.is(cls.byteLength, 96);
});

test('a plain dict, an OrderedDict with _metadata, and parameters', async () => {
  assert.equal(await values(dict({ w: tensor() })), [1, 2, 3, 4]);
  const metadata = [
    op.EMPTY_DICT,
    text('_metadata'),
    dict({ '': dict({ version: [op.BININT1, 1] }) }),
    op.SETITEM,
    op.BUILD,
  ];
  assert.equal(
    await values([orderedDict, op.MARK, text('w'), tensor(), op.SETITEMS, metadata]),
    [1, 2, 3, 4],
  );
  const parameter = [
    global('torch._utils', '_rebuild_parameter'),
    tuple(tensor(), op.NEWTRUE, orderedDict),
    op.REDUCE,
  ];
  assert.equal(await values(dict({ w: parameter })), [1, 2, 3, 4]);
});

test('protocol 4 with frames, MEMOIZE and STACK_GLOBAL', async () => {
  const rebuild = [shortText('torch._utils'), shortText('_rebuild_tensor_v2'), op.STACK_GLOBAL, op.MEMOIZE];
  const args = tuple(
    storage(),
    [op.BININT1, 0],
    tuple([op.BININT1, 4]),
    tuple([op.BININT1, 1]),
    op.NEWFALSE,
    orderedDict,
  );
  const body = bytes(dict({ w: [rebuild, args, op.REDUCE, op.MEMOIZE] }));
  assert.equal(await values([op.FRAME, u64(body.length + 1), body], {}, 4), [1, 2, 3, 4]);
});

test('storage offsets and shared storages', async () => {
  const body = dict({ w: tensor({ shape: [2], offset: 2 }), v: tensor({ shape: [3] }) });
  assert.equal(await values(body), [3, 4]);
});

test('strides of dimensions of size 1 say nothing', async () => {
  assert.equal(await values(dict({ w: tensor({ shape: [1, 4, 1], stride: [77, 1, 5] }) })), [1, 2, 3, 4]);
});

test('every storage type', async () => {
  const types = {
    Double: 'F64',
    Float: 'F32',
    Half: 'F16',
    BFloat16: 'BF16',
    Long: 'I64',
    Int: 'I32',
    Short: 'I16',
    Char: 'I8',
    Byte: 'U8',
    Bool: 'BOOL',
  };
  for (const [type, dtype] of Object.entries(types)) {
    const data = Buffer.alloc(
      dtype === 'F64' || dtype === 'I64' ? 8 : dtype.endsWith('32') ? 4 : dtype.endsWith('16') ? 2 : 1,
    );
    const archive = await read({
      pickle: pickle(dict({ w: tensor({ type: `${type}Storage`, elements: 1, shape: [] }) })),
      data: { 0: data },
    });
    const view = archive.tensors.get('w')!;
    assert.is(view.dtype, dtype);
    assert.is((await readTensor(view)).data.length, 1);
  }
});

test('data descriptors, padding in extra fields, ZIP64 records, no byteorder entry', async () => {
  const body = dict({ w: tensor() });
  assert.equal(
    await values(body, { edit: (parts) => parts.map((part) => ({ ...part, descriptor: true })) }),
    [1, 2, 3, 4],
  );
  const padding = bytes('FB', 60, 0, 'Z'.repeat(60));
  assert.equal(
    await values(body, { edit: (parts) => parts.map((part) => ({ ...part, localExtra: padding })) }),
    [1, 2, 3, 4],
  );
  assert.equal(await values(body, { lies: { zip64: true } }), [1, 2, 3, 4]);
  assert.equal(await values(body, { byteorder: null }), [1, 2, 3, 4]);
  const zip64Sizes = bytes(1, 0, 16, 0, u64(fourFloats.length), u64(fourFloats.length));
  const wide = {
    centralSize: 0xffffffff,
    localSize: 0xffffffff,
    centralExtra: zip64Sizes,
    localExtra: zip64Sizes,
  };
  assert.equal(
    await values(body, {
      edit: (parts) => parts.map((part) => (part.data === fourFloats ? { ...part, ...wide } : part)),
    }),
    [1, 2, 3, 4],
  );
});

test('float widths: bf16 and f16 widen exactly', async () => {
  const half = Buffer.from(new Uint16Array([0x3c00, 0xc000, 0x0001, 0x7bff, 0x8000]).buffer);
  assert.equal(
    await values(dict({ w: tensor({ type: 'HalfStorage', elements: 5, shape: [5] }) }), {
      data: { 0: half },
    }),
    [1, -2, 2 ** -24, 65504, -0],
  );
  const brain = Buffer.from(new Uint16Array([0x3f80, 0xc000, 0x0080]).buffer);
  assert.equal(
    await values(dict({ w: tensor({ type: 'BFloat16Storage', elements: 3, shape: [3] }) }), {
      data: { 0: brain },
    }),
    [1, -2, 2 ** -126],
  );
});

test.run();
