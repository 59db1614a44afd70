/** A deadline that does not count this process's own pauses against the other side. */

/** A timer this much late shows that this process itself was stopped or busy. */
const pauseMs = 50;

/**
 * Calls `onExpired` when `reset` was not called for `limitMs`. Monotonic. Before it does so it lets waiting input be
 * read: a process that was paused finds its timers due first, and the answer in the socket behind them.
 */
export class Watchdog {
  readonly #limitMs: number;
  readonly #onExpired: () => void;
  #timer: NodeJS.Timeout | null = null;
  #due = 0;

  constructor(limitMs: number, onExpired: () => void) {
    this.#limitMs = limitMs;
    this.#onExpired = onExpired;
    this.reset();
  }

  reset(): void {
    this.#due = performance.now() + this.#limitMs;
    this.#timer ??= this.#arm(this.#limitMs);
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#due = Number.POSITIVE_INFINITY;
  }

  /** One timer however often it is reset: it compares with the due time when it fires. */
  #arm(ms: number): NodeJS.Timeout {
    const expectedAt = performance.now() + ms;
    return setTimeout(() => {
      const late = performance.now() - expectedAt;
      // input that is read first moves `#due`
      setImmediate(() => this.#look(late));
    }, ms).unref();
  }

  #look(late: number): void {
    if (this.#timer === null) return;
    if (late > pauseMs) this.#due = Math.max(this.#due, performance.now() + pauseMs);
    const left = this.#due - performance.now();
    if (left > 0) {
      this.#timer = this.#arm(left);
      return;
    }
    this.#timer = null;
    this.#onExpired();
  }
}
