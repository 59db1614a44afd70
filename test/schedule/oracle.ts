/**
 * What every mode has to do, written anew from its description (docs/choosingAMode.md) and without a line of lib/schedule:
 * slow, with absolute positions and complete histories, where the library counts and keeps sums. Given what happens at a tick,
 * it says what is asked and what is sent.
 */

export interface Mode {
  readonly name: 'openLoop' | 'asynchronous' | 'overlapBlend' | 'temporalEnsemble' | 'futureState';
  /** openLoop: rows executed before asking again. */
  readonly horizon?: number;
  readonly threshold?: number;
  readonly rule?: string;
  readonly frozen?: number;
  readonly m?: number;
  readonly ahead?: number;
}

export type Kind = 'position' | 'delta' | 'angle' | 'gripper' | 'binaryGripper';

export interface Seen {
  readonly observation: { readonly state: readonly number[] };
  readonly at: number;
}

/** What is sent at a tick. `rests`: times of the oldest and newest observation. */
export interface Expected {
  readonly held: string | null;
  readonly values: readonly number[];
  readonly rests: readonly [number, number] | null;
}

export interface Question {
  readonly observation: object;
  readonly state: readonly number[];
}

interface Chunk {
  readonly rows: readonly (readonly number[])[];
  readonly observedAt: number;
  /** Executed action that row 0 is for, and the one after the last that counts. */
  readonly from: number;
  readonly until: number;
  /** Actions executed when it came, and up to where an older plan spoke then. */
  readonly cameAt: number;
  readonly spokenUntil: number;
}

interface Pending {
  readonly observedAt: number;
  readonly from: number;
  answer: { readonly rows: readonly (readonly number[])[] | null; readonly isChunk: boolean } | null;
}

const turn = 2 * Math.PI;

export class Oracle {
  readonly #mode: Mode;
  readonly #kinds: readonly Kind[];
  readonly #maxAge: number;
  /** Every action that was ever sent. */
  readonly #history: { readonly at: number; readonly values: readonly number[] }[] = [];
  #chunks: Chunk[] = [];
  #pending: Pending | null = null;
  #askedAt = Number.NEGATIVE_INFINITY;
  #askedFor: object | null = null;
  #resetAt = Number.NEGATIVE_INFINITY;
  #instruction: string | null = null;
  /** What was sent last in this episode. */
  #last: readonly number[] | null = null;

  constructor(mode: Mode, kinds: readonly Kind[], maxAge: number) {
    this.#mode = mode;
    this.#kinds = kinds;
    this.#maxAge = maxAge;
  }

  reset(now: number): void {
    this.#forget();
    this.#resetAt = now;
    this.#last = null;
  }

  /** `rows` null: it failed, or (`isChunk` false) what came is no chunk. For the question that is open, if it is still that one. */
  answer(question: object, rows: readonly (readonly number[])[] | null, isChunk: boolean): void {
    if (this.#pending !== null && this.#openQuestion === question) this.#pending.answer = { rows, isChunk };
  }

  #openQuestion: object | null = null;

  /** @param key stands for the question, if one is asked */
  tick(
    now: number,
    seen: Seen | null,
    instruction: string,
    key: object,
  ): { asks: Question | null; sends: Expected | null } {
    if (this.#instruction !== null && this.#instruction !== instruction) this.#forget();
    this.#instruction = instruction;
    const usable = seen !== null && seen.at <= now ? seen : null;
    const oldest = now - this.#maxAge;
    this.#take();
    if (this.#pending !== null && this.#pending.observedAt < oldest) {
      this.#pending = null;
      this.#askedFor = null;
    }
    const total = this.#history.length;
    this.#chunks = this.#chunks.filter(({ observedAt, until }) => observedAt >= oldest && until > total);
    const speaking = this.#chunks.filter(({ from }) => from <= total);
    if (speaking.length === 0) this.#chunks = [];
    const asks = this.#ask(usable, oldest, key);
    if (speaking.length === 0) {
      const held = usable === null || usable.at < oldest ? 'observationLate' : 'idle';
      return { asks, sends: this.hold(held) };
    }
    const { values, rests } = this.#value(speaking);
    this.#history.push({ at: now, values });
    this.#last = values;
    return { asks, sends: { held: null, values, rests } };
  }

  hold(held: string): Expected | null {
    if (this.#last === null) return null;
    const values = this.#last.map((value, d) => (this.#kinds[d] === 'delta' ? 0 : value));
    return { held, values, rests: null };
  }

  #forget(): void {
    this.#chunks = [];
    this.#pending = null;
    this.#askedAt = Number.NEGATIVE_INFINITY;
    this.#askedFor = null;
  }

  #take(): void {
    const pending = this.#pending;
    if (pending === null || pending.answer === null) return;
    this.#pending = null;
    const { rows, isChunk } = pending.answer;
    if (rows === null) {
      // a question that failed may be asked again, what is no chunk would only come again
      if (isChunk) this.#askedFor = null;
      return;
    }
    const total = this.#history.length;
    if (pending.from + rows.length <= total) return;
    const { name, horizon = Number.POSITIVE_INFINITY } = this.#mode;
    if (name === 'openLoop' || name === 'asynchronous') this.#chunks = [];
    const cameAt = Math.max(total, pending.from);
    const until = Math.min(pending.from + rows.length, cameAt + horizon);
    const spokenUntil = Math.max(cameAt, ...this.#chunks.map((chunk) => chunk.until));
    this.#chunks.push({
      rows,
      observedAt: pending.observedAt,
      from: pending.from,
      until,
      cameAt,
      spokenUntil,
    });
  }

  #ask(seen: Seen | null, oldest: number, key: object): Question | null {
    if (this.#pending !== null || seen === null) return null;
    const { observation, at } = seen;
    if (at < oldest || at <= this.#resetAt || at < this.#askedAt) return null;
    if (at === this.#askedAt && observation === this.#askedFor) return null;
    if (!this.#wants()) return null;
    const before = this.#history.filter((action) => action.at < at).length;
    const ahead = this.#mode.name === 'futureState' ? this.#rolled(observation.state, before) : null;
    this.#pending = { observedAt: at, from: ahead?.from ?? before, answer: null };
    this.#openQuestion = key;
    this.#askedAt = at;
    this.#askedFor = observation;
    return { observation, state: ahead?.state ?? observation.state };
  }

  #wants(): boolean {
    const newest = this.#chunks.at(-1);
    const { name, threshold = 0.5 } = this.#mode;
    if (newest === undefined || name === 'temporalEnsemble') return true;
    if (name === 'openLoop') return false;
    if (name === 'futureState' && newest.from > this.#history.length) return false;
    return (newest.until - this.#history.length) / newest.rows.length <= threshold;
  }

  /** The state as it will be when the planned actions, `ahead` at most, have been executed. Dimension d is state d. */
  #rolled(state: readonly number[], before: number): { state: number[]; from: number } {
    const total = this.#history.length;
    const coming: (readonly number[])[] = [];
    for (let index = total; index < total + this.#mode.ahead!; index++) {
      const speaks = this.#chunks.filter(({ from, until }) => from <= index && index < until).at(-1);
      if (speaks === undefined) break;
      coming.push(speaks.rows[index - speaks.from]!);
    }
    const moves = [...this.#history.slice(before).map(({ values }) => values), ...coming];
    const rolled = state.map((value, d) => {
      if (this.#kinds[d] !== 'delta') return moves.at(-1)?.[d] ?? value;
      return value + moves.reduce((sum, move) => sum + move[d]!, 0);
    });
    return { state: rolled, from: total + coming.length };
  }

  /** Shares of the chunks that speak, oldest first. */
  #shares(speaking: readonly Chunk[]): number[] {
    const { name, m = 0.01 } = this.#mode;
    if (name === 'temporalEnsemble') {
      const weights = speaking.map((_, i) => Math.exp(-m * i));
      const sum = weights.reduce((a, b) => a + b);
      return weights.map((weight) => weight / sum);
    }
    if (name !== 'overlapBlend') return speaking.map((_, i) => (i === speaking.length - 1 ? 1 : 0));
    const own = speaking.map((chunk, i) => (i === 0 ? 1 : this.#newShare(chunk)));
    // what the newer ones leave of it
    return own.map((share, i) => own.slice(i + 1).reduce((left, newer) => left * (1 - newer), share));
  }

  #newShare({ cameAt, spokenUntil }: Chunk): number {
    const { frozen = 0, rule } = this.#mode;
    const place = this.#history.length - cameAt;
    const overlap = spokenUntil - cameAt;
    if (place >= overlap) return 1;
    if (place < frozen) return 0;
    const row = place - frozen;
    const rows = overlap - frozen;
    switch (rule) {
      case 'weighted_average':
        return 0.7;
      case 'average':
        return 0.5;
      case 'conservative':
        return 0.3;
      case 'latest_only':
        return 1;
      case 'linear':
        return (row + 1) / (rows + 1);
      default: {
        const c = (rows - row) / (rows + 1);
        return 1 - (c * (Math.exp(c) - 1)) / (Math.E - 1);
      }
    }
  }

  #value(speaking: readonly Chunk[]): { values: number[]; rests: [number, number] } {
    const total = this.#history.length;
    const shares = this.#shares(speaking);
    const parts = speaking
      .map((chunk, i) => ({ chunk, share: shares[i]!, row: chunk.rows[total - chunk.from]! }))
      .filter(({ share }) => share > 0);
    const newest = parts.at(-1)!;
    const isMixed = this.#mode.name === 'overlapBlend' || this.#mode.name === 'temporalEnsemble';
    const values = this.#kinds.map((kind, d) => {
      const own = newest.row[d]!;
      if (this.#mode.name === 'openLoop' || kind === 'gripper') return own;
      if (kind === 'binaryGripper') return this.#grip(own, d);
      if (kind === 'delta') {
        if (!isMixed) return own;
        // where the robot is, and where each chunk would have it after this tick, from the same start
        const here = this.#history.reduce((sum, { values: moved }) => sum + moved[d]!, 0);
        const there = parts.map(({ chunk }) => {
          const began = this.#history
            .slice(0, chunk.from)
            .reduce((sum, { values: moved }) => sum + moved[d]!, 0);
          return chunk.rows.slice(0, total - chunk.from + 1).reduce((sum, row) => sum + row[d]!, began);
        });
        return parts.reduce((sum, { share }, i) => sum + share * there[i]!, 0) - here;
      }
      if (kind === 'position') return parts.reduce((sum, { share, row }) => sum + share * row[d]!, 0);
      return parts.reduce((sum, { share, row }) => sum + share * nearest(row[d]!, own), 0);
    });
    const times = parts.map(({ chunk }) => chunk.observedAt);
    return { values, rests: [Math.min(...times), newest.chunk.observedAt] };
  }

  /** 0 or 1; a value within 0.1 of the middle keeps what there is. */
  #grip(value: number, d: number): number {
    const before = this.#last?.[d];
    if (before === undefined) return value >= 0.5 ? 1 : 0;
    return before >= 0.5 ? Number(value > 0.4) : Number(value >= 0.6);
  }
}

/** The writing of `angle` that is nearest to `other`. */
function nearest(angle: number, other: number): number {
  let best = angle;
  for (const turns of [-3, -2, -1, 1, 2, 3]) {
    const written = angle + turns * turn;
    if (Math.abs(written - other) < Math.abs(best - other)) best = written;
  }
  return best;
}
