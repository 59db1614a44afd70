/** A time limit of a call to a server. */

import { SemanticVlaError } from '../support/errors.ts';

export interface Deadline {
  readonly signal: AbortSignal;
  clear(): void;
}

/** Unlike `AbortSignal.timeout`, it can be cleared, and its reason has a code. */
export function deadline(ms: number, what: string): Deadline {
  const controller = new AbortController();
  const timer = setTimeout(() => {
    const message = `Expected ${what} within ${ms} ms, found none. Hold, and ask again with a newer observation.`;
    controller.abort(new SemanticVlaError('DEADLINE_EXCEEDED', message));
  }, ms);
  return { signal: controller.signal, clear: () => clearTimeout(timer) };
}
