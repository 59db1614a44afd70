/**
 * Future state (VLASH, arXiv 2512.01031), opt-in: the policy is shown the joint state expected when its answer arrives, rolled
 * forward by the actions that will have been executed by then; the chunk's first row is for that moment. The images remain the
 * current ones, so this suits policies that were trained with such an offset or that rely on the state.
 */

import { SemanticVlaError } from '../support/errors.ts';
import { checkOptions, expected } from '../support/options.ts';
import type { Observation, Policy } from '../types.ts';
import type { ActionSpace } from './actionSpace.ts';
import { checkThreshold } from './asynchronous.ts';
import { Plan } from './plan.ts';
import { ScheduledPolicy, scheduleOptionNames } from './scheduledPolicy.ts';
import type { ActionScheduler, ScheduleOptions } from './scheduler.ts';

/** Options of the future state scheduler. */
export interface FutureStateOptions extends ScheduleOptions {
  /** How far ahead to look, in ticks: the usual latency times the rate, rounded up. */
  readonly ahead: number;
  /** Requests the next chunk when this share of the current one, or less, is left; default 0.5. */
  readonly threshold?: number;
}

/**
 * Only dimensions whose place in the state is known (`ActionDimension.state`) are rolled forward. If fewer than `ahead` actions
 * are planned, only those are used: the state never includes actions that will not be executed.
 * @throws OPTION_INVALID, OPTION_UNKNOWN, OPTION_REQUIRED
 */
export function futureState(policy: Policy, options: FutureStateOptions): ActionScheduler {
  checkOptions(options, [...scheduleOptionNames, 'ahead', 'threshold'], 'futureState');
  const { ahead } = options;
  if (!(Number.isSafeInteger(ahead) && ahead >= 0)) {
    throw expected('OPTION_INVALID', 'a whole number of ticks >= 0', 'ahead', ahead);
  }
  const threshold = checkThreshold(options.threshold);
  return new ScheduledPolicy(
    policy,
    (space) => {
      checkStatePlaces(space);
      return {
        mode: 'futureState',
        replaces: false,
        // While a chunk still waits for its first row, no other is needed.
        wants: (plan) => (plan.newest?.first ?? 0) <= plan.executed.total && plan.remaining <= threshold,
        shares: (current) => [{ placed: current.at(-1)!, weight: 1 }],
        ahead: (observation, firstExecuted, plan) =>
          rollForward(space, observation, firstExecuted, plan, ahead),
      };
    },
    options,
  );
}

function checkStatePlaces(space: ActionSpace): void {
  if (space.dimensions.some(({ state }) => state !== undefined)) return;
  throw new SemanticVlaError(
    'OPTION_INVALID',
    `Action space ${space.name}: expected dimensions with state { index, scale }, since future-state scheduling rolls the ` +
      'state forward, found none. Say where Observation.state holds what the actions move, or use asynchronous.',
  );
}

function rollForward(
  space: ActionSpace,
  observation: Observation,
  firstExecuted: number,
  plan: Plan,
  ahead: number,
): { observation: Observation; first: number } {
  const { state: given } = observation;
  if (given === undefined) {
    throw new SemanticVlaError(
      'STATE_INVALID',
      'Observation: expected a state, since future-state scheduling rolls it forward, found none. Pass the joint state.',
    );
  }
  const state = Float64Array.from(given);
  const now = plan.executed.total;
  const moved = plan.executed.movedSince(firstExecuted);
  let last: ArrayLike<number> | null = plan.executed.last(firstExecuted);
  let first = now;
  for (; first < now + ahead; first++) {
    const placed = plan.chunks.findLast((chunk) => chunk.first <= first && first < chunk.end);
    if (placed === undefined) break;
    last = Plan.row(placed, first);
    for (let d = 0; d < moved.length; d++) moved[d]! += last[d]!;
  }
  space.dimensions.forEach((dimension, d) => {
    if (dimension.state === undefined) return;
    const { index, scale } = dimension.state;
    if (index >= state.length) {
      throw new SemanticVlaError(
        'STATE_INVALID',
        `Observation state: expected at least ${index + 1} values, since action dimension ${dimension.name} is at ${index}, ` +
          `found ${state.length}. Correct state.index of the action space.`,
      );
    }
    if (dimension.kind === 'delta') state[index]! += scale * moved[d]!;
    else if (last !== null) state[index] = scale * last[d]!;
  });
  return { observation: { ...observation, state }, first };
}
