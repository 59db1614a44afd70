/** A policy that refuses what it should not act upon, and lets no action out that no robot should get. */

import { SemanticVlaError } from '../errors.ts';
import { checkOptions } from '../options.ts';
import type { ActionChunk, Observation, Policy, PredictOptions } from '../types.ts';
import { ObservationGuard, type ObservationGuardOptions } from './observationGuard.ts';

export interface GuardPolicyOptions extends Omit<ObservationGuardOptions, 'cameras'> {
  /** When an observation was taken, monotonic milliseconds. Default: when it is passed to `predict`. */
  readonly takenAt?: (observation: Observation) => number;
}

/**
 * Checks every observation before `policy` sees it (observationGuard.ts), and every chunk before the caller does. One
 * robot a guard: it remembers what the cameras showed last. The wrapper's `close` closes the policy.
 *
 * @throws OPTION_INVALID, OPTION_UNKNOWN. `predict` rejects with what `ObservationGuard.check` and `checkChunk` throw
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
      return checkChunk(await policy.predict(observation, predictOptions), policy);
    },
    async stages(observation: Observation, predictOptions: PredictOptions) {
      guard.check(observation, takenAt(observation));
      return policy.stages(observation, predictOptions);
    },
    close: () => policy.close(),
    [Symbol.asyncDispose]: () => policy.close(),
  };
}

export interface GuardedPolicy extends Policy {
  /** `guard.reset()` begins another episode. */
  readonly guard: ObservationGuard;
}

/**
 * A chunk that a robot may get: [C, A] as the policy says, all finite.
 * @throws RUNTIME_FAILED wrong shape; ACTION_NOT_FINITE with the row and the dimension
 */
export function checkChunk(chunk: ActionChunk, policy: Pick<Policy, 'dimensions'>): ActionChunk {
  const { actions, shape } = chunk;
  const [rows, columns] = shape;
  if (columns !== policy.dimensions.length || actions.length !== rows * columns || rows < 1) {
    throw new SemanticVlaError(
      'RUNTIME_FAILED',
      `Action chunk: expected rows of ${policy.dimensions.length} dimensions, found ${actions.length} values as [${shape.join(', ')}]. ` +
        'Nothing of it is executed; load the policy again.',
    );
  }
  for (let i = 0; i < actions.length; i++) {
    if (Number.isFinite(actions[i])) continue;
    throw new SemanticVlaError(
      'ACTION_NOT_FINITE',
      `Action chunk: expected finite numbers, found ${actions[i]} for ${policy.dimensions[i % columns]} in row ${Math.floor(i / columns)}. ` +
        'Nothing of it is executed; check the observation and the checkpoint.',
    );
  }
  return chunk;
}
