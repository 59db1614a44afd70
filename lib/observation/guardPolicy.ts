/** A policy that refuses observations that should not be acted upon, and chunks that no robot should get. */

import { checkedChunk } from '../support/checkedChunk.ts';
import { checkOptions } from '../support/options.ts';
import type { ActionChunk, Observation, Policy, PredictOptions } from '../types.ts';
import { ObservationGuard, type ObservationGuardOptions } from './observationGuard.ts';

/** Options of the guard, except `cameras`, which the policy provides. */
export interface GuardPolicyOptions extends Omit<ObservationGuardOptions, 'cameras'> {
  /** When an observation was taken, in monotonic milliseconds. Default: when it is passed to `predict`. */
  readonly takenAt?: (observation: Observation) => number;
}

/**
 * Checks every observation before `policy` sees it (observationGuard.ts), and every chunk before the caller does. One
 * guard per robot: it remembers what the cameras showed last. The wrapper's `close` closes the policy.
 *
 * @throws OPTION_INVALID, OPTION_UNKNOWN. `predict` rejects with what `ObservationGuard.check` and the door for chunks
 *   (support/checkedChunk.ts) throw
 */
export function guardPolicy(policy: Policy, options: GuardPolicyOptions = {}): GuardedPolicy {
  const names = ['stateLength', 'frozenMs', 'blackLevel', 'reference', 'takenAt'];
  checkOptions(options, names, 'guardPolicy');
  const { takenAt = () => performance.now(), ...rest } = options;
  const { cameras, proprio } = policy.platform;
  const guard = new ObservationGuard({ ...(proprio ? {} : { stateLength: 'none' }), ...rest, cameras });
  return {
    platform: policy.platform,
    dimensions: policy.dimensions,
    variant: policy.variant,
    imageSize: policy.imageSize,
    patchGrid: policy.patchGrid,
    notices: policy.notices,
    guard,
    async predict(observation: Observation, predictOptions: PredictOptions): Promise<ActionChunk> {
      guard.check(observation, takenAt(observation));
      return checkedChunk(await policy.predict(observation, predictOptions), policy);
    },
    async stages(observation: Observation, predictOptions: PredictOptions) {
      guard.check(observation, takenAt(observation));
      return policy.stages(observation, predictOptions);
    },
    close: () => policy.close(),
    [Symbol.asyncDispose]: () => policy.close(),
  };
}

/** A policy behind a guard. */
export interface GuardedPolicy extends Policy {
  /** `guard.reset()` begins another episode. */
  readonly guard: ObservationGuard;
}
