/** Virtual time: nothing sleeps, the order of events is exact, and an hour takes as long as its callbacks do. */

import type { Clock } from './clock.ts';

interface Timer {
  readonly time: number;
  /** Timers due at the same time run in the order in which they were set. */
  readonly order: number;
  callback: (() => void) | null;
}

/** A clock that stands still until told to advance, for tests. */
export class VirtualClock implements Clock {
  #now: number;
  #order = 0;
  /** A binary heap by time, then order. */
  readonly #heap: Timer[] = [];

  /** @param start milliseconds; any value, as on a real monotonic clock */
  constructor(start = 0) {
    this.#now = start;
  }

  now(): number {
    return this.#now;
  }

  at(time: number, callback: () => void): () => void {
    const timer: Timer = { time: Math.max(time, this.#now), order: this.#order++, callback };
    this.#push(timer);
    return () => {
      timer.callback = null;
    };
  }

  /**
   * Runs every timer due up to `end`, in order; afterwards the time is `end`. Between two timers all promise reactions run to
   * completion, as they would on a robot, where timers are far apart.
   */
  async runUntil(end: number): Promise<void> {
    await settled();
    for (let timer = this.#heap[0]; timer !== undefined && timer.time <= end; timer = this.#heap[0]) {
      this.#pop();
      if (timer.callback === null) continue;
      this.#now = Math.max(this.#now, timer.time);
      const { callback } = timer;
      timer.callback = null;
      callback();
      await settled();
    }
    this.#now = Math.max(this.#now, end);
  }

  /** Makes the process busy for this long: timers that come due meanwhile run late. */
  stall(ms: number): void {
    this.#now += Math.max(0, ms);
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let i = heap.length;
    heap.push(timer);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(timer, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = timer;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
  }
}

function before(a: Timer, b: Timer): boolean {
  return a.time < b.time || (a.time === b.time && a.order < b.order);
}

/** An immediate runs only after all promise reactions, however long their chain. */
function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
