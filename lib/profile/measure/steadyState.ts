/**
 * Decides when warm-up is over. Caches fill, clocks rise and the just-in-time compiler replaces code, so the first chunks say
 * little about the next thousand. The rule compares medians of windows, so that single outliers neither end nor prolong warm-up.
 */

import { median } from '../../support/median.ts';

/** Number of windows whose medians must agree. */
const windows = 3;
/** Allowed (largest median / smallest median) - 1. */
const tolerance = 0.03;
/** Time that a window should span, and its smallest and largest number of chunks. */
const windowMs = 400;
const leastChunks = 3;
const mostChunks = 50;

export interface SteadyState {
  readonly stable: boolean;
  /** The rule and what was seen, in one sentence. */
  readonly because: string;
}

/** Number of chunks per window at this speed. */
function windowSize(times: readonly number[]): number {
  const recent = median(times.slice(-leastChunks));
  return Math.min(mostChunks, Math.max(leastChunks, Math.round(windowMs / Math.max(recent, 1e-6))));
}

/**
 * Steady when the medians of the last three windows lie within 3 %.
 *
 * @param times milliseconds of every chunk so far, in order
 */
export function steadyState(times: readonly number[]): SteadyState {
  if (times.length === 0) return { stable: false, because: 'no warm-up' };
  const size = windowSize(times);
  if (times.length < windows * size) {
    return {
      stable: false,
      because: `${times.length} chunks are too few to tell (${windows} windows of ${size} are compared)`,
    };
  }
  const medians = Array.from({ length: windows }, (_, i) => {
    const end = times.length - i * size;
    return median(times.slice(end - size, end));
  });
  const spread = Math.max(...medians) / Math.min(...medians) - 1;
  const stable = spread <= tolerance;
  return {
    stable,
    because:
      `the medians of the last ${windows} windows of ${size} chunks lie within ${(100 * spread).toFixed(1)} %, ` +
      `${stable ? 'at most' : 'more than'} ${100 * tolerance} %`,
  };
}
