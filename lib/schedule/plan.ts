/** The chunks that still have rows to contribute, aligned with the count of executed actions. */

import type { ActionChunk } from '../types.ts';
import type { ExecutedRows } from './executedRows.ts';

export interface PlacedChunk {
  readonly chunk: ActionChunk;
  readonly observedAt: number;
  /** Row r is executed action `first + r`. */
  readonly first: number;
  /** One past the last executed action that it has a row for. */
  readonly end: number;
  /** Number of actions executed when it arrived. */
  readonly start: number;
  /** Number of rows, from `start`, that an older plan also had when it arrived. */
  readonly overlap: number;
}

export class Plan {
  readonly executed: ExecutedRows;
  /** Oldest observation first. */
  #chunks: PlacedChunk[] = [];
  /** Running sums of a chunk's rows before `until`, so that a long chunk is not summed again at each tick. */
  readonly #targets = new WeakMap<PlacedChunk, { readonly sums: Float64Array; until: number }>();

  constructor(executed: ExecutedRows) {
    this.executed = executed;
  }

  get chunks(): readonly PlacedChunk[] {
    return this.#chunks;
  }

  get newest(): PlacedChunk | undefined {
    return this.#chunks.at(-1);
  }

  /** Chunks with a row for this tick. */
  current(): PlacedChunk[] {
    const now = this.executed.total;
    return this.#chunks.filter(({ first, end }) => first <= now && now < end);
  }

  /** Share of the newest chunk's rows that are left. */
  get remaining(): number {
    const newest = this.newest;
    if (newest === undefined) return 0;
    return Math.max(0, newest.end - this.executed.total) / newest.chunk.shape[0];
  }

  /**
   * @param first executed action of row 0
   * @param rows most rows of it to use, counted from the first that is still ahead
   */
  add(chunk: ActionChunk, observedAt: number, first: number, rows = Number.POSITIVE_INFINITY): void {
    const start = Math.max(this.executed.total, first);
    const end = Math.min(first + chunk.shape[0], start + rows);
    const spoken = this.#chunks.reduce((most, placed) => Math.max(most, placed.end), start);
    this.#chunks.push({ chunk, observedAt, first, end, start, overlap: spoken - start });
  }

  keep(which: (placed: PlacedChunk) => boolean): void {
    if (!this.#chunks.every(which)) this.#chunks = this.#chunks.filter(which);
  }

  clear(): void {
    this.#chunks = [];
  }

  /** Row of `placed` for executed action `index`, [A], a view. */
  static row({ chunk, first }: PlacedChunk, index: number): Float64Array {
    const width = chunk.shape[1];
    const row = index - first;
    return chunk.actions.subarray(row * width, (row + 1) * width);
  }

  /** Deltas only, [A]: from where the robot has been sent to, to where the chunk would have it after the current action. */
  anchored(placed: PlacedChunk): Float64Array {
    const now = this.executed.total;
    const moved = this.executed.movedSince(placed.first);
    let target = this.#targets.get(placed);
    if (target === undefined || target.until > now + 1) {
      target = { sums: new Float64Array(moved.length), until: placed.first };
      this.#targets.set(placed, target);
    }
    const { sums } = target;
    for (; target.until <= now; target.until++) {
      const row = Plan.row(placed, target.until);
      for (let d = 0; d < sums.length; d++) sums[d]! += row[d]!;
    }
    const ahead = new Float64Array(sums.length);
    for (let d = 0; d < ahead.length; d++) ahead[d] = sums[d]! - moved[d]!;
    return ahead;
  }
}
