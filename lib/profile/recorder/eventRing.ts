/** The last ticks, holds and decisions of loops and servers, in typed arrays that are made once. */

/** What is recorded; the comment says what `value` means. `eventReasons` names what `reason` indexes. */
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
  '',
  'idle',
  'observationLate',
  'stale',
  'otherEpoch',
  'notFinite',
  'outOfRange',
  'infeasible',
  'positionUnknown',
  'readingImpossible',
  'outsideWorkspace',
  'clockBack',
  'stopped',
  'superseded',
  'draining',
  'memory',
  'token',
  'other',
] as const;

export interface EventRows {
  readonly first: number;
  /** Milliseconds of `performance.now()`. */
  readonly at: Float64Array;
  readonly value: Float64Array;
  /** Indices into `eventKinds` and `eventReasons`. */
  readonly kind: Uint8Array;
  readonly reason: Uint8Array;
}

const kindIndex = new Map<EventKind, number>(eventKinds.map((kind, i) => [kind, i]));
const reasonIndex = new Map<string, number>(eventReasons.map((reason, i) => [reason, i]));
const otherReason = eventReasons.length - 1;

export class EventRing {
  readonly capacity: number;
  readonly #at: Float64Array;
  readonly #value: Float64Array;
  readonly #kind: Uint8Array;
  readonly #reason: Uint8Array;
  /** By kind and reason, since the recorder began: counted even when the ring has overwritten them. */
  readonly #totals: Float64Array;
  #count = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#at = new Float64Array(capacity);
    this.#value = new Float64Array(capacity);
    this.#kind = new Uint8Array(capacity);
    this.#reason = new Uint8Array(capacity);
    this.#totals = new Float64Array(eventKinds.length * eventReasons.length);
  }

  get count(): number {
    return this.#count;
  }

  add(kind: EventKind, at: number, value = Number.NaN, reason = ''): void {
    const row = this.#count++ % this.capacity;
    const k = kindIndex.get(kind)!;
    const r = reasonIndex.get(reason) ?? otherReason;
    this.#at[row] = at;
    this.#value[row] = value;
    this.#kind[row] = k;
    this.#reason[row] = r;
    const total = k * eventReasons.length + r;
    this.#totals[total] = this.#totals[total]! + 1;
  }

  /** How often since the beginning, by reason; reasons that never came are left out. */
  totals(kind: EventKind): readonly (readonly [reason: string, count: number])[] {
    const from = kindIndex.get(kind)! * eventReasons.length;
    return eventReasons.flatMap((reason, i) => {
      const count = this.#totals[from + i]!;
      return count === 0 ? [] : [[reason, count] as const];
    });
  }

  copy(): EventRows {
    const rows = Math.min(this.#count, this.capacity);
    const first = this.#count - rows;
    const split = first % this.capacity;
    const order = <T extends Float64Array | Uint8Array>(from: T, to: T): T => {
      const head = Math.min(rows, this.capacity - split);
      to.set(from.subarray(split, split + head));
      to.set(from.subarray(0, rows - head), head);
      return to;
    };
    return {
      first,
      at: order(this.#at, new Float64Array(rows)),
      value: order(this.#value, new Float64Array(rows)),
      kind: order(this.#kind, new Uint8Array(rows)),
      reason: order(this.#reason, new Uint8Array(rows)),
    };
  }
}
