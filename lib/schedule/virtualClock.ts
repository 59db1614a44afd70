/** Virtual time: nothing sleeps, the order of events is exact, and an hour takes as long as its callbacks do. */

import type { Clock } from './clock.ts';

interface Timer {
  readonly time: number;
  /** Timers of one time run in the order they were set. */
  readonly order: number;
  callback: (() => void) | null;
}

/** A clock that stands still until it is told to go on, for tests. */
export class VirtualClock implements Clock {
  #now: number;
  #order = 0;
  /** A binary heap by time, then order. */
  readonly #heap: Timer[] = [];

  /** @param start milliseconds; any value, as with a real monotonic clock */
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
   * Runs every timer up to `end`, in order; then it is `end`. Promise reactions run to their end between two timers, as
   * they would on a robot, where timers are far apart.
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

  /** The process is busy for this long: timers that come due meanwhile run late. */
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

/** An immediate runs only when no promise reaction is left, however long their chain. */
function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
