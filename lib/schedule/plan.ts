/** The chunks that still have something to say, placed on the count of executed actions. */

import type { ActionChunk } from '../types.ts';
import type { ExecutedRows } from './executedRows.ts';

export interface PlacedChunk {
  readonly chunk: ActionChunk;
  readonly observedAt: number;
  /** Row r is executed action `first + r`. */
  readonly first: number;
  /** One past the last executed action that it speaks for. */
  readonly end: number;
  /** Actions executed when it came. */
  readonly start: number;
  /** Rows, from `start`, that an older plan spoke for when it came. */
  readonly overlap: number;
}

export class Plan {
  readonly executed: ExecutedRows;
  /** Oldest observation first. */
  #chunks: PlacedChunk[] = [];
  /** Sums of a chunk's rows before `until`, carried on from tick to tick: a long chunk is not added up anew each time. */
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

  /** Rows left of the newest chunk, over its length. */
  get remaining(): number {
    const newest = this.newest;
    if (newest === undefined) return 0;
    return Math.max(0, newest.end - this.executed.total) / newest.chunk.shape[0];
  }

  /**
   * @param first executed action of row 0
   * @param rows rows of it to be used at most, counted from the first that is still ahead
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

  /** From where the robot has been sent to, to where the chunk would have it after the action of now, [A]; deltas only. */
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
