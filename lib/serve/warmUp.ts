/**
 * One prediction before the server is announced as ready. The first client then waits no longer than later ones, and any error
 * that would refuse every request, such as a missing normalization key, stops the start.
 */

import { drawnObservation } from '../support/drawnObservation.ts';
import { SemanticVlaError } from '../support/errors.ts';
import type { Policy } from '../types.ts';
import { clientErrors } from './failure.ts';

/** Side in pixels: that of LIBERO's camera images, so that the resize runs too. */
const side = 256;

export interface WarmUpOptions {
  readonly unnormKey?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * @returns the dataset in whose units the policy answers; undefined if the policy was not called, because it does not state the
 *   size of its state, or if it refused the made-up observation
 * @throws (rejects) any error of the policy that is not about the observation
 */
export async function warmUp(policy: Policy, options: WarmUpOptions = {}): Promise<string | undefined> {
  const { unnormKey, signal } = options;
  const { stateSize } = policy;
  if (stateSize === undefined) return undefined;
  const observation = drawnObservation(policy.platform.cameras, stateSize, [side, side]);
  try {
    const chunk = await policy.predict(observation, {
      instruction: 'do nothing',
      ...(unnormKey === undefined ? {} : { unnormKey }),
      ...(signal === undefined ? {} : { signal }),
    });
    return chunk.unnormKey;
  } catch (error) {
    // A guard that knows what a camera's pictures look like is right to refuse these.
    if (error instanceof SemanticVlaError && clientErrors[error.code] !== undefined) return undefined;
    throw error;
  }
}
