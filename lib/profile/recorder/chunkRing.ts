/**
 * The last predictions and their stages, in typed arrays that are made once: recording allocates nothing. A prediction has
 * its row from its beginning, so that what was under way when a deadline passed is seen too.
 */

import { stageNames } from '../stages.ts';
import type { ChunkRecord, StageName, StageTimes } from '../types.ts';

export const outcomes = ['running', 'done', 'failed', 'aborted'] as const;
export type Outcome = (typeof outcomes)[number];
const [running, done] = [0, 1];

const width = stageNames.length;

/** A copy that may leave for another thread. */
export interface ChunkRows {
  /** Number of the first row since the recorder began. */
  readonly first: number;
  /** Milliseconds of `performance.now()`. */
  readonly start: Float64Array;
  /** [rows, stages]; NaN: the stage did not run. */
  readonly stages: Float64Array;
  /** Indices into `outcomes`. */
  readonly outcome: Uint8Array;
}

export class ChunkRing {
  #capacity: number;
  #start: Float64Array;
  #stages: Float64Array;
  #outcome: Uint8Array;
  /** Turn of a benchmark; -1: none. */
  #round: Int32Array;
  #count = 0;
  /** What was overwritten before more room was made. */
  #lost = 0;

  /** @param capacity rows, >= 1 */
  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#start = new Float64Array(capacity);
    this.#stages = new Float64Array(capacity * width);
    this.#outcome = new Uint8Array(capacity);
    this.#round = new Int32Array(capacity);
  }

  get capacity(): number {
    return this.#capacity;
  }

  /**
   * Makes room so that the next `rows` predictions overwrite none: for a benchmark, which keeps all, between two turns. What
   * was overwritten before stays lost.
   */
  reserve(rows: number): void {
    const needed = this.#count + rows;
    if (needed <= this.#capacity) return;
    const old = this.copy();
    const capacity = Math.max(needed, 2 * this.#capacity);
    const grown = new ChunkRing(capacity);
    for (const [i, startMs] of old.start.entries()) {
      const row = (old.first + i) % capacity;
      grown.#start[row] = startMs;
      grown.#outcome[row] = old.outcome[i]!;
      grown.#round[row] = this.#round[(old.first + i) % this.#capacity]!;
      grown.#stages.set(old.stages.subarray(i * width, (i + 1) * width), row * width);
    }
    this.#lost = old.first;
    this.#capacity = capacity;
    this.#start = grown.#start;
    this.#stages = grown.#stages;
    this.#outcome = grown.#outcome;
    this.#round = grown.#round;
  }

  /** Predictions that began since the recorder did. */
  get count(): number {
    return this.#count;
  }

  /**
   * @param round the turn that it belongs to, if any
   * @returns the row's number, for `end`
   */
  begin(startMs: number, round = -1): number {
    const row = this.#count % this.#capacity;
    this.#start[row] = startMs;
    this.#outcome[row] = running;
    this.#round[row] = round;
    this.#stages.fill(Number.NaN, row * width, (row + 1) * width);
    return this.#count++;
  }

  /**
   * What the ring has overwritten meanwhile is not written again.
   * @param timings milliseconds by stage, as an ActionChunk has them; names that are no stage are not recorded, nor are
   *   `instruction` and `decode` of 0, which say that there was nothing to do
   */
  end(number: number, totalMs: number, outcome: Outcome, timings: StageTimes | null): void {
    if (number < Math.max(this.#lost, this.#count - this.#capacity)) return;
    const row = number % this.#capacity;
    this.#outcome[row] = outcomes.indexOf(outcome);
    const at = row * width;
    this.#stages[at] = totalMs;
    if (timings === null) return;
    // column 0 is the total, which was measured here
    for (let i = 1; i < width; i++) {
      const name = stageNames[i]!;
      const ms = timings[name];
      if (ms !== undefined && !(ms === 0 && (name === 'instruction' || name === 'decode')))
        this.#stages[at + i] = ms;
    }
  }

  /** The rows from the oldest to the newest, copied. */
  copy(): ChunkRows {
    const first = Math.max(this.#lost, this.#count - this.#capacity);
    const rows = this.#count - first;
    const copy = {
      first,
      start: new Float64Array(rows),
      stages: new Float64Array(rows * width),
      outcome: new Uint8Array(rows),
    };
    // two stretches: from the oldest to the end of the arrays, and from their beginning
    const split = first % this.#capacity;
    const head = Math.min(rows, this.#capacity - split);
    copy.start.set(this.#start.subarray(split, split + head));
    copy.start.set(this.#start.subarray(0, rows - head), head);
    copy.outcome.set(this.#outcome.subarray(split, split + head));
    copy.outcome.set(this.#outcome.subarray(0, rows - head), head);
    copy.stages.set(this.#stages.subarray(split * width, (split + head) * width));
    copy.stages.set(this.#stages.subarray(0, (rows - head) * width), head * width);
    return copy;
  }

  /** Finished predictions as a report has them, oldest first. */
  records(): ChunkRecord[] {
    const { first, start, stages, outcome } = this.copy();
    return Array.from(start).flatMap((startMs, row) => {
      if (outcome[row] !== done) return [];
      const round = this.#round[(first + row) % this.#capacity]!;
      return [{ startMs, stages: stagesOf(stages, row), ...(round < 0 ? {} : { round }) }];
    });
  }
}

/** One row of `ChunkRows.stages`. */
export function stagesOf(stages: Float64Array, row: number): StageTimes {
  const times: Partial<Record<StageName, number>> = {};
  for (const [i, name] of stageNames.entries()) {
    const ms = stages[row * width + i]!;
    if (!Number.isNaN(ms)) times[name] = ms;
  }
  return times;
}
