/**
 * Distributions of stages since the start, for Prometheus. Counts are in typed arrays and become text only when asked for:
 * a histogram of a metrics library hashes labels at each observation.
 */

import { stageNames } from '../stages.ts';

/** Seconds. Dense from 1 ms to 1 s, where chunks and their stages are; neighbours differ by at most two thirds. */
export const stageBuckets = [
  0.001, 0.0015, 0.0025, 0.004, 0.006, 0.008, 0.01, 0.0125, 0.016, 0.02, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1,
  0.125, 0.16, 0.2, 0.25, 0.35, 0.5, 0.7, 1,
] as const;

const columns = stageBuckets.length + 1;

export class StageHistograms {
  /** [stages, buckets and the one without an end]; each value in one of them. */
  readonly #counts = new Float64Array(stageNames.length * columns);
  /** Seconds. */
  readonly #sums = new Float64Array(stageNames.length);

  /** @param stage index into `stageNames` */
  observe(stage: number, ms: number): void {
    const seconds = ms / 1000;
    let bucket = 0;
    while (bucket < stageBuckets.length && seconds > stageBuckets[bucket]!) bucket++;
    const at = stage * columns + bucket;
    this.#counts[at] = this.#counts[at]! + 1;
    this.#sums[stage] = this.#sums[stage]! + seconds;
  }

  /** Cumulative counts by bucket, the last without an end, and the sum of seconds. */
  of(stage: number): { readonly cumulative: readonly number[]; readonly sum: number } {
    const cumulative: number[] = [];
    let total = 0;
    for (let i = 0; i < columns; i++) {
      total += this.#counts[stage * columns + i]!;
      cumulative.push(total);
    }
    return { cumulative, sum: this.#sums[stage]! };
  }
}
