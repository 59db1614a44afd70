/**
 * One prediction before anybody is told that the server is ready: the first client does not wait longer than the next ones,
 * and what every request would be refused for, such as a normalization key that nobody chose, ends the start.
 */

import { drawnObservation } from '../support/drawnObservation.ts';
import { SemanticVlaError } from '../support/errors.ts';
import type { Policy } from '../types.ts';
import { clientErrors } from './failure.ts';

/** Pixels of a side: what LIBERO's cameras deliver, so that the resize runs. */
const side = 256;

export interface WarmUpOptions {
  readonly unnormKey?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * @returns in whose units the policy answers; undefined: it was not asked, since it does not tell how many numbers its state
 *   has, or it refused an observation that nobody took
 * @throws (rejects) what the policy rejects with, unless that is about the observation
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
    // A guard that knows a camera's pictures is right not to take these.
    if (error instanceof SemanticVlaError && clientErrors[error.code] !== undefined) return undefined;
    throw error;
  }
}
