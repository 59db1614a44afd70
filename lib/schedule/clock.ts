/**
 * Time for schedulers and loops: monotonic milliseconds, and calls at a given time. It is injected everywhere, so that the same
 * code runs on a robot and in virtual time. The wall clock is never used, since it jumps.
 */

import { expected } from '../support/options.ts';

/** Where a loop gets its time from: the machine's clock, or a virtual one in tests. */
export interface Clock {
  /** Milliseconds, monotonic; only differences mean something. */
  now(): number;
  /**
   * Calls back once at `time`, never earlier, and at the earliest on the next turn of the event loop.
   * @returns a function that cancels the call; harmless after it
   */
  at(time: number, callback: () => void): () => void;
}

/** The longest delay that a Node timer takes; longer ones fire at once. */
const longestDelay = 2 ** 31 - 1;

/**
 * The process's monotonic clock. Node's timers count whole milliseconds and may fire up to one early or late; so the timer is set
 * to end before the deadline, and the event loop spins (other callbacks run) for the rest.
 *
 * @param spinMs how long before the deadline the timer ends. Precision costs a core that is busy for about this long at every
 *   call. 0: a plain timer, about a millisecond late, without busy waiting
 * @returns a clock of milliseconds, that of `performance.now()`
 * @throws never
 */
export function monotonicClock(spinMs = 0): Clock {
  const now = (): number => performance.now();
  return {
    now,
    at(time, callback) {
      let timer: NodeJS.Timeout | null = null;
      let turn: NodeJS.Immediate | null = null;
      const wait = (): void => {
        timer = null;
        turn = null;
        const left = time - now();
        if (left <= 0) callback();
        else if (left > spinMs) {
          timer = setTimeout(wait, Math.min(longestDelay, Math.max(1, Math.ceil(left - spinMs))));
        } else turn = setImmediate(wait);
      };
      if (time - now() > spinMs) wait();
      else turn = setImmediate(wait);
      return () => {
        if (timer !== null) clearTimeout(timer);
        if (turn !== null) clearImmediate(turn);
      };
    },
  };
}

/** @throws OPTION_INVALID if it is not a clock */
export function checkClock(clock: Clock): void {
  const isClock = typeof clock?.now === 'function' && typeof clock.at === 'function';
  if (!isClock) throw expected('OPTION_INVALID', 'a clock with now() and at(time, callback)', 'clock', clock);
}

/** @throws OPTION_INVALID if the clock does not return a time */
export function readClock(clock: Clock): number {
  const now = clock.now();
  if (Number.isFinite(now)) return now;
  throw expected('OPTION_INVALID', 'milliseconds', 'now() of the clock', now);
}

const double = new Float64Array(1);
const bits = new BigInt64Array(double.buffer);

/**
 * The smallest number above `time`. It orders instants with the same reading of a coarse clock; adding a small number to a large
 * one could have no effect.
 */
export function instantAfter(time: number): number {
  if (!Number.isFinite(time)) return time;
  if (time === 0) return Number.MIN_VALUE;
  double[0] = time;
  bits[0] = bits[0]! + (time > 0 ? 1n : -1n);
  return double[0]!;
}
