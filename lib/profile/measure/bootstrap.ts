/**
 * Intervals of a statistic of latencies. Latencies follow each other: a busy moment slows a run of neighbours, so chunks are
 * drawn in blocks of neighbours (block bootstrap), and subjects that took turns are drawn together (paired), which leaves
 * the machine's moods out of their ratio.
 */

import { Random } from '../../support/random.ts';
import { excludedAbove } from './percentiles.ts';

/** Names of what can be bounded: a mean, or a percentile in 0..100. */
export type Statistic =
  | { readonly kind: 'mean' }
  | { readonly kind: 'percentile'; readonly percentile: number };

/** Values sorted once, with the block of each: then a resample costs one pass and no sort. */
export class Blocks {
  readonly values: Float64Array;
  readonly block: Int32Array;
  readonly count: number;
  readonly #sizes: Int32Array;
  readonly #sums: Float64Array;

  /** @param blocks at least one, each at least one value */
  constructor(blocks: readonly ArrayLike<number>[]) {
    this.count = blocks.length;
    this.#sizes = Int32Array.from(blocks, ({ length }) => length);
    const total = this.#sizes.reduce((sum, size) => sum + size, 0);
    const order = new Float64Array(total);
    const owners = new Int32Array(total);
    this.#sums = new Float64Array(this.count);
    let at = 0;
    for (const [b, block] of blocks.entries()) {
      for (let i = 0; i < block.length; i++) {
        order[at] = block[i]!;
        owners[at] = b;
        this.#sums[b]! += block[i]!;
        at += 1;
      }
    }
    const ranks = Uint32Array.from({ length: total }, (_, i) => i).sort((a, b) => order[a]! - order[b]!);
    this.values = Float64Array.from(ranks, (i) => order[i]!);
    this.block = Int32Array.from(ranks, (i) => owners[i]!);
  }

  /** @param weights how often each block counts */
  statistic(statistic: Statistic, weights: ArrayLike<number>): number {
    let total = 0;
    let sum = 0;
    for (let b = 0; b < this.count; b++) {
      total += weights[b]! * this.#sizes[b]!;
      sum += weights[b]! * this.#sums[b]!;
    }
    if (statistic.kind === 'mean') return sum / total;
    const { percentile } = statistic;
    // a median of an even count is the mean of the two middle values, as in `medianOf`
    if (percentile === 50 && total % 2 === 0) {
      return (this.#rank(weights, total / 2 - 1) + this.#rank(weights, total / 2)) / 2;
    }
    const rank = percentile === 50 ? (total - 1) / 2 : total - 1 - excludedAbove(percentile, total);
    return this.#rank(weights, Math.max(rank, 0));
  }

  /** The value that `rank` others lie below. */
  #rank(weights: ArrayLike<number>, rank: number): number {
    let seen = 0;
    for (let i = 0; i < this.values.length; i++) {
      seen += weights[this.block[i]!]!;
      if (seen > rank) return this.values[i]!;
    }
    return this.values[this.values.length - 1]!;
  }

  plain(statistic: Statistic): number {
    return this.statistic(statistic, new Uint16Array(this.count).fill(1));
  }
}

/** Draws `weights.length` blocks with replacement: how often each was drawn. */
export function drawBlocks(random: Random, weights: Uint16Array): void {
  weights.fill(0);
  for (let i = 0; i < weights.length; i++) weights[random.integer(0, weights.length - 1)]! += 1;
}

/** Neighbours in time, cut into `count` blocks of (nearly) one length. */
export function cutBlocks(values: readonly number[], count: number): number[][] {
  const blocks = Math.max(1, Math.min(count, values.length));
  return Array.from({ length: blocks }, (_, i) =>
    values.slice(Math.floor((i * values.length) / blocks), Math.floor(((i + 1) * values.length) / blocks)),
  );
}

export interface RatioInterval {
  /** numerator / denominator */
  readonly ratio: number;
  readonly low: number;
  readonly high: number;
}

/** Resamples behind an interval. */
const resamples = 1000;

/**
 * `statistic(numerator) / statistic(denominator)` of two subjects that took turns, and the interval in which resampled
 * ratios lie. Turns are drawn with replacement, both subjects' together.
 *
 * @param numerator one list of values a turn; `denominator` likewise, as many turns
 */
export function pairedRatio(
  numerator: readonly ArrayLike<number>[],
  denominator: readonly ArrayLike<number>[],
  statistic: Statistic,
  confidence = 0.95,
): RatioInterval {
  const top = new Blocks(numerator);
  const bottom = new Blocks(denominator);
  const random = new Random(1);
  const weights = new Uint16Array(top.count);
  const ratios = Float64Array.from({ length: resamples }, () => {
    drawBlocks(random, weights);
    return top.statistic(statistic, weights) / bottom.statistic(statistic, weights);
  }).sort();
  const tail = (1 - confidence) / 2;
  return {
    ratio: top.plain(statistic) / bottom.plain(statistic),
    low: ratios[Math.floor(tail * (resamples - 1))]!,
    high: ratios[Math.ceil((1 - tail) * (resamples - 1))]!,
  };
}

/** Standard error of the logarithm of a statistic, from blocks of neighbours. 0 for a single block. */
export function logStandardError(blocks: Blocks, statistic: Statistic, draws = 200): number {
  const random = new Random(1);
  const weights = new Uint16Array(blocks.count);
  let sum = 0;
  let squares = 0;
  for (let i = 0; i < draws; i++) {
    drawBlocks(random, weights);
    const value = Math.log(blocks.statistic(statistic, weights));
    sum += value;
    squares += value * value;
  }
  const variance = Math.max(0, squares / draws - (sum / draws) ** 2);
  // drawing n blocks from n shrinks the spread by (n - 1) / n
  return blocks.count > 1 ? Math.sqrt((variance * blocks.count) / (blocks.count - 1)) : 0;
}
