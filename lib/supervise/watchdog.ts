/** A deadline that does not blame the other side for pauses of this process. */

/** A timer that is this late shows that this process itself was stopped or busy. */
const pauseMs = 50;

/**
 * Calls `onExpired` if `reset` was not called for `limitMs`. Monotonic. It first lets waiting input be read: a process that was
 * paused finds its timers due before it sees the answer in the socket.
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

  /** A single timer, however often it is reset: when it fires, it compares the time with the due time. */
  #arm(ms: number): NodeJS.Timeout {
    const expectedAt = performance.now() + ms;
    return setTimeout(() => {
      const late = performance.now() - expectedAt;
      // reading input first moves `#due`
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
