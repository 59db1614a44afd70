/**
 * The actions sent to the robot, in order. Every chunk is aligned with this count: row r of a chunk belongs to executed action
 * `first + r`, where `first` is how many had been executed when its observation was taken. So the rows to drop are counted,
 * never estimated from a latency.
 */

import type { ActionSpace } from './actionSpace.ts';

/** Least number of actions remembered: more than any chunk, and than any latency in ticks that still allows control. */
export const rowsKept = 4096;

export class ExecutedRows {
  readonly #isDelta: readonly boolean[];
  /** Actions executed since the start. */
  #total = 0;
  /** Of the newest actions; times never decrease. */
  #times: number[] = [];
  /** Sum of all deltas up to and including the action, [A]. */
  #sums: Float64Array[] = [];
  #last: Float64Array | null = null;
  /** Count and sum before the oldest action that is kept. */
  #forgotten = 0;
  #before: Float64Array;

  constructor(space: ActionSpace) {
    this.#isDelta = space.dimensions.map(({ kind }) => kind === 'delta');
    this.#before = new Float64Array(space.dimensions.length);
  }

  get total(): number {
    return this.#total;
  }

  /** @param values [A] as sent, with limits applied */
  add(values: ArrayLike<number>, at: number): void {
    this.settle(at);
    const previous = this.#sums.at(-1) ?? this.#before;
    this.#sums.push(previous.map((sum, d) => (this.#isDelta[d] ? sum + values[d]! : 0)));
    this.#times.push(at);
    this.#last = Float64Array.from(values);
    this.#total++;
    if (this.#times.length < 2 * rowsKept) return;
    this.#before = this.#sums[rowsKept - 1]!;
    this.#times = this.#times.slice(rowsKept);
    this.#sums = this.#sums.slice(rowsKept);
    this.#forgotten += rowsKept;
  }

  /** The clock went back to `now`: what was executed at a later time counts as executed by now. */
  settle(now: number): void {
    for (let i = this.#times.length - 1; i >= 0 && this.#times[i]! > now; i--) this.#times[i] = now;
  }

  /** Sums that have overflowed are useless: nothing may be planned from them. */
  restart(): void {
    if ((this.#sums.at(-1) ?? this.#before).every(Number.isFinite)) return;
    for (const sum of this.#sums) sum.fill(0);
    this.#before = this.#before.map(() => 0);
  }

  /** Actions executed before `time` (an action at the same instant came after the observation); null: too long ago to know. */
  countBefore(time: number): number | null {
    let low = 0;
    let high = this.#times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#times[middle]! < time) low = middle + 1;
      else high = middle;
    }
    return low === 0 && this.#forgotten > 0 ? null : this.#forgotten + low;
  }

  /** [A] The newest action, if any was executed after the first `count`. */
  last(count: number): ArrayLike<number> | null {
    return this.#total > count ? this.#last : null;
  }

  /** Sum of the deltas executed since the first `count` actions, [A]; zero in dimensions that are not deltas. */
  movedSince(count: number): Float64Array {
    const now = this.#sums.at(-1) ?? this.#before;
    const then = count <= this.#forgotten ? this.#before : this.#sums[count - this.#forgotten - 1]!;
    const moved = new Float64Array(now.length);
    for (let d = 0; d < moved.length; d++) moved[d] = now[d]! - then[d]!;
    return moved;
  }
}
