/** Open loop: execute a chunk, or its first rows, then observe again; as the reference does (LIBERO 8 rows, ALOHA 25). */

import { checkOptions, expected } from '../support/options.ts';
import type { Policy } from '../types.ts';
import { ScheduledPolicy, scheduleOptionNames } from './scheduledPolicy.ts';
import type { ActionScheduler, ScheduleOptions } from './scheduler.ts';

/** Options of the open loop; all may be left out. */
export interface OpenLoopOptions extends ScheduleOptions {
  /** Rows executed before asking again; default: the whole chunk. */
  readonly executeHorizon?: number;
}

/**
 * Rows are sent exactly as predicted. The robot waits while the policy computes.
 * @throws OPTION_INVALID, OPTION_UNKNOWN, OPTION_REQUIRED
 */
export function openLoop(policy: Policy, options: OpenLoopOptions = {}): ActionScheduler {
  checkOptions(options, [...scheduleOptionNames, 'executeHorizon'], 'openLoop');
  const { executeHorizon } = options;
  if (executeHorizon !== undefined && !(Number.isSafeInteger(executeHorizon) && executeHorizon >= 1)) {
    throw expected('OPTION_INVALID', 'a positive integer', 'executeHorizon', executeHorizon);
  }
  return new ScheduledPolicy(
    policy,
    () => ({
      mode: 'openLoop',
      replaces: true,
      verbatim: true,
      ...(executeHorizon === undefined ? {} : { rows: executeHorizon }),
      wants: (plan) => plan.newest === undefined,
      shares: ([placed]) => [{ placed: placed!, weight: 1 }],
    }),
    options,
  );
}
