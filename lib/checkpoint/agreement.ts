/** Facts that several files of a checkpoint state must agree: compared when a policy opens, before anything runs. */

import { SemanticVlaError } from '../support/errors.ts';
import type { Checkpoint } from './checkpoint.ts';
import { checkBounds } from './statistics.ts';

/** The part of a platform that decides which statistics are read. */
export interface StatisticsUse {
  readonly proprio: boolean;
  readonly normalization: 'q99' | 'minmax';
}

type Compared = Pick<Checkpoint, 'config' | 'statistics' | 'sources'>;

/**
 * Checks that the statistics that predictions read are readable and as long as the weights require.
 * @param key the data set; null: not chosen yet; then one must fit
 * @throws STATISTICS_INVALID with both files and both numbers
 */
export function requireStatistics(checkpoint: Compared, key: string | null, use: StatisticsUse): void {
  if (key !== null) {
    requireDataset(checkpoint, key, use);
    return;
  }
  let first: unknown;
  for (const candidate of checkpoint.statistics.keys()) {
    try {
      requireDataset(checkpoint, candidate, use);
      return;
    } catch (error) {
      first ??= error;
    }
  }
  throw first;
}

/** Why a data set cannot be chosen; null: it can. */
export function statisticsProblem(checkpoint: Compared, key: string, use: StatisticsUse): string | null {
  try {
    requireDataset(checkpoint, key, use);
    return null;
  } catch (error) {
    if (error instanceof SemanticVlaError) return error.message;
    throw error;
  }
}

function requireDataset(checkpoint: Compared, key: string, use: StatisticsUse): void {
  const { config, statistics, sources } = checkpoint;
  const dataset = statistics.get(key)!;
  const actionDim = checkBounds(dataset.action, use.normalization);
  if (config.actionDim !== null && actionDim !== config.actionDim) {
    throw mismatch(checkpoint, key, {
      what: 'actions',
      found: actionDim,
      expected: config.actionDim,
      part: 'action head',
      file: sources.actionHead,
    });
  }
  if (!use.proprio) return;
  const { proprio } = dataset;
  if (proprio === null) {
    throw new SemanticVlaError(
      'STATISTICS_INVALID',
      `${sources.statistics}: ${key}: expected statistics of the joint state (proprio), since this policy runs with proprioception, found none. ` +
        "Copy the training run's statistics; pass proprio false only if the policy was trained without the joint state.",
    );
  }
  const proprioDim = checkBounds(proprio, use.normalization);
  if (config.proprioDim !== null && proprioDim !== config.proprioDim) {
    throw mismatch(checkpoint, key, {
      what: 'a joint state (proprio)',
      found: proprioDim,
      expected: config.proprioDim,
      part: 'proprio projector',
      file: sources.proprioProjector,
    });
  }
}

interface Mismatch {
  readonly what: string;
  readonly found: number;
  readonly expected: number;
  readonly part: string;
  readonly file: string | null;
}

function mismatch({ statistics, sources }: Compared, key: string, pair: Mismatch): SemanticVlaError {
  const { what, found, expected, part, file } = pair;
  const name = what === 'actions' ? 'actionDim' : 'proprioDim';
  const others = [...statistics].filter(([other, dataset]) => other !== key && dataset[name] === expected);
  const way =
    others.length === 0
      ? 'Copy the files of one training run.'
      : `Copy the files of one training run, or choose a data set of that size: ${others.map(([other]) => other).join(', ')}.`;
  return new SemanticVlaError(
    'STATISTICS_INVALID',
    `${sources.statistics}: ${key}: expected ${what} of ${expected} dimensions, as the ${part}${file === null ? '' : ` ${file}`} has, found ${found}. ${way}`,
  );
}
