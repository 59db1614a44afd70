/**
 * Statistics of a series, computed as trtexec does (TensorRT, samples/common/sampleReporting.cpp), so that figures of both can be
 * compared. Every value counts: none is discarded as an outlier.
 */

import { SemanticVlaError } from '../../support/errors.ts';
import { medianOf, sorted } from '../../support/median.ts';
import type { Summary } from '../types.ts';

/**
 * How many of the largest values lie above a percentile. trtexec truncates `(1 - p / 100) * count` and computes it in single
 * precision, which matters: of 1000 values it leaves 9 above the 99th percentile, not 10.
 *
 * @param percentile 0..100
 */
export function excludedAbove(percentile: number, count: number): number {
  const share = Math.fround(1 - Math.fround(Math.fround(percentile) / 100));
  return Math.trunc(Math.fround(share * Math.fround(count)));
}

/**
 * @param ascending sorted, at least one
 * @param percentile 0..100
 */
export function percentileOf(ascending: ArrayLike<number>, percentile: number): number {
  if (!(percentile >= 0 && percentile <= 100)) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Percentile: expected a number in 0..100, found ${percentile}.`,
    );
  }
  const count = ascending.length;
  if (count === 0) throw new RangeError('a percentile of no values');
  return ascending[Math.max(count - 1 - excludedAbove(percentile, count), 0)]!;
}

export function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum / values.length;
}

/**
 * @param values at least one, in any order; not changed
 * @param further percentiles beyond 90, 95 and 99
 */
export function summarize(values: ArrayLike<number>, further: readonly number[] = []): Summary {
  const ascending = sorted(values);
  const extra = further.filter((p) => ![50, 90, 95, 99].includes(p));
  return {
    count: ascending.length,
    min: percentileOf(ascending, 0),
    max: ascending[ascending.length - 1]!,
    mean: mean(values),
    median: medianOf(ascending),
    p90: percentileOf(ascending, 90),
    p95: percentileOf(ascending, 95),
    p99: percentileOf(ascending, 99),
    ...(extra.length === 0
      ? {}
      : { percentiles: Object.fromEntries(extra.map((p) => [String(p), percentileOf(ascending, p)])) }),
  };
}
