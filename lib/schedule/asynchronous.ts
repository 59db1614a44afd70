/**
 * Asynchronous: the next chunk is requested while this one is executed. When it arrives, it replaces the plan, without the rows
 * that were executed since its observation; these are counted, not estimated.
 */

import { checkOptions, expected } from '../support/options.ts';
import type { Policy } from '../types.ts';
import { ScheduledPolicy, scheduleOptionNames } from './scheduledPolicy.ts';
import type { ActionScheduler, ScheduleOptions } from './scheduler.ts';

/** Options of the asynchronous scheduler; all may be left out. */
export interface AsynchronousOptions extends ScheduleOptions {
  /** Requests the next chunk when this share of the current one, or less, is left; 0..1, default 0.5. 1: all the time. */
  readonly threshold?: number;
}

/**
 * A scheduler that requests the next chunk while the last one is executed, and uses it as soon as it arrives.
 *
 * @throws OPTION_INVALID, OPTION_UNKNOWN, OPTION_REQUIRED
 */
export function asynchronous(policy: Policy, options: AsynchronousOptions = {}): ActionScheduler {
  checkOptions(options, [...scheduleOptionNames, 'threshold'], 'asynchronous');
  const threshold = checkThreshold(options.threshold);
  return new ScheduledPolicy(
    policy,
    () => ({
      mode: 'asynchronous',
      replaces: true,
      wants: (plan) => plan.remaining <= threshold,
      shares: (current) => [{ placed: current.at(-1)!, weight: 1 }],
    }),
    options,
  );
}

/** @throws OPTION_INVALID */
export function checkThreshold(threshold = 0.5): number {
  if (!(threshold >= 0 && threshold <= 1)) {
    throw expected('OPTION_INVALID', 'a share in 0..1', 'threshold', threshold);
  }
  return threshold;
}
