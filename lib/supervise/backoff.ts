/** How long to wait before an engine is started again. */

import { checkOptions, expected } from '../support/options.ts';

/** How long a supervisor waits before it starts the engine again. */
export interface Backoff {
  /** Milliseconds before the first restart, >= 1. */
  readonly firstMs: number;
  /** Each further wait is the previous one times this; >= 1. */
  readonly factor: number;
  /** Longest wait, milliseconds, >= `firstMs`. */
  readonly maxMs: number;
  /** An engine that has run this long counts as stable: the next wait is `firstMs` again. Milliseconds > 0. */
  readonly stableMs: number;
  /** The supervisor gives up after this many consecutive losses without a stable run in between; >= 1, Infinity: never. */
  readonly giveUpAfter: number;
}

export const defaultBackoff: Backoff = {
  firstMs: 50,
  factor: 2,
  maxMs: 2000,
  stableMs: 10_000,
  giveUpAfter: 20,
};

/** A timer cannot wait longer. */
const longestMs = 2 ** 31 - 1;

/**
 * Checks and completes the back-off, so that an engine that does not start is never restarted in a tight loop.
 * @throws OPTION_INVALID, OPTION_UNKNOWN
 */
export function resolveBackoff(given: Partial<Backoff> | undefined): Backoff {
  if (given !== undefined) checkOptions(given, Object.keys(defaultBackoff), 'superviseEngine backoff');
  const set = Object.entries(given ?? {}).filter(([, value]) => value !== undefined);
  const backoff: Backoff = { ...defaultBackoff, ...Object.fromEntries(set) };
  const { firstMs, factor, maxMs, stableMs, giveUpAfter } = backoff;
  const check = (right: boolean, what: string, name: keyof Backoff): void => {
    const value: unknown = backoff[name];
    if (typeof value !== 'number' || !right) throw expected('OPTION_INVALID', what, `backoff.${name}`, value);
  };
  check(firstMs >= 1 && firstMs <= longestMs, `milliseconds in 1..${longestMs}`, 'firstMs');
  check(factor >= 1 && factor <= Number.MAX_VALUE, 'a finite number from 1 on', 'factor');
  check(
    maxMs >= firstMs && maxMs <= longestMs,
    `milliseconds from firstMs (${firstMs}) to ${longestMs}`,
    'maxMs',
  );
  check(stableMs > 0, 'milliseconds above 0', 'stableMs');
  const counts = Number.isInteger(giveUpAfter) || giveUpAfter === Number.POSITIVE_INFINITY;
  check(counts && giveUpAfter >= 1, 'a whole number above 0, or Infinity', 'giveUpAfter');
  return backoff;
}

/** @param losses in a row, >= 1 */
export function restartDelay({ firstMs, factor, maxMs }: Backoff, losses: number): number {
  return Math.min(maxMs, firstMs * factor ** (losses - 1));
}
