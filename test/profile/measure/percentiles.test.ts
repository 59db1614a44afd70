import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { excludedAbove, percentileOf, summarize } from '../../../lib/profile/measure/percentiles.ts';
import { Random } from '../../../lib/support/random.ts';

const test = suite('profile/measure/percentiles');

/** trtexec's rule, once more and otherwise: the arithmetic of its C++ in single precision, values sorted by comparison. */
function trtexecPercentile(values: readonly number[], percentile: number): number {
  const single = new Float32Array(4);
  single[0] = percentile;
  single[1] = single[0]! / 100;
  single[2] = 1 - single[1]!;
  single[3] = single[2]! * values.length;
  const ascending = [...values].sort((a, b) => a - b);
  let rank = values.length - 1 - Math.floor(single[3]!);
  if (rank < 0) rank = 0;
  return ascending[rank]!;
}

function series(random: Random, count: number): number[] {
  return Array.from({ length: count }, () => Math.exp(random.normal()) * (random.chance(0.05) ? 20 : 1));
}

test('known values: 1000 numbers leave 9 above the 99th percentile, as single precision has it', () => {
  const values = Array.from({ length: 1000 }, (_, i) => i + 1);
  assert.is(excludedAbove(99, 1000), 9);
  const { count: _, ...rest } = summarize(values);
  assert.equal(rest, { min: 1, max: 1000, mean: 500.5, median: 500.5, p90: 900, p95: 950, p99: 991 });
});

test('property: every percentile is that of an independent computation', () => {
  const random = new Random(7);
  for (let round = 0; round < 300; round++) {
    const values = series(random, random.integer(1, 400));
    const ascending = Float64Array.from(values).sort();
    for (const p of [0, 1, 50, 90, 95, 99, 99.9, 100, 100 * random.next()]) {
      assert.is(percentileOf(ascending, p), trtexecPercentile(values, p), `${p}`);
    }
  }
});

test('property: order, bounds, and no value left out', () => {
  const random = new Random(11);
  for (let round = 0; round < 300; round++) {
    const values = series(random, random.integer(1, 300));
    const { count, min, mean, median, p90, p95, p99, max } = summarize(values);
    assert.is(count, values.length);
    assert.is(min, Math.min(...values));
    assert.is(max, Math.max(...values));
    assert.ok(min <= mean * (1 + 1e-12) && mean <= max * (1 + 1e-12));
    assert.ok(min <= median && median <= max);
    assert.ok(p90 <= p95 && p95 <= p99 && p99 <= max);
    const below = values.filter((value) => value < median).length;
    const above = values.filter((value) => value > median).length;
    assert.ok(below <= values.length / 2 && above <= values.length / 2);
    // the mean is the one statistic that sees every value: raising any raises it
    const raised = [...values];
    raised[random.integer(0, values.length - 1)]! += 1;
    assert.ok(summarize(raised).mean > mean);
    assert.is(summarize(values.toReversed()).p99, p99);
  }
});

test('further percentiles by number; what a summary has already is not doubled', () => {
  assert.equal(summarize([3, 1, 2], [99, 99.9, 10]).percentiles, { 99.9: 3, 10: 1 });
  assert.is(summarize([1]).percentiles, undefined);
});

test('a percentile beyond 100 is refused', () => {
  for (const wrong of [101, -1, Number.NaN]) {
    assert.throws(() => percentileOf([1], wrong), /expected a number in 0\.\.100/);
  }
});

test.run();
