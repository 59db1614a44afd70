/** Checks what a loop's `observe` returned. */

import { expected } from '../support/options.ts';
import type { TimedObservation } from './loopEvents.ts';

/**
 * Returns `seen` with each field read once; null if there is no observation.
 * @throws OBSERVATION_INVALID if it is not an object, is a promise, or has no finite time
 */
export function timedObservation(seen: unknown): TimedObservation | null {
  if (seen === null) return null;
  if (typeof seen !== 'object') throw invalid('{ observation, at } or null', 'the answer of observe', seen);
  if (seen instanceof Promise) {
    // nobody awaits it, so its rejection is handled here
    seen.catch(() => {});
    throw invalid('{ observation, at } at once', 'the answer of observe', seen);
  }
  const { observation, at } = seen as Partial<TimedObservation>;
  if (typeof observation !== 'object' || observation === null)
    throw invalid('an object', 'the observation that observe answered with', observation);
  if (typeof at !== 'number' || !Number.isFinite(at))
    throw invalid("milliseconds of the loop's clock", 'at, the time of the observation,', at);
  const { state } = observation;
  if (state !== undefined && state !== null && !(typeof state === 'object' && Number.isInteger(state.length)))
    throw invalid('numbers', 'the state of the observation', state);
  return { observation, at };
}

function invalid(what: string, name: string, value: unknown): Error {
  return expected('OBSERVATION_INVALID', what, name, value);
}
