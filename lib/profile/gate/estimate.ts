/**
 * A statistic and how far it may be off, on a logarithmic scale, since latencies and their ratios spread in proportion.
 *
 * Within a run: chunks follow each other and a busy moment slows neighbours together, so blocks of neighbours are drawn
 * (block bootstrap). Between runs: the same program started again is faster or slower by more than that tells (where its
 * memory lies, what the machine does that minute); judge.ts adds that part.
 */

import { Random } from '../../support/random.ts';
import { Blocks, cutBlocks, drawBlocks, logStandardError, type Statistic } from '../measure/bootstrap.ts';
import { excludedAbove } from '../measure/percentiles.ts';
import type { Condition } from './condition.ts';

export type StatisticOf = Pick<Condition, 'percentile' | 'statistic'>;

export interface Estimate {
  /** Logarithm of the value. */
  readonly log: number;
  /** Standard error of it, and the degrees of freedom behind that. */
  readonly error: number;
  readonly degrees: number;
}

/** Why nothing can be said. */
export interface Unknown {
  readonly unknown: string;
}

/** Blocks of a run: enough for a standard error, few enough that each spans many chunks. */
const blockCount = 20;
const leastBlocks = 5;
/** Values that must lie above a percentile before it says anything. */
const leastAbove = 3;
/** Draws of the bootstrap. */
const draws = 300;

export function isUnknown(estimate: Estimate | Unknown): estimate is Unknown {
  return 'unknown' in estimate;
}

function resampled({ percentile }: StatisticOf): Statistic {
  return percentile === null ? { kind: 'mean' } : { kind: 'percentile', percentile };
}

/** A throughput is the inverse of the mean time, a second over milliseconds. */
function sign({ statistic }: StatisticOf): 1 | -1 {
  return statistic === 'throughput' ? -1 : 1;
}

/**
 * One run by itself.
 * @param values in the order measured
 */
export function estimateRun(values: readonly number[], condition: StatisticOf): Estimate | Unknown {
  const few = tooFew(values.length, condition);
  if (few !== null) return few;
  const statistic = resampled(condition);
  const blocks = new Blocks(cutBlocks(values, blockCount));
  const log = sign(condition) * Math.log(blocks.plain(statistic));
  return {
    log: condition.statistic === 'throughput' ? Math.log(1000) + log : log,
    error: logStandardError(blocks, statistic, draws),
    degrees: blocks.count - 1,
  };
}

/**
 * `now / then` of two subjects that took turns in one run: blocks of neighbouring rounds are drawn, both subjects' together.
 *
 * @param now one list of values a round; `then` likewise
 */
export function estimatePaired(
  now: readonly (readonly number[])[],
  then: readonly (readonly number[])[],
  condition: StatisticOf,
): Estimate | Unknown {
  const few = tooFew(Math.min(now.flat().length, then.flat().length), condition);
  if (few !== null) return few;
  const rounds = Math.min(now.length, then.length);
  if (rounds < leastBlocks) return { unknown: `${rounds} rounds are too few, ${leastBlocks} are needed` };
  const statistic = resampled(condition);
  const count = Math.min(blockCount, rounds);
  const top = new Blocks(joinRounds(now, count));
  const bottom = new Blocks(joinRounds(then, count));
  const random = new Random(1);
  const weights = new Uint16Array(count);
  let sum = 0;
  let squares = 0;
  for (let i = 0; i < draws; i++) {
    drawBlocks(random, weights);
    const log = Math.log(top.statistic(statistic, weights) / bottom.statistic(statistic, weights));
    sum += log;
    squares += log * log;
  }
  // drawing n blocks from n shrinks the spread by (n - 1) / n
  const variance = (Math.max(0, squares / draws - (sum / draws) ** 2) * count) / (count - 1);
  return {
    log: sign(condition) * Math.log(top.plain(statistic) / bottom.plain(statistic)),
    error: Math.sqrt(variance),
    degrees: count - 1,
  };
}

function joinRounds(rounds: readonly (readonly number[])[], count: number): number[][] {
  return Array.from({ length: count }, (_, i) =>
    rounds
      .slice(Math.floor((i * rounds.length) / count), Math.floor(((i + 1) * rounds.length) / count))
      .flat(),
  );
}

function tooFew(count: number, { percentile }: StatisticOf): Unknown | null {
  if (count < leastBlocks * 2)
    return { unknown: `${count} chunks are too few, ${leastBlocks * 2} are needed` };
  if (percentile === null || excludedAbove(percentile, count) >= leastAbove) return null;
  const needed = Math.ceil((leastAbove + 1) / (1 - percentile / 100));
  return { unknown: `${count} chunks are too few for p${percentile}, about ${needed} are needed` };
}
