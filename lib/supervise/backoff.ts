/** How long to wait before an engine is started again. */

export interface Backoff {
  /** Milliseconds before the first restart. */
  readonly firstMs: number;
  /** Each further wait is this times the last. */
  readonly factor: number;
  readonly maxMs: number;
  /** An engine that has run this long has proven itself: the next wait is `firstMs` again. */
  readonly stableMs: number;
  /** Losses in a row, without a stable run between, after which the supervisor gives up. */
  readonly giveUpAfter: number;
}

export const defaultBackoff: Backoff = {
  firstMs: 50,
  factor: 2,
  maxMs: 2000,
  stableMs: 10_000,
  giveUpAfter: 20,
};

/** @param losses in a row, >= 1 */
export function restartDelay({ firstMs, factor, maxMs }: Backoff, losses: number): number {
  return Math.min(maxMs, firstMs * factor ** (losses - 1));
}
