/** What all modes share: requests to the policy, counting of rows, and dropping everything at the end of an epoch. */

import { orAborted } from '../support/abort.ts';
import { checkedChunk } from '../support/checkedChunk.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isolated } from '../support/isolated.ts';
import type { ActionChunk, Observation, Policy, PredictOptions, StageTensor } from '../types.ts';
import { type ActionSpace, resolveActionSpace } from './actionSpace.ts';
import { type Clock, checkClock, instantAfter, monotonicClock } from './clock.ts';
import { ExecutedRows } from './executedRows.ts';
import { mix } from './mixing.ts';
import { Plan } from './plan.ts';
import type { Rules, RulesFor } from './rules.ts';
import type {
  ActionScheduler,
  LatencyCounters,
  ScheduleCounters,
  ScheduledAction,
  ScheduleEvent,
  ScheduleOptions,
  Tick,
} from './scheduler.ts';

/** The running prediction. There is at most one, since answers to older observations are worth less than the newest observation. */
interface Request {
  readonly observedAt: number;
  /** Executed action that its row 0 is for. */
  readonly first: number;
  readonly askedAt: number;
  readonly controller: AbortController;
  readonly settled: Promise<void>;
  answer: { readonly chunk: unknown; readonly latency: number } | { readonly error: unknown } | null;
}

export const scheduleOptionNames = [
  'space',
  'clock',
  'onEvent',
] as const satisfies readonly (keyof ScheduleOptions)[];

export class ScheduledPolicy implements ActionScheduler {
  readonly mode: string;
  readonly space: ActionSpace;
  readonly platform: Policy['platform'];
  readonly dimensions: readonly string[];
  readonly variant: string;
  readonly imageSize: number;
  readonly patchGrid: number;
  readonly notices: Policy['notices'];
  readonly counters: ScheduleCounters = {
    requests: 0,
    chunks: 0,
    failures: 0,
    abandoned: 0,
    superseded: 0,
    refusedChunks: 0,
    lateChunks: 0,
    droppedRows: 0,
  };
  readonly latency: LatencyCounters = { first: null, count: 0, mean: 0, max: 0 };
  readonly #policy: Policy;
  readonly #rules: Rules;
  readonly #clock: Clock;
  readonly #onEvent: (event: ScheduleEvent) => void;
  /** Only for deltas does it matter where a chunk was placed. */
  readonly #anchors: boolean;
  readonly #executed: ExecutedRows;
  readonly #plan: Plan;
  #epoch = 0;
  /** The time of the last reset: observations up to it belong to another episode. */
  #resetAt = Number.NEGATIVE_INFINITY;
  /** The latest time that a tick has had. */
  #now = Number.NEGATIVE_INFINITY;
  #task: { readonly instruction: string; readonly unnormKey: string | undefined } | null = null;
  #request: Request | null = null;
  /**
   * The observation that was asked about last; null if its answer did not come, so that it may be asked about again. An older
   * observation is never asked about, so that its chunk cannot replace a newer one.
   */
  #asked: { readonly observation: Observation | null; readonly observedAt: number } | null = null;
  #last: Float64Array | null = null;
  #closed = false;
  #queue: Promise<unknown> = Promise.resolve();
  #stamp = Number.NEGATIVE_INFINITY;
  /** What was wrong with the answer that the last tick took. */
  #fault: unknown = null;

  /** @throws OPTION_INVALID, OPTION_REQUIRED about the action space, the clock or the listener */
  constructor(policy: Policy, rulesFor: RulesFor, options: ScheduleOptions) {
    this.space = resolveActionSpace(policy, options.space);
    this.#policy = policy;
    this.#rules = rulesFor(this.space);
    this.#clock = options.clock ?? monotonicClock();
    checkClock(this.#clock);
    this.#onEvent = isolated('onEvent of a scheduler', options.onEvent);
    this.#anchors =
      this.#rules.anchors === true && this.space.dimensions.some(({ kind }) => kind === 'delta');
    this.#executed = new ExecutedRows(this.space);
    this.#plan = new Plan(this.#executed);
    this.mode = this.#rules.mode;
    this.platform = policy.platform;
    this.dimensions = policy.dimensions;
    this.variant = policy.variant;
    this.imageSize = policy.imageSize;
    this.patchGrid = policy.patchGrid;
    this.notices = policy.notices;
  }

  get epoch(): number {
    return this.#epoch;
  }

  tick(tick: Tick): ScheduledAction | null {
    this.#checkOpen();
    const isBack = tick.now < this.#now;
    this.#now = tick.now;
    // everything planned or running is stamped with times that are still to come
    if (isBack) this.#restart(tick.now);
    return this.#advance(tick);
  }

  #advance(tick: Tick): ScheduledAction | null {
    const { instruction, unnormKey, now } = tick;
    const task = this.#task;
    if (task !== null && (task.instruction !== instruction || task.unnormKey !== unnormKey))
      this.#newEpoch(now);
    const { oldest } = tick;
    this.#task = { instruction, unnormKey };
    this.#takeAnswer(now);
    if (this.#request !== null && this.#request.observedAt < oldest) {
      this.counters.abandoned++;
      this.#onEvent({ type: 'abandoned', at: now, observedAt: this.#request.observedAt });
      this.#drop();
      this.#askAgain();
    }
    this.#plan.keep(({ observedAt, end }) => observedAt >= oldest && end > this.#executed.total);
    const current = this.#plan.current();
    // Rows for later ticks would never be reached: holding does not count as executing.
    if (current.length === 0) this.#plan.clear();
    const epoch = this.#epoch;
    this.#ask(tick);
    // a listener may have reset it
    return current.length === 0 || this.#epoch !== epoch ? null : this.#propose(current, instruction);
  }

  executed(values: ArrayLike<number>, at: number): void {
    this.#executed.add(values, at);
    this.#last = Float64Array.from(values);
  }

  reset(): void {
    this.#checkOpen();
    const now = this.#clock.now();
    this.#restart(now);
    this.#now = Math.min(this.#now, now);
    this.#last = null;
  }

  /** From now on only observations taken after `now` count. */
  #restart(now: number): void {
    // nobody can tell whether an observation of exactly this time was taken before or after
    this.#resetAt = now;
    this.#executed.settle(now);
    this.#executed.restart();
    this.#newEpoch(now);
  }

  /** Waits for one row. Calls run one after the other, and what is returned counts as executed. */
  predict(observation: Observation, options: PredictOptions): Promise<ActionChunk> {
    const next = this.#queue.then(() => this.#predictNow(observation, options));
    this.#queue = next.catch(() => {});
    return next;
  }

  stages(observation: Observation, options: PredictOptions): Promise<Map<string, StageTensor>> {
    return this.#policy.stages(observation, options);
  }

  async close(): Promise<void> {
    if (!this.#closed) this.#drop();
    this.#closed = true;
    await this.#policy.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #checkOpen(): void {
    if (this.#closed)
      throw new SemanticVlaError(
        'CLOSED',
        'This scheduled policy is closed. Schedule a policy that is open.',
      );
  }

  #newEpoch(at: number): void {
    this.#epoch++;
    this.counters.superseded += this.#plan.chunks.length + (this.#request === null ? 0 : 1);
    this.#plan.clear();
    this.#drop();
    this.#asked = null;
    this.#onEvent({ type: 'epoch', at, epoch: this.#epoch });
  }

  /** The newest observation was not answered: it, or one as recent, may be asked about again. */
  #askAgain(): void {
    if (this.#asked !== null) this.#asked = { observation: null, observedAt: this.#asked.observedAt };
  }

  /** Forgets the running prediction, whose answer is then ignored. */
  #drop(): void {
    const request = this.#request;
    this.#request = null;
    request?.controller.abort(superseded());
  }

  #ask({ observation, observedAt, now, oldest, instruction, unnormKey }: Tick): void {
    if (this.#request !== null || observation === null) return;
    if (!(observedAt >= oldest && observedAt > this.#resetAt && observedAt <= now)) return;
    const asked = this.#asked;
    const isNew =
      asked === null ||
      (observedAt >= asked.observedAt &&
        (observedAt > asked.observedAt || observation !== asked.observation));
    if (!isNew || !this.#rules.wants(this.#plan)) return;
    const executedBefore = this.#executed.countBefore(observedAt);
    if (executedBefore === null) return;
    this.counters.requests++;
    const controller = new AbortController();
    let answered = (): void => {};
    const settled = new Promise<void>((resolve) => {
      answered = resolve;
    });
    let question = { observation, first: executedBefore };
    let prediction: Promise<unknown>;
    try {
      question = this.#rules.ahead?.(observation, executedBefore, this.#plan) ?? question;
      const options = {
        instruction,
        signal: controller.signal,
        ...(unnormKey === undefined ? {} : { unnormKey }),
      };
      // the value may not even be a promise: the check of chunks then says what is wrong with it
      prediction = Promise.resolve(this.#policy.predict(question.observation, options));
    } catch (error) {
      prediction = Promise.reject(error);
    }
    const askedAt = this.#clock.now();
    const request: Request = {
      observedAt,
      first: question.first,
      askedAt,
      controller,
      settled,
      answer: null,
    };
    prediction
      .then(
        (chunk) => {
          request.answer = { chunk, latency: Math.max(0, this.#clock.now() - askedAt) };
        },
        (error: unknown) => {
          request.answer = { error };
        },
      )
      .then(answered);
    this.#request = request;
    this.#asked = { observation, observedAt };
    this.#onEvent({ type: 'request', at: now, observedAt, epoch: this.#epoch });
  }

  /** Puts an answer that has arrived into the plan. */
  #takeAnswer(now: number): void {
    this.#fault = null;
    const request = this.#request;
    if (request === null || request.answer === null) return;
    this.#request = null;
    const { answer } = request;
    if ('error' in answer) {
      this.counters.failures++;
      this.#askAgain();
      this.#fault = answer.error;
      this.#onEvent({ type: 'failure', at: now, error: answer.error });
      return;
    }
    const { latency } = answer;
    this.#countLatency(latency);
    let chunk: ActionChunk;
    try {
      chunk = checkedChunk(answer.chunk, this, 'chunk of a policy');
    } catch (error) {
      this.counters.refusedChunks++;
      this.#fault = error;
      this.#onEvent({ type: 'refused', at: now, error: error as SemanticVlaError });
      return;
    }
    const dropped = Math.min(chunk.shape[0], Math.max(0, this.#executed.total - request.first));
    this.counters.droppedRows += dropped;
    if (dropped === chunk.shape[0]) {
      this.counters.lateChunks++;
      this.#onEvent({ type: 'late', at: now, latency, dropped });
      return;
    }
    if (this.#rules.replaces) this.#plan.clear();
    this.#plan.add(chunk, request.observedAt, request.first, this.#rules.rows);
    this.counters.chunks++;
    this.#onEvent({ type: 'chunk', at: now, latency, dropped });
  }

  #countLatency(latency: number): void {
    const stats = this.latency;
    if (stats.first === null) {
      stats.first = latency;
      return;
    }
    stats.count++;
    stats.mean += (latency - stats.mean) / stats.count;
    stats.max = Math.max(stats.max, latency);
  }

  #propose(current: ReturnType<Plan['current']>, instruction: string): ScheduledAction {
    const shares = this.#rules.shares(current, this.#plan);
    const index = this.#executed.total;
    const newest = shares.at(-1)!.placed;
    const newestRow = Plan.row(newest, index);
    const values = this.#rules.verbatim
      ? newestRow.slice()
      : mix(
          this.space,
          shares.map(({ placed, weight }) => {
            const row = Plan.row(placed, index);
            return { row, weight, anchored: this.#anchors ? this.#plan.anchored(placed) : row };
          }),
          this.#last,
        );
    return {
      values,
      observedAt: Math.min(...shares.map(({ placed }) => placed.observedAt)),
      newestObservedAt: newest.observedAt,
      epoch: this.#epoch,
      instruction,
      chunk: newest.chunk,
      row: index - newest.first,
    };
  }

  async #predictNow(observation: Observation, options: PredictOptions): Promise<ActionChunk> {
    const { instruction, unnormKey, signal } = options;
    const start = this.#clock.now();
    // an observation given later counts as later, even if the clock reads the same
    this.#stamp = Math.max(start, instantAfter(Math.max(this.#stamp, this.#resetAt)));
    const observedAt = this.#stamp;
    try {
      for (;;) {
        signal?.throwIfAborted();
        this.#checkOpen();
        const now = Math.max(observedAt, this.#clock.now());
        const oldest = Number.NEGATIVE_INFINITY;
        const task = unnormKey === undefined ? { instruction } : { instruction, unnormKey };
        const action = this.#advance({ observation, observedAt, now, oldest, ...task });
        if (action !== null) {
          checkFinite(action.values, this.dimensions);
          this.executed(action.values, observedAt);
          return oneRow(action, this.#clock.now() - start);
        }
        if (this.#fault !== null) throw this.#fault;
        if (this.#request === null) throw superseded();
        await orAborted(this.#request.settled, signal);
      }
    } catch (error) {
      // the next call must be answered for its own observation
      this.#drop();
      this.#asked = null;
      throw error;
    }
  }
}

function superseded(): SemanticVlaError {
  return new SemanticVlaError('SUPERSEDED', 'A newer observation or task replaced this one.');
}

/** Rows are finite, but mixing them may have overflowed. */
function checkFinite(values: Float64Array, dimensions: readonly string[]): void {
  const d = values.findIndex((value) => !Number.isFinite(value));
  if (d < 0) return;
  throw new SemanticVlaError(
    'ACTION_NOT_FINITE',
    `Action mixed of several chunks, dimension ${dimensions[d]}: expected a finite value, found ${values[d]}. ` +
      'The chunks hold numbers near the largest there are; check the checkpoint and its statistics.',
  );
}

/** `normalized` is the newest chunk's row: where several are mixed, no head has produced the mixture. */
function oneRow({ values, chunk, row }: ScheduledAction, total: number): ActionChunk {
  const width = values.length;
  return {
    ...chunk,
    actions: values,
    normalized: chunk.normalized.slice(row * width, (row + 1) * width),
    shape: [1, width],
    timings: { ...chunk.timings, total },
  };
}
