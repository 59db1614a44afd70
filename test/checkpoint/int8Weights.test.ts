/**
 * Weights in 8 bits: the native arithmetic against a plain twin of its definition, its error bounds, and the file in the cache.
 */

import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadAddon } from '../../lib/addon/binding.ts';
import type { Progress } from '../../lib/checkpoint/checkpoint.ts';
import {
  levelsOf,
  makeInt8Weights,
  type QuantizedWeight,
  scalesOf,
} from '../../lib/checkpoint/int8Weights.ts';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { readTensorBytes, readTensorFloat32 } from '../../lib/checkpoint/readTensor.ts';
import { blockOf } from '../../lib/graph/int8Layers.ts';
import type { Notice } from '../../lib/support/notices.ts';
import { goldenCheckpoint, scratchFolder } from '../helpers/golden.ts';
import { errorOf } from './editCheckpoint.ts';

const test = suite('weights in 8 bits');
const { quantizeRows } = loadAddon();
const { fround } = Math;

/** Numbers with an outlier now and then, as weights have them. */
const drawn = (length: number, seed: number) =>
  Float32Array.from({ length }, (_, i) => {
    const value = Math.sin((i + seed) * 12.9898) * 0.02;
    return fround((i + seed) % 97 === 0 ? 40 * value : value);
  });

/** By the definition: butterflies in float32, one scale a row, to nearest with ties to even. */
function plainRow(
  row: Float32Array,
  block: number,
): { levels: number[]; scale: number; rotated: Float32Array } {
  const rotated = row.slice();
  const norm = fround(1 / Math.sqrt(block));
  for (let at = 0; at < row.length; at += block) {
    for (let half = 1; half < block; half *= 2) {
      const before = rotated.slice();
      for (let i = 0; i < block; i++) {
        const [own, other] = [before[at + i]!, before[at + (i ^ half)]!];
        rotated[at + i] = (i & half) === 0 ? own + other : other - own;
      }
    }
    if (block > 1) for (let i = at; i < at + block; i++) rotated[i] = rotated[i]! * norm;
  }
  const scale = fround(Math.max(...rotated.map(Math.abs)) / 127);
  const levels = Array.from(rotated, (value) => nearestEven(fround(value / scale)));
  return { levels, scale, rotated };
}

function nearestEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below;
}

function quantized(weights: Float32Array, rows: number, block: number, cut = rows) {
  const columns = weights.length / rows;
  const levels = new Uint8Array(rows * columns);
  const scales = new Float32Array(rows);
  for (const [from, to] of [
    [0, cut],
    [cut, rows],
  ] as const) {
    if (from === to) continue;
    const some = weights.subarray(from * columns, to * columns);
    assert.is(quantizeRows(some, block, levels, scales, from, to - from), true);
  }
  return { levels: new Int8Array(levels.buffer), scales };
}

const sizes = [
  [1, 16, 16],
  [7, 48, 16],
  [8, 64, 64],
  [19, 192, 64],
  [33, 96, 32],
  [5, 12, 1],
] as const;

test('levels and scales are those of the definition, bit for bit, wherever the rows are split', () => {
  for (const [rows, columns, block] of sizes) {
    const weights = drawn(rows * columns, rows);
    for (const cut of [0, 1, rows >> 1, rows]) {
      const { levels, scales } = quantized(weights, rows, block, cut);
      for (let row = 0; row < rows; row++) {
        const plain = plainRow(weights.subarray(row * columns, (row + 1) * columns), block);
        assert.is(scales[row], plain.scale, `${rows} x ${columns}, row ${row}`);
        const found = Array.from({ length: columns }, (_, column) => levels[column * rows + row]!);
        assert.equal(found, plain.levels, `${rows} x ${columns}, block ${block}, row ${row}`);
      }
    }
  }
});

test('no weight is further than half a level from its scale times its level, and the largest has level 127', () => {
  for (const [rows, columns, block] of sizes) {
    const weights = drawn(rows * columns, 3 * rows);
    const { levels, scales } = quantized(weights, rows, block);
    for (let row = 0; row < rows; row++) {
      const { rotated } = plainRow(weights.subarray(row * columns, (row + 1) * columns), block);
      let largest = 0;
      for (let column = 0; column < columns; column++) {
        const level = levels[column * rows + row]!;
        largest = Math.max(largest, Math.abs(level));
        const error = Math.abs(rotated[column]! - scales[row]! * level);
        // the division and the product are rounded too
        assert.ok(error <= scales[row]! * (0.5 + 1e-5), `${error} of ${scales[row]}`);
      }
      assert.is(largest, 127);
    }
  }
});

/** The number of an E4M3 byte (OCP 8-bit floating point): bias 7, three bits of fraction, no infinities. */
function e4m3(byte: number): number {
  const [exponent, fraction] = [(byte >> 3) & 15, byte & 7];
  const size = exponent === 0 ? fraction * 2 ** -9 : (1 + fraction / 8) * 2 ** (exponent - 7);
  return byte & 0x80 ? -size : size;
}

test('E4M3: each weight becomes the nearest number there is, ties to even, the largest 448', () => {
  const known = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => (byte & 0x7f) !== 0x7f);
  // a row of what lies on numbers, between them, exactly half way, and in the subnormal range; 448 makes the scale 1
  const between = known.flatMap((byte) => {
    const [own, next] = [e4m3(byte), e4m3(Math.min(byte + 1, byte | 0x7e))];
    return [own, own + (next - own) * 0.3, (own + next) / 2, own + (next - own) * 0.7];
  });
  const weights = Float32Array.from([448, ...between]);
  const levels = new Uint8Array(weights.length);
  const scales = new Float32Array(1);
  assert.is(quantizeRows(weights, 1, levels, scales, 0, 1, true, 'float8'), true);
  assert.is(scales[0], 1);
  for (const [i, value] of weights.entries()) {
    const found = levels[i]!;
    const distances = known.map((byte) => Math.abs(e4m3(byte) - value));
    const least = Math.min(...distances);
    assert.is(Math.abs(e4m3(found) - value), least, `${value} became ${e4m3(found)}`);
    const nearest = known.filter((_, at) => distances[at] === least).filter((byte) => e4m3(byte) !== 0);
    if (new Set(nearest.map(e4m3)).size > 1) assert.is(found & 1, 0, `${value} became ${e4m3(found)}`);
  }
});

test('the rotation keeps products and spreads an outlier', () => {
  const block = 64;
  const [a, b] = [drawn(block, 11), drawn(block, 97)];
  const dot = (x: Float32Array, y: Float32Array) => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
  const [ra, rb] = [plainRow(a, block).rotated, plainRow(b, block).rotated];
  // float32 sums of 64 numbers of this size
  assert.ok(Math.abs(dot(a, b) - dot(ra, rb)) < 1e-6);
  const outlier = new Float32Array(block);
  outlier[5] = 8;
  assert.ok(plainRow(outlier, block).rotated.every((value) => Math.abs(value) === 1));
});

test('rows of zeros, and rows too small for a scale, have level 0; what is not finite is noticed anywhere', () => {
  const tiny = new Float32Array(3 * 32);
  tiny[40] = 1e-41;
  const { levels, scales } = quantized(tiny, 3, 32);
  assert.equal([...scales], [0, 0, 0]);
  assert.ok(levels.every((level) => level === 0));
  for (let place = 0; place < 9 * 16; place++) {
    const weights = drawn(9 * 16, 1);
    weights[place] = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY][place % 3]!;
    assert.is(
      quantizeRows(weights, 16, new Uint8Array(9 * 16), new Float32Array(9), 0, 9),
      false,
      `${place}`,
    );
  }
});

test('arrays that do not fit each other are refused', () => {
  const [levels, scales] = [new Uint8Array(64), new Float32Array(2)];
  for (const [weights, block, first, rows] of [
    [new Float32Array(64), 48, 0, 2],
    [new Float32Array(64), 64, 0, 2],
    [new Float32Array(63), 16, 0, 2],
    [new Float32Array(64), 16, 1, 2],
    [new Float32Array(32), 32, 2, 1],
  ] as const)
    assert.throws(() => quantizeRows(weights, block, levels, scales, first, rows), /expected/);
});

async function golden() {
  const cacheDir = mkdtempSync(join(scratchFolder(), 'int8-'));
  const checkpoint = await openCheckpoint(goldenCheckpoint('libero-tiny'), { cacheDir });
  const view = (name: string) => checkpoint.tensors.get(`language_model.model.layers.0.mlp.${name}.weight`)!;
  const parts = [view('gate_proj'), view('up_proj')];
  const [rows, columns] = parts[0]!.shape as [number, number];
  const plan = { levels: 'int8', byRow: false, rowBlock: 1 } as const;
  const down = { name: 'down', parts: [view('down_proj')], rows: columns, columns: rows };
  const weights: QuantizedWeight[] = [
    { name: 'both', parts, rows: 2 * rows, columns, block: blockOf(columns), ...plan },
    { ...down, block: blockOf(rows), ...plan },
  ];
  return { cacheDir, checkpoint, weights };
}

test('a checkpoint’s matrices, stacked, made once and found again', async () => {
  const { cacheDir, checkpoint, weights } = await golden();
  const told: Progress[] = [];
  const first = await makeInt8Weights(checkpoint, weights, { cacheDir, onProgress: (p) => told.push(p) });
  assert.is(first.fromCache, false);
  assert.is(told.at(-1)!.step, 'quantize weights');
  assert.is(told.at(-1)!.done, told.at(-1)!.total);
  for (const { name, parts, rows, columns, block } of weights) {
    const floats = (await Promise.all(parts.map(readTensorFloat32))).flatMap((part) => [...part]);
    const expected = quantized(Float32Array.from(floats), rows, block);
    const [levels, scales] = [first.tensors.get(levelsOf(name))!, first.tensors.get(scalesOf(name))!];
    assert.equal([levels.dtype, levels.shape, scales.shape], ['I8', [columns, rows], [rows]]);
    assert.equal(new Int8Array((await readTensorBytes(levels)).buffer), expected.levels);
    assert.equal(await readTensorFloat32(scales), expected.scales);
    assert.is(scales.offset % 4, 0);
  }
  const again = await makeInt8Weights(checkpoint, weights, { cacheDir });
  assert.equal([again.fromCache, again.file], [true, first.file]);
  const other = await makeInt8Weights(checkpoint, weights.slice(1), { cacheDir });
  assert.is.not(other.file, first.file);
});

test('a file that is not what was written is made again, and that is said', async () => {
  const { cacheDir, checkpoint, weights } = await golden();
  const { file } = await makeInt8Weights(checkpoint, weights, { cacheDir });
  const sound = readFileSync(file);
  const damaged = Buffer.from(sound);
  damaged[damaged.length - 1]! ^= 1;
  writeFileSync(file, damaged);
  const notices: Notice[] = [];
  const { fromCache } = await makeInt8Weights(checkpoint, weights, {
    cacheDir,
    onNotice: (n) => notices.push(n),
  });
  assert.is(fromCache, false);
  assert.equal(
    notices.map(({ code }) => code),
    ['MERGE_RENEWED'],
  );
  assert.ok(readFileSync(file).equals(sound));
});

test('an abort ends it and leaves nothing', async () => {
  const { cacheDir, checkpoint, weights } = await golden();
  const abort = new AbortController();
  const onProgress = () => abort.abort(new Error('enough'));
  const making = makeInt8Weights(checkpoint, weights, { cacheDir, onProgress, signal: abort.signal });
  let reason: unknown;
  await making.catch((error: unknown) => {
    reason = error;
  });
  assert.is(reason, abort.signal.reason);
  assert.equal(
    readdirSync(cacheDir).filter((name) => name.startsWith('int8')),
    [],
  );
});

test('a checkpoint that was replaced is noticed', async () => {
  const { cacheDir, checkpoint, weights } = await golden();
  const [file] = weights[0]!.parts.map((part) => part.file);
  const states = new Map(checkpoint.files);
  states.set(file!, { ...states.get(file!)!, size: 1n });
  const error = await errorOf(makeInt8Weights({ ...checkpoint, files: states }, weights, { cacheDir }));
  assert.is(error.code, 'CHECKPOINT_CHANGED');
});

test.run();
