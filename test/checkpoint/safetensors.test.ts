/** Safetensors files and indexes: what must be read and, file by file, what must be refused. */

import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readTensor, readTensorFloat32 } from '../../lib/checkpoint/readTensor.ts';
import { readSafetensors } from '../../lib/checkpoint/safetensors.ts';
import { readShards } from '../../lib/checkpoint/shards.ts';
import { type ErrorCode, SemanticVlaError } from '../../lib/support/errors.ts';
import { goldenCheckpoint, goldenRoot, scratchFolder } from '../helpers/golden.ts';
import { entry, safetensors } from './safetensorsAssembler.ts';

const test = suite('safetensors');
let made = 0;

function file(content: Buffer): string {
  const path = join(scratchFolder(), `file-${made++}.safetensors`);
  writeFileSync(path, content);
  return path;
}

function folder(files: Readonly<Record<string, Buffer | string>>): string {
  const path = join(scratchFolder(), `folder-${made++}`);
  mkdirSync(path);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(path, name), content);
  return path;
}

async function errorOf(promise: Promise<unknown>): Promise<SemanticVlaError> {
  const error: unknown = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SemanticVlaError))
    throw new Error(`expected a SemanticVlaError, found ${String(error)}`);
  return error;
}

const f32 = (count: number) => Buffer.from(new Float32Array(count).fill(1).buffer);
const a = entry('F32', [2], 0, 8);

test('golden shards: every tensor of the index, in place', async () => {
  const { tensors, files } = await readShards(goldenCheckpoint('libero-tiny'));
  assert.is(tensors.size, 181);
  assert.is(files.length, 2);
  const sample = await readSafetensors(join(goldenRoot, 'libero-tiny', 'sample_o0_i0.safetensors'));
  const ids = await readTensor(sample.tensors.get('prompt.ids')!);
  assert.is(Number(ids.data[0]), 1);
});

test('values, metadata, scalars, padding', async () => {
  const values = Buffer.from(new Float32Array([1.5, -2, 7]).buffer);
  const parsed = await readSafetensors(
    file(
      safetensors(
        `${JSON.stringify({ __metadata__: { format: 'pt' }, s: entry('F32', [], 8, 12), a })}   `,
        values,
      ),
    ),
  );
  assert.equal([...(await readTensorFloat32(parsed.tensors.get('a')!))], [1.5, -2]);
  assert.equal([...(await readTensorFloat32(parsed.tensors.get('s')!))], [7]);
  assert.is(parsed.metadata.format, 'pt');
});

test('a key named __proto__ is a tensor like any other', async () => {
  const parsed = await readSafetensors(file(safetensors(`{"__proto__":${JSON.stringify(a)}}`, f32(2))));
  assert.equal([...parsed.tensors.keys()], ['__proto__']);
});

interface Refusal {
  readonly name: string;
  readonly content: Buffer;
  readonly says: RegExp;
  readonly code?: ErrorCode;
}

const huge = 2 ** 53 - 2;
const corpus: readonly Refusal[] = [
  { name: 'empty', content: Buffer.alloc(0), says: /truncated/ },
  { name: 'length only', content: safetensors('', Buffer.alloc(0), 2n), says: /truncated/ },
  { name: 'header of 2^63 bytes', content: safetensors({ a }, f32(2), 2n ** 63n), says: /at most 33554432/ },
  {
    name: 'header over the cap',
    content: safetensors({ a }, f32(2), 100_000_001n),
    says: /at most 33554432/,
  },
  {
    name: 'header under the cap but past the end',
    content: safetensors({ a }, f32(2), 33_554_431n),
    says: /truncated/,
  },
  { name: 'header one byte short', content: safetensors({ a }, f32(2), 50n), says: /JSON|unfinished|end of/ },
  { name: 'not JSON', content: safetensors('{"a": }', f32(2)), says: /JSON/ },
  { name: 'a list', content: safetensors('[1, 2, 3]', f32(2)), says: /start with/ },
  { name: 'leading space', content: safetensors(` ${JSON.stringify({ a })}`, f32(2)), says: /start with/ },
  { name: 'not UTF-8', content: safetensors({}, Buffer.alloc(0)).fill(0xff, 9, 10), says: /UTF-8|JSON/ },
  {
    name: 'nesting of 100,000',
    content: safetensors(`{"a":${'['.repeat(100_000)}`, f32(2)),
    says: /nesting/,
  },
  {
    name: 'repeated tensor',
    content: safetensors(`{"a":${JSON.stringify(a)},"a":${JSON.stringify(a)}}`, f32(2)),
    says: /second time/,
  },
  {
    name: 'repeated tensor, spelled differently',
    content: safetensors(`{"a":${JSON.stringify(a)},"\\u0061":${JSON.stringify(a)}}`, f32(2)),
    says: /second time/,
  },
  {
    name: 'repeated dtype',
    content: safetensors('{"a":{"dtype":"F32","dtype":"I32","shape":[2],"data_offsets":[0,8]}}', f32(2)),
    says: /second time/,
  },
  {
    name: 'repeated metadata',
    content: safetensors('{"__metadata__":{},"__metadata__":{}}'),
    says: /second time/,
  },
  {
    name: 'metadata of numbers',
    content: safetensors({ __metadata__: { a: 1 }, a }, f32(2)),
    says: /string/,
  },
  {
    name: 'metadata that is a list',
    content: safetensors({ __metadata__: [], a }, f32(2)),
    says: /object of strings/,
  },
  {
    name: 'hole at the start',
    content: safetensors({ a: entry('F32', [2], 4, 12) }, f32(3)),
    says: /belong to no tensor/,
  },
  {
    name: 'hole between',
    content: safetensors({ a, b: entry('F32', [1], 12, 16) }, f32(4)),
    says: /belong to no tensor/,
  },
  { name: 'bytes after the last', content: safetensors({ a }, f32(3)), says: /belong to no tensor/ },
  { name: 'data without tensors', content: safetensors({}, f32(1)), says: /belong to no tensor/ },
  { name: 'overlap', content: safetensors({ a, b: entry('F32', [2], 4, 12) }, f32(3)), says: /overlap/ },
  { name: 'two names for one tensor', content: safetensors({ a, b: a }, f32(2)), says: /overlap/ },
  {
    name: 'end past the file',
    content: safetensors({ a: entry('F32', [4], 0, 16) }, f32(2)),
    says: /end at 16/,
  },
  { name: 'truncated data', content: safetensors({ a }, f32(1)), says: /end at 8/ },
  {
    name: 'offsets reversed',
    content: safetensors({ a: entry('F32', [2], 8, 0) }, f32(2)),
    says: /ascending/,
  },
  {
    name: 'negative offset',
    content: safetensors({ a: entry('F32', [2], -8, 0) }, f32(2)),
    says: /non-negative/,
  },
  {
    name: 'fractional offset',
    content: safetensors({ a: entry('F32', [2], 0.5, 8.5) }, f32(2)),
    says: /integers/,
  },
  {
    name: 'offset past 2^53',
    content: safetensors('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,1e300]}}', f32(2)),
    says: /integers/,
  },
  {
    name: 'three offsets',
    content: safetensors({ a: { dtype: 'F32', shape: [2], data_offsets: [0, 8, 8] } }, f32(2)),
    says: /data_offsets/,
  },
  {
    name: 'no offsets',
    content: safetensors({ a: { dtype: 'F32', shape: [2] } }, f32(2)),
    says: /data_offsets/,
  },
  {
    name: 'shape too large',
    content: safetensors({ a: entry('F32', [3], 0, 8) }, f32(2)),
    says: /larger than|takes 12/,
  },
  { name: 'shape too small', content: safetensors({ a: entry('F32', [1], 0, 8) }, f32(2)), says: /takes 4/ },
  {
    name: 'shape product overflows',
    content: safetensors({ a: entry('F32', [huge, huge, huge], 0, 8) }, f32(2)),
    says: /larger than/,
  },
  {
    name: 'overflow times zero',
    content: safetensors({ a: entry('F32', [huge, huge, 0], 0, 0) }),
    says: /larger than|no elements/,
  },
  { name: 'zero-size tensor', content: safetensors({ a: entry('F32', [0], 0, 0) }), says: /no elements/ },
  {
    name: 'zero-size aliases',
    content: safetensors({ a, b: entry('F32', [0, 8], 4, 4), c: entry('I8', [0], 4, 4) }, f32(2)),
    says: /no elements/,
  },
  {
    name: 'negative dimension',
    content: safetensors({ a: entry('F32', [-1, -2], 0, 8) }, f32(2)),
    says: /non-negative/,
  },
  {
    name: 'dimension of text',
    content: safetensors('{"a":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}}', f32(2)),
    says: /integers/,
  },
  {
    name: 'rank of 9',
    content: safetensors({ a: entry('F32', [1, 1, 1, 1, 1, 1, 1, 1, 2], 0, 8) }, f32(2)),
    says: /dimensions/,
  },
  {
    name: 'unknown dtype',
    content: safetensors({ a: entry('F31', [2], 0, 8) }, f32(2)),
    says: /unknown dtype/,
  },
  {
    name: 'dtype of an inherited property',
    content: safetensors({ a: entry('constructor', [2], 0, 8) }, f32(2)),
    says: /unknown dtype/,
  },
  {
    name: 'no dtype',
    content: safetensors({ a: { shape: [2], data_offsets: [0, 8] } }, f32(2)),
    says: /unknown dtype/,
  },
  {
    name: 'quantized dtype',
    content: safetensors({ a: entry('F8_E4M3', [8], 0, 8) }, f32(2)),
    says: /Quantized/,
    code: 'TENSOR_DTYPE',
  },
  { name: 'unknown key', content: safetensors({ a: { ...a, stride: [1] } }, f32(2)), says: /unknown key/ },
  { name: 'entry that is a number', content: safetensors({ a: 1 }, f32(2)), says: /object/ },
  {
    name: 'name of 2,000 characters',
    content: safetensors({ ['n'.repeat(2000)]: a }, f32(2)),
    says: /2000 characters/,
  },
  {
    name: 'NaN',
    content: safetensors('{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}', f32(2)),
    says: /NaN/,
  },
];

test(`${corpus.length} broken files are refused by name, within 16 MB`, async () => {
  for (const { name, content, says, code = 'SAFETENSORS_INVALID' } of corpus) {
    const path = file(content);
    const before = process.memoryUsage().rss;
    const error = await errorOf(readSafetensors(path));
    assert.is(error.code, code, `${name}: ${error.message}`);
    assert.match(error.message, says, name);
    assert.ok(error.message.includes(path), name);
    const grown = process.memoryUsage().rss - before;
    assert.ok(grown <= 16 * 2 ** 20, `${name}: memory grew by ${grown} bytes`);
  }
});

test('truncated at every byte', async () => {
  const whole = safetensors({ a }, f32(2));
  for (let length = 0; length < whole.length; length++) {
    assert.is((await errorOf(readSafetensors(file(whole.subarray(0, length))))).code, 'SAFETENSORS_INVALID');
  }
});

const shard = safetensors({ a }, f32(2));
const index = (map: unknown) => JSON.stringify({ metadata: {}, weight_map: map });

test('one file without an index, and links as hub caches have them', async () => {
  assert.is((await readShards(folder({ 'model.safetensors': shard }))).tensors.size, 1);
  const target = file(shard);
  const linked = folder({ 'model.safetensors.index.json': index({ a: 's.safetensors' }) });
  symlinkSync(target, join(linked, 's.safetensors'));
  assert.is((await readShards(linked)).tensors.get('a')?.file, join(linked, 's.safetensors'));
});

const indexes: readonly (Omit<Refusal, 'content'> & {
  readonly files: Readonly<Record<string, Buffer | string>>;
})[] = [
  ...[
    '../s.safetensors',
    '/etc/s.safetensors',
    'x/s.safetensors',
    '..\\s.safetensors',
    's.bin',
    '.s.safetensors',
    '',
  ].map((name) => ({
    name: `shard ${JSON.stringify(name)}`,
    files: { 'model.safetensors.index.json': index({ a: name }), 's.safetensors': shard },
    says: /plain \*\.safetensors names/,
  })),
  {
    name: 'shard that is a number',
    files: { 'model.safetensors.index.json': index({ a: 1 }) },
    says: /not a file name/,
  },
  { name: 'no map', files: { 'model.safetensors.index.json': '{}' }, says: /weight_map/ },
  { name: 'empty map', files: { 'model.safetensors.index.json': index({}) }, says: /empty/ },
  {
    name: 'repeated tensor',
    files: { 'model.safetensors.index.json': '{"weight_map":{"a":"s.safetensors","a":"t.safetensors"}}' },
    says: /second time/,
  },
  { name: 'not JSON', files: { 'model.safetensors.index.json': '{' }, says: /JSON/ },
  {
    name: 'tensor of the index missing',
    files: {
      'model.safetensors.index.json': index({ a: 's.safetensors', b: 's.safetensors' }),
      's.safetensors': shard,
    },
    says: /b should lie in/,
  },
  {
    name: 'tensor not in the index',
    files: {
      'model.safetensors.index.json': index({ a: 's.safetensors' }),
      's.safetensors': safetensors({ a, b: entry('F32', [1], 8, 12) }, f32(3)),
    },
    says: /does not name it/,
  },
  {
    name: 'tensor in another shard',
    files: {
      'model.safetensors.index.json': index({ a: 's.safetensors', b: 't.safetensors' }),
      's.safetensors': safetensors({ b: a }, f32(2)),
      't.safetensors': shard,
    },
    says: /index says/,
  },
  {
    name: 'missing shard',
    files: { 'model.safetensors.index.json': index({ a: 's.safetensors' }) },
    says: /s\.safetensors: expected the shard/,
    code: 'CHECKPOINT_FILE_MISSING',
  },
  { name: 'nothing', files: {}, says: /found neither/, code: 'CHECKPOINT_FILE_MISSING' },
  {
    name: 'torch weights',
    files: { 'pytorch_model-00001-of-00002.bin': 'x' },
    says: /safe_serialization/,
    code: 'CHECKPOINT_FILE_MISSING',
  },
  {
    name: 'index and single file',
    files: { 'model.safetensors.index.json': index({ a: 's.safetensors' }), 'model.safetensors': shard },
    says: /found both/,
    code: 'CHECKPOINT_AMBIGUOUS',
  },
];

test('broken indexes are refused by name', async () => {
  for (const { name, files, says, code = 'SAFETENSORS_INDEX_INVALID' } of indexes) {
    const dir = folder(files);
    const error = await errorOf(readShards(dir));
    assert.is(error.code, code, `${name}: ${error.message}`);
    assert.match(error.message, says, name);
    rmSync(dir, { recursive: true });
  }
});

test.run();
