/**
 * Temporal ensembling (ACT, arXiv 2304.13705): requests at every tick and averages everything predicted for the current tick. If
 * the policy is slower than a tick, it requests as often as the policy answers.
 */

import { checkOptions, expected } from '../support/options.ts';
import type { Policy } from '../types.ts';
import { ScheduledPolicy, scheduleOptionNames } from './scheduledPolicy.ts';
import type { ActionScheduler, ScheduleOptions } from './scheduler.ts';

/** How fast old predictions lose weight. */
export interface TemporalEnsembleOptions extends ScheduleOptions {
  /** m in the weights exp(-m i), where i = 0 is the oldest prediction; larger values favour old predictions. Default 0.01. */
  readonly m?: number;
}

/** exp(-1000) is 0. */
const steepest = 1000;

/**
 * A row counts because it was predicted, whatever its values: rows of zeros count too.
 * @throws OPTION_INVALID, OPTION_UNKNOWN, OPTION_REQUIRED
 */
export function temporalEnsemble(policy: Policy, options: TemporalEnsembleOptions = {}): ActionScheduler {
  checkOptions(options, [...scheduleOptionNames, 'm'], 'temporalEnsemble');
  const { m: given = 0.01 } = options;
  if (!Number.isFinite(given)) throw expected('OPTION_INVALID', 'a number', 'm', given);
  // beyond this a single prediction has all the weight, and larger exponents would overflow
  const m = Math.max(-steepest, Math.min(steepest, given));
  return new ScheduledPolicy(
    policy,
    () => ({
      mode: 'temporalEnsemble',
      replaces: false,
      anchors: true,
      wants: () => true,
      shares: (current) => {
        // relative to the largest weight, so that no m overflows
        const largest = Math.max(0, -m * (current.length - 1));
        const weights = current.map((_, i) => Math.exp(-m * i - largest));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        return current.map((placed, i) => ({ placed, weight: weights[i]! / total }));
      },
    }),
    options,
  );
}
