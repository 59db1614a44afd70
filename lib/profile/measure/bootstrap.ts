/**
 * Confidence intervals for statistics of latencies. Neighbouring latencies depend on each other, since a busy moment slows several
 * in a row; so chunks are drawn in blocks of neighbours (block bootstrap). Subjects that took turns are drawn together (paired),
 * so that disturbances of the machine cancel in their ratio. All of it is on a logarithmic scale, since latencies and their
 * ratios vary in proportion to their size.
 */

import { Random } from '../../support/random.ts';
import { excludedAbove } from './percentiles.ts';

/** A percentile in 0..100, or the mean. */
export type Statistic = number | 'mean';

/** Values sorted once, each with its block, so that a resample takes one pass and no sort. */
export class Blocks {
  readonly values: Float64Array;
  readonly block: Int32Array;
  readonly count: number;
  readonly #sizes: Int32Array;
  readonly #sums: Float64Array;

  /** @param blocks at least one, each with at least one value */
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
    if (statistic === 'mean') return sum / total;
    // the median of an even number of values is the mean of the middle two, as in `medianOf`
    if (statistic === 50 && total % 2 === 0) {
      return (this.#rank(weights, total / 2 - 1) + this.#rank(weights, total / 2)) / 2;
    }
    const rank = statistic === 50 ? (total - 1) / 2 : total - 1 - excludedAbove(statistic, total);
    return this.#rank(weights, Math.max(rank, 0));
  }

  /** The value with `rank` others below it. */
  #rank(weights: ArrayLike<number>, rank: number): number {
    let seen = 0;
    for (let i = 0; i < this.values.length; i++) {
      seen += weights[this.block[i]!]!;
      if (seen > rank) return this.values[i]!;
    }
    return this.values[this.values.length - 1]!;
  }
}

/** Cuts values into `count` blocks of neighbours in time, of (nearly) equal length. */
export function cutBlocks<T>(values: readonly T[], count: number): T[][] {
  const blocks = Math.max(1, Math.min(count, values.length));
  return Array.from({ length: blocks }, (_, i) =>
    values.slice(Math.floor((i * values.length) / blocks), Math.floor(((i + 1) * values.length) / blocks)),
  );
}

/** A statistic and its resamples, as logarithms. */
export interface Resampled {
  readonly log: number;
  readonly draws: Float64Array;
}

/**
 * Draws one block fewer than there are, since n drawn from n spread too little by (n - 1) / n. Each draw's distance is scaled as
 * in Student's distribution, since the spread of a few blocks is itself uncertain.
 */
function resample(
  count: number,
  draws: number,
  seed: number,
  statistic: (weights: Uint16Array) => number,
): Resampled {
  const random = new Random(seed);
  const weights = new Uint16Array(count).fill(1);
  const log = Math.log(statistic(weights));
  if (count === 1) return { log, draws: new Float64Array(draws).fill(log) };
  const drawn = Float64Array.from({ length: draws }, () => {
    weights.fill(0);
    for (let i = 1; i < count; i++) weights[random.integer(0, count - 1)]! += 1;
    return log + (Math.log(statistic(weights)) - log) * studentScale(random, count - 1);
  });
  return { log, draws: drawn };
}

/** The factor that turns a normal number into one of Student's distribution: sqrt(degrees / a chi-squared number). */
export function studentScale(random: Random, degrees: number): number {
  let squares = degrees % 2 === 1 ? random.normal() ** 2 : 0;
  // two squared normal numbers add up to one exponential number
  for (let i = 1; i < degrees; i += 2) squares -= 2 * Math.log(1 - random.next());
  return Math.sqrt(degrees / squares);
}

/** @param seed a different one for each independent run */
export function resampled(blocks: Blocks, statistic: Statistic, draws: number, seed = 1): Resampled {
  return resample(blocks.count, draws, seed, (weights) => blocks.statistic(statistic, weights));
}

/** The ratio of a statistic of two subjects that took turns, block by block; both must have the same number of blocks. */
export function resampledRatio(
  numerator: Blocks,
  denominator: Blocks,
  statistic: Statistic,
  draws: number,
): Resampled {
  return resample(
    numerator.count,
    draws,
    1,
    (weights) => numerator.statistic(statistic, weights) / denominator.statistic(statistic, weights),
  );
}

export interface Interval {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/**
 * `statistic(numerator) / statistic(denominator)` of two subjects that took turns, with its interval.
 *
 * @param numerator one list of values per turn; `denominator` likewise, with as many turns
 */
export function pairedRatio(
  numerator: readonly ArrayLike<number>[],
  denominator: readonly ArrayLike<number>[],
  statistic: Statistic,
  confidence = 0.95,
): Interval {
  const tail = (1 - confidence) / 2;
  const [top, bottom] = [new Blocks(numerator), new Blocks(denominator)];
  return intervalOf(resampledRatio(top, bottom, statistic, enoughDraws(tail)), tail);
}

/** @param tail share of the draws beyond the interval, on each side */
export function intervalOf({ log, draws }: Resampled, tail: number): Interval {
  const sorted = draws.toSorted();
  const last = sorted.length - 1;
  const [low, high] = [sorted[Math.floor(tail * last)]!, sorted[Math.ceil((1 - tail) * last)]!];
  // with few blocks all draws may lie on one side of the value
  return { value: Math.exp(log), low: Math.exp(Math.min(low, log)), high: Math.exp(Math.max(high, log)) };
}

/** What the interval of a ratio (above 1: faster) lets one say. */
export function verdictOf({ low, high }: Pick<Interval, 'low' | 'high'>): string {
  return low > 1 ? 'faster' : high < 1 ? 'slower' : 'no difference seen';
}

/** Number of draws after which the interval's ends move by no more than a few percent of its width. */
export const enoughDraws = (tail: number): number => Math.min(20_000, Math.ceil(25 / tail));
