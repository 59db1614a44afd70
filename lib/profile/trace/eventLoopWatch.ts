/** How late the event loop answers while something runs, apart from inference, which has other threads. */

import { monotonicMs } from '../../support/monotonicMs.ts';
import { summarize } from '../measure/percentiles.ts';
import type { Summary } from '../types.ts';

/** A timer fires this often; what is recorded is how late. */
const everyMs = 5;

export class EventLoopWatch {
  readonly #samples: { atMs: number; value: number }[] = [];
  #timer: NodeJS.Timeout | null = null;
  #due = 0;

  /** Milliseconds beyond the timer's time, at the moment it was answered. */
  get samples(): readonly { readonly atMs: number; readonly value: number }[] {
    return this.#samples;
  }

  start(): void {
    this.stop();
    this.#due = monotonicMs() + everyMs;
    this.#timer = setInterval(() => {
      const now = monotonicMs();
      this.#samples.push({ atMs: now, value: Math.max(now - this.#due, 0) });
      this.#due = now + everyMs;
    }, everyMs);
    // never what keeps a program alive
    this.#timer.unref();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Ends it. Milliseconds. */
  finish(): Summary {
    this.stop();
    const delays = this.#samples.map(({ value }) => value);
    return delays.length === 0 ? { ...summarize([0]), count: 0 } : summarize(delays);
  }
}
