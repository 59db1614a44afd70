import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fillBfloat16, fillFloat32, NormalTables, randomKey } from '../../lib/synth/random.ts';

const test = suite('synth random');
const tables = new NormalTables();
const key = randomKey(7, 'weights:a');

function values(count: number, mean: number, std: number, first = 0): Float32Array {
  const bits = new Uint32Array(count);
  fillFloat32(bits, first, key, tables.get({ mean, std }));
  return new Float32Array(bits.buffer);
}

test('moments are those asked for', () => {
  const n = 400000;
  const x = values(n, 1, 0.05);
  const mean = x.reduce((sum, v) => sum + v, 0) / n;
  const std = Math.sqrt(x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / n);
  // Standard error of the mean is 0.05 / sqrt(4e5) = 8e-5; bf16 near 1 has steps of 0.004 to 0.008, rounded evenly.
  assert.ok(Math.abs(mean - 1) < 5e-4, `mean ${mean}`);
  assert.ok(Math.abs(std - 0.05) < 5e-4, `std ${std}`);
  const tail = values(n, 0, 1).filter((v) => Math.abs(v) > 1.959964).length / n;
  // 5 % of a normal distribution; binomial standard error 3.4e-4.
  assert.ok(Math.abs(tail - 0.05) < 2e-3, `tail ${tail}`);
  assert.ok(x.every(Number.isFinite));
});

test('any cut of a tensor gives the same elements', () => {
  const table = tables.get({ mean: 0, std: 0.02 });
  const whole = new Uint16Array(1001);
  fillBfloat16(whole, 0, key, table);
  for (const cuts of [
    [0, 1001],
    [0, 1, 2, 501, 1000, 1001],
    [0, 333, 334, 1001],
    [0, 7, 7, 1001],
  ]) {
    const pieces = new Uint16Array(1001);
    for (let i = 0; i + 1 < cuts.length; i += 1)
      fillBfloat16(pieces.subarray(cuts[i]!, cuts[i + 1]!), cuts[i]!, key, table);
    assert.equal(pieces, whole, cuts.join());
  }
});

test('bf16 and float32 give the same numbers', () => {
  const table = tables.get({ mean: 0, std: 1 });
  const half = new Uint16Array(100);
  fillBfloat16(half, 5, key, table);
  const full = new Uint32Array(100);
  fillFloat32(full, 5, key, table);
  assert.equal(
    [...full],
    [...half].map((bits) => (bits << 16) >>> 0),
  );
});

test('tensors do not share a shifted sequence', () => {
  const table = tables.get({ mean: 0, std: 1 });
  const draw = (label: string, first: number, count: number) => {
    const out = new Uint16Array(count);
    fillBfloat16(out, first, randomKey(7, label), table);
    return out;
  };
  const pairs = new Set<number>();
  const a = draw('a', 0, 20000);
  for (let i = 0; i + 3 < a.length; i += 2) pairs.add(a[i]! * 65536 + a[i + 1]!);
  const b = draw('b', 0, 20000);
  let shared = 0;
  for (let i = 0; i + 1 < b.length; i += 2) if (pairs.has(b[i]! * 65536 + b[i + 1]!)) shared += 1;
  // Chance alone: bf16 has about 500 likely values, so some pairs recur; a shifted copy would share nearly all 10000.
  assert.ok(shared < 2000, `${shared} of 10000 pairs`);
  assert.not.equal(randomKey(1, 'a'), randomKey(2, 'a'));
});

test('no row repeats', () => {
  const x = values(256 * 64, 0, 1);
  const rows = new Set(Array.from({ length: 256 }, (_, i) => x.subarray(i * 64, i * 64 + 64).join()));
  assert.is(rows.size, 256);
});

test('tables hold the quantiles, rounded to nearest bf16', () => {
  const table = tables.get({ mean: 0, std: 1 });
  const value = (bits: number) => new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!;
  // The quantile of index i is at (i + 0.5) / 65536; bf16 has 8 significant bits, so half a step is 2^-9 of the value.
  const known: [number, number][] = [
    [0.5, 0],
    [0.841344746, 1],
    [0.97724986805, 2],
    [0.99865010197, 3],
    [0.15865525393, -1],
    [0.01, -2.326347874],
  ];
  for (const [p, expected] of known) {
    const found = value(table[Math.round(p * 65536 - 0.5)]!);
    // Beside rounding, the index itself is within 2^-17 in probability.
    assert.ok(
      Math.abs(found - expected) <= Math.abs(expected) * 2 ** -9 + 2e-3,
      `${p}: ${found} for ${expected}`,
    );
  }
  for (let i = 1; i < table.length; i += 1) assert.ok(value(table[i]!) >= value(table[i - 1]!), `${i}`);
  assert.ok(value(table[65535]!) > 4 && value(table[65535]!) < 4.5);
});

test.run();
