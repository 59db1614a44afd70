/**
 * The last predictions, and the last ticks and decisions of loops and servers, in typed arrays that are made once: recording
 * allocates nothing. Times are milliseconds of `performance.now()`.
 */

import { stageNames } from '../stages.ts';
import type { ChunkRecord, StageName, StageTimes } from '../types.ts';

export const outcomes = ['running', 'done', 'failed', 'aborted'] as const;
export type Outcome = (typeof outcomes)[number];

const width = stageNames.length;

/** A copy that can be sent to another thread. */
export interface ChunkRows {
  /** Number of the first row since the recorder began. */
  readonly first: number;
  readonly start: Float64Array;
  /** [rows, stages]; NaN: the stage did not run. */
  readonly stages: Float64Array;
  /** Indices into `outcomes`. */
  readonly outcome: Uint8Array;
}

/** The rows of a ring from number `first` on, oldest first, as an array of their own. */
function unrolled<T extends Float64Array | Uint8Array>(ring: T, first: number, rows: number, columns = 1): T {
  const split = (first * columns) % ring.length;
  const copy = new (ring.constructor as new (length: number) => T)(rows * columns);
  const head = Math.min(copy.length, ring.length - split);
  copy.set(ring.subarray(split, split + head));
  copy.set(ring.subarray(0, copy.length - head), head);
  return copy;
}

/** A prediction has its row from the moment it begins, so that one still under way when a deadline passes is seen too. */
export class ChunkRing {
  readonly #capacity: number;
  readonly #start: Float64Array;
  readonly #stages: Float64Array;
  readonly #outcome: Uint8Array;
  #count = 0;

  /** @param capacity rows, >= 1 */
  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#start = new Float64Array(capacity);
    this.#stages = new Float64Array(capacity * width);
    this.#outcome = new Uint8Array(capacity);
  }

  /** Predictions that began since the recorder did. */
  get count(): number {
    return this.#count;
  }

  /** @returns the row's number, for `end` */
  begin(startMs: number): number {
    const row = this.#count % this.#capacity;
    this.#start[row] = startMs;
    this.#outcome[row] = 0;
    this.#stages.fill(Number.NaN, row * width, (row + 1) * width);
    return this.#count++;
  }

  /**
   * Does nothing if the row was overwritten in the meantime.
   * @param timings milliseconds by stage, as in an ActionChunk. Other names are not recorded, nor are `instruction` and
   *   `decode` of 0, which mean that there was nothing to do
   */
  end(number: number, totalMs: number, outcome: Outcome, timings: StageTimes | null): void {
    if (number < this.#count - this.#capacity) return;
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

  copy(): ChunkRows {
    const first = Math.max(0, this.#count - this.#capacity);
    const rows = this.#count - first;
    return {
      first,
      start: unrolled(this.#start, first, rows),
      stages: unrolled(this.#stages, first, rows, width),
      outcome: unrolled(this.#outcome, first, rows),
    };
  }

  /** Finished predictions, oldest first. */
  records(): ChunkRecord[] {
    const { start, stages, outcome } = this.copy();
    return [...start].flatMap((startMs, row) =>
      outcomes[outcome[row]!] === 'done' ? [{ startMs, stages: stagesOf(stages, row) }] : [],
    );
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

/** What is recorded; the comment says what `value` means. */
export const eventKinds = [
  /** An action left; age of its oldest observation, ms. */
  'executed',
  'hold',
  /** Ticks that were skipped. */
  'missed',
  'limited',
  'observation refused',
  'reset',
  'instruction',
  /** The scheduler asked the policy. */
  'request',
  /** Its answer was taken over; rows that were dropped from its head. */
  'chunk',
  /** No row of the answer was left. */
  'late',
  'failure',
  'chunk refused',
  'abandoned',
  'epoch',
  /** The server refused a request. */
  'rejected',
  /** A prediction took longer than its deadline; milliseconds. */
  'deadline missed',
  /** The loop's clock went back; milliseconds. */
  'clock back',
  /** The last HOLD of a loop is not known to have arrived. */
  'last hold lost',
] as const;
export type EventKind = (typeof eventKinds)[number];

/** Reasons of holds (lib/schedule/loopEvents.ts) and rejections (lib/serve/serverMetrics.ts); `` where there is none. */
export const eventReasons = [
  ...([
    '',
    'idle',
    'observationLate',
    'stale',
    'otherEpoch',
    'notFinite',
    'outOfRange',
    'infeasible',
  ] as const),
  ...(['positionUnknown', 'readingImpossible', 'outsideWorkspace', 'clockBack', 'stopped'] as const),
  ...(['superseded', 'draining', 'memory', 'token', 'other'] as const),
];

/** Events, column by column. */
export interface EventRows {
  readonly at: Float64Array;
  readonly value: Float64Array;
  /** Indices into `eventKinds` and `eventReasons`. */
  readonly kind: Uint8Array;
  readonly reason: Uint8Array;
}

const kindIndex = new Map<EventKind, number>(eventKinds.map((kind, i) => [kind, i]));
const reasonIndex = new Map<string, number>(eventReasons.map((reason, i) => [reason, i]));

export class EventRing {
  readonly #at: Float64Array;
  readonly #value: Float64Array;
  readonly #kind: Uint8Array;
  readonly #reason: Uint8Array;
  /** By kind and reason, since the recorder began: counted even if the ring has overwritten them. */
  readonly #totals = new Float64Array(eventKinds.length * eventReasons.length);
  #count = 0;

  constructor(capacity: number) {
    this.#at = new Float64Array(capacity);
    this.#value = new Float64Array(capacity);
    this.#kind = new Uint8Array(capacity);
    this.#reason = new Uint8Array(capacity);
  }

  add(kind: EventKind, at: number, value = Number.NaN, reason = ''): void {
    const row = this.#count++ % this.#at.length;
    const k = kindIndex.get(kind)!;
    const r = reasonIndex.get(reason) ?? eventReasons.length - 1;
    this.#at[row] = at;
    this.#value[row] = value;
    this.#kind[row] = k;
    this.#reason[row] = r;
    this.#totals[k * eventReasons.length + r]! += 1;
  }

  /** How often since the beginning, by reason; reasons that never occurred are left out. */
  totals(kind: EventKind): readonly (readonly [reason: string, count: number])[] {
    const from = kindIndex.get(kind)! * eventReasons.length;
    return eventReasons.flatMap((reason, i) => {
      const count = this.#totals[from + i]!;
      return count === 0 ? [] : [[reason, count] as const];
    });
  }

  copy(): EventRows {
    const rows = Math.min(this.#count, this.#at.length);
    const rowsOf = <T extends Float64Array | Uint8Array>(ring: T): T =>
      unrolled(ring, this.#count - rows, rows);
    return {
      at: rowsOf(this.#at),
      value: rowsOf(this.#value),
      kind: rowsOf(this.#kind),
      reason: rowsOf(this.#reason),
    };
  }
}
