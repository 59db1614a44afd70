/** What measurements say about a condition: the value with its resamples, or why nothing can be said. */

import { Blocks, cutBlocks, type Resampled, resampled, resampledRatio } from '../measure/bootstrap.ts';
import { excludedAbove } from '../measure/percentiles.ts';
import type { Condition } from './condition.ts';

export type StatisticOf = Pick<Condition, 'percentile' | 'statistic'>;

/** Why nothing can be said. */
export interface Unknown {
  readonly unknown: string;
}

/** Blocks per run: enough to estimate a spread, few enough that each spans many chunks. */
const blockCount = 20;
const leastBlocks = 5;
/** How many values must lie above a percentile for it to be meaningful. */
const leastAbove = 3;

export function isUnknown(evidence: Resampled | Unknown): evidence is Unknown {
  return 'unknown' in evidence;
}

/**
 * The evidence of a single run.
 * @param values in the order measured
 * @param seed a different one for each run
 */
export function evidenceOf(
  values: readonly number[],
  condition: StatisticOf,
  draws: number,
  seed = 1,
): Resampled | Unknown {
  const few = tooFew(values.length, condition);
  if (few !== null) return few;
  const blocks = new Blocks(cutBlocks(values, blockCount));
  const times = resampled(blocks, condition.percentile ?? 'mean', draws, seed);
  return condition.statistic === 'throughput' ? perSecond(times, 1000) : times;
}

/**
 * `now / then` of two subjects that took turns in one run. Blocks of neighbouring rounds are drawn for both subjects together.
 *
 * @param now one list of values per round; `then` likewise
 */
export function pairedEvidence(
  now: readonly (readonly number[])[],
  then: readonly (readonly number[])[],
  condition: StatisticOf,
  draws: number,
): Resampled | Unknown {
  const few = tooFew(Math.min(now.flat().length, then.flat().length), condition);
  if (few !== null) return few;
  const rounds = Math.min(now.length, then.length);
  if (rounds < leastBlocks) return { unknown: `${rounds} rounds are too few, ${leastBlocks} are needed` };
  const blocks = (of: readonly (readonly number[])[]): Blocks =>
    new Blocks(cutBlocks(of.slice(0, rounds), blockCount).map((some) => some.flat()));
  const times = resampledRatio(blocks(now), blocks(then), condition.percentile ?? 'mean', draws);
  return condition.statistic === 'throughput' ? perSecond(times, 1) : times;
}

/** Throughput is the inverse of the mean time. */
function perSecond({ log, draws }: Resampled, unit: number): Resampled {
  return { log: Math.log(unit) - log, draws: draws.map((draw) => Math.log(unit) - draw) };
}

function tooFew(count: number, { percentile }: StatisticOf): Unknown | null {
  if (count < leastBlocks * 2)
    return { unknown: `${count} chunks are too few, ${leastBlocks * 2} are needed` };
  if (percentile === null || excludedAbove(percentile, count) >= leastAbove) return null;
  const needed = Math.ceil((leastAbove + 1) / (1 - percentile / 100));
  return { unknown: `${count} chunks are too few for p${percentile}, about ${needed} are needed` };
}
