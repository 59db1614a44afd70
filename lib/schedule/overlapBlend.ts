/**
 * Overlap blend: asynchronous, but where the old plan still has rows, they are mixed with the first rows of the new chunk, so that
 * the robot does not jump at the seam.
 */

import { checkOptions, expected } from '../support/options.ts';
import type { Policy } from '../types.ts';
import { checkThreshold } from './asynchronous.ts';
import type { PlacedChunk } from './plan.ts';
import type { Share } from './rules.ts';
import { ScheduledPolicy, scheduleOptionNames } from './scheduledPolicy.ts';
import type { ActionScheduler, ScheduleOptions } from './scheduler.ts';

/**
 * Share of the new chunk on the overlap. LeRobot's aggregate functions: `weighted_average` 0.7, `average` 0.5,
 * `conservative` 0.3, `latest_only` 1. `linear` and `exponential` go from the frozen rows (0) to the free rows (1).
 */
export type BlendRule =
  | 'weighted_average'
  | 'average'
  | 'conservative'
  | 'latest_only'
  | 'linear'
  | 'exponential';

/** How rows of two chunks that overlap are mixed. */
export interface OverlapBlendOptions extends ScheduleOptions {
  readonly rule: BlendRule;
  /** Requests the next chunk when this share of the current one, or less, is left; default 0.5. */
  readonly threshold?: number;
  /** Rows at the beginning of the overlap that stay as planned, e.g. because the controller already has them; default 0. */
  readonly frozen?: number;
}

/** Share of the new chunk at `row` of an overlap of `rows` rows (both without the frozen ones). */
const shareOfNew: Readonly<Record<BlendRule, (row: number, rows: number) => number>> = {
  weighted_average: () => 0.7,
  average: () => 0.5,
  conservative: () => 0.3,
  latest_only: () => 1,
  linear: (row, rows) => (row + 1) / (rows + 1),
  // The soft mask of real-time chunking (arXiv 2506.07339, eq. 5): the old plan's share c (e^c - 1) / (e - 1), c falling linearly.
  exponential: (row, rows) => {
    const c = (rows - row) / (rows + 1);
    return 1 - (c * Math.expm1(c)) / Math.expm1(1);
  },
};

/** Names of the rules. */
export const blendRules = Object.keys(shareOfNew) as BlendRule[];

/**
 * A scheduler that mixes the rows in which the newest chunk and the plan overlap.
 *
 * @throws OPTION_INVALID, OPTION_UNKNOWN, OPTION_REQUIRED
 */
export function overlapBlend(policy: Policy, options: OverlapBlendOptions): ActionScheduler {
  checkOptions(options, [...scheduleOptionNames, 'rule', 'threshold', 'frozen'], 'overlapBlend');
  const { rule, frozen = 0 } = options;
  if (!blendRules.includes(rule)) {
    throw expected('OPTION_INVALID', `one of ${blendRules.join(', ')}`, 'rule', rule);
  }
  if (!(Number.isSafeInteger(frozen) && frozen >= 0)) {
    throw expected('OPTION_INVALID', 'a whole number >= 0', 'frozen', frozen);
  }
  const threshold = checkThreshold(options.threshold);
  const share = (placed: PlacedChunk, index: number): number => {
    const row = index - placed.start;
    if (row >= placed.overlap) return 1;
    return row < frozen ? 0 : shareOfNew[rule](row - frozen, placed.overlap - frozen);
  };
  return new ScheduledPolicy(
    policy,
    () => ({
      mode: `overlapBlend ${rule}`,
      replaces: false,
      anchors: true,
      wants: (plan) => plan.remaining <= threshold,
      shares: (current, plan) => blend(current, (placed) => share(placed, plan.executed.total)),
    }),
    options,
  );
}

/**
 * The old plan may itself be a blend: each newer chunk reduces the shares of the older ones by what it takes. The share of a chunk
 * that is dropped (its observation is too old) goes to the remaining ones.
 */
function blend(current: readonly PlacedChunk[], shareOf: (placed: PlacedChunk) => number): Share[] {
  let shares: Share[] = [];
  for (const placed of current) {
    const own = shares.length === 0 ? 1 : shareOf(placed);
    shares = shares.map((share) => ({ ...share, weight: share.weight * (1 - own) }));
    shares.push({ placed, weight: own });
  }
  return shares.filter(({ weight }) => weight > 0);
}
