/**
 * The loop at the robot's rate: look, take the action of now, check it, send it; or hold. Nothing in a tick waits.
 *
 * No action leaves unless it is finite, inside its limits, from an observation not older than `maxAge`, and of the current
 * episode and instruction. The scheduler is to keep to that by itself; the loop checks it again.
 */

import { SemanticVlaError } from '../errors.ts';
import { checkOptions, expected } from '../options.ts';
import { type Clock, monotonicClock } from './clock.ts';
import { Limiter, type LimitOptions } from './limits.ts';
import {
  type HoldReason,
  holdReasons,
  type LoopCounters,
  type LoopEvent,
  type SentAction,
  type TimedObservation,
} from './loopEvents.ts';
import type { ActionScheduler, ScheduledAction } from './scheduler.ts';

export interface ControlLoopOptions {
  readonly scheduler: ActionScheduler;
  /** Ticks per second. */
  readonly rate: number;
  /** Milliseconds; an action must rest on observations no older than this when it leaves. */
  readonly maxAge: number;
  readonly instruction: string;
  readonly unnormKey?: string;
  /** The newest observation there is, at once; null when there is none. Throwing means that there is none to be trusted. */
  readonly observe: () => TimedObservation | null;
  /** Sends to the robot. When it throws or rejects, the loop ends with that error. */
  readonly act: (action: SentAction) => void | Promise<void>;
  readonly limits?: LimitOptions;
  /** false: a tick without an action sends nothing. Default true: it repeats the last position and moves by zero. */
  readonly hold?: boolean;
  /** Default: the process's monotonic clock, busy for the last 1.5 ms before each tick. */
  readonly clock?: Clock;
  /** Aborting ends the loop in order, as `stop` does. */
  readonly signal?: AbortSignal;
  /** Called at once, in the middle of a tick: take note and return. */
  readonly onEvent?: (event: LoopEvent) => void;
}

const optionNames = [
  'scheduler',
  'rate',
  'maxAge',
  'instruction',
  'unnormKey',
  'observe',
  'act',
  'limits',
  'hold',
  'clock',
  'signal',
  'onEvent',
] as const satisfies readonly (keyof ControlLoopOptions)[];

/** Timers of Node are early or late by up to a millisecond; the rest is for the event loop. */
const spinMs = 1.5;

/**
 * Starts the loop; its first tick is on the next turn of the event loop. It does not close the scheduler.
 * @throws OPTION_INVALID, OPTION_UNKNOWN
 */
export function startControlLoop(options: ControlLoopOptions): ControlLoop {
  return new ControlLoop(options);
}

export class ControlLoop implements AsyncDisposable {
  readonly counters: LoopCounters = {
    ticks: 0,
    executed: 0,
    held: Object.fromEntries(holdReasons.map((reason) => [reason, 0])) as Record<HoldReason, number>,
    silent: 0,
    limited: 0,
    missedTicks: 0,
    refusedObservations: 0,
    lateness: { mean: 0, max: 0 },
  };
  /** Resolves when the loop has ended in order, rejects with the error of `act` or of a listener that ended it. */
  readonly done: Promise<void>;
  readonly #options: ControlLoopOptions;
  readonly #clock: Clock;
  readonly #limiter: Limiter;
  readonly #period: number;
  readonly #start: number;
  /** Tick k is due at start + k * period: errors of single ticks do not add up. */
  #next = 0;
  #instruction: string;
  #last: Float64Array | null = null;
  #running = true;
  #cancel: () => void = () => {};
  #finish: (error: { readonly cause: unknown } | null) => void = () => {};

  constructor(options: ControlLoopOptions) {
    checkLoopOptions(options);
    this.#options = options;
    this.#clock = options.clock ?? monotonicClock(spinMs);
    this.#period = 1000 / options.rate;
    this.#limiter = new Limiter(options.scheduler.space, options.limits ?? {}, this.#period);
    this.#instruction = options.instruction;
    this.#start = this.#clock.now();
    this.done = new Promise((resolve, reject) => {
      this.#finish = (error) => (error === null ? resolve() : reject(error.cause));
    });
    // whoever does not look at `done` is told by `stop`
    this.done.catch(() => {});
    const { signal } = options;
    if (signal?.aborted) {
      this.#end(null);
      return;
    }
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    this.#wait();
  }

  get running(): boolean {
    return this.#running;
  }

  get instruction(): string {
    return this.#instruction;
  }

  /** From the next tick on, nothing predicted for another instruction leaves. The robot holds until a chunk has come. */
  setInstruction(instruction: string): void {
    if (typeof instruction !== 'string' || instruction === '') {
      throw expected('INSTRUCTION_INVALID', 'a sentence', 'instruction', instruction);
    }
    this.#checkRunning();
    if (instruction === this.#instruction) return;
    this.#instruction = instruction;
    this.#tell({ type: 'instruction', at: this.#clock.now(), instruction });
  }

  /** A new episode: nothing predicted, sent or seen before counts any more. */
  reset(): void {
    this.#checkRunning();
    this.#options.scheduler.reset();
    this.#limiter.reset();
    this.#last = null;
    this.#tell({ type: 'reset', at: this.#clock.now() });
  }

  /** Sends one last HOLD and ends. Idempotent. Rejects with the error that had ended the loop before, if any. */
  async stop(): Promise<void> {
    if (this.#running) this.#end(null);
    await this.done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  readonly #onAbort = (): void => {
    if (this.#running) this.#end(null);
  };

  #checkRunning(): void {
    if (this.#running) return;
    throw new SemanticVlaError('CLOSED', 'This control loop has ended. Start another with startControlLoop.');
  }

  #end(error: { readonly cause: unknown } | null): void {
    this.#running = false;
    this.#cancel();
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    let failure = error;
    if (failure === null) {
      try {
        // what is sent last may be repeated by the robot for as long as it hears nothing else
        if (this.#last !== null) this.#hold('stopped', null, this.#clock.now());
      } catch (cause) {
        failure = { cause };
      }
    }
    this.#finish(failure);
  }

  #wait(): void {
    this.#cancel = this.#clock.at(this.#start + this.#next * this.#period, () => {
      try {
        this.#tick();
      } catch (cause) {
        if (this.#running) this.#end({ cause });
        return;
      }
      if (this.#running) this.#wait();
    });
  }

  #tick(): void {
    const { counters } = this;
    const started = this.#clock.now();
    const lateness = Math.max(0, started - (this.#start + this.#next * this.#period));
    const missed = Math.floor(lateness / this.#period);
    counters.ticks++;
    counters.lateness.mean += (lateness - counters.lateness.mean) / counters.ticks;
    counters.lateness.max = Math.max(counters.lateness.max, lateness);
    this.#next += 1 + missed;
    if (missed > 0) {
      counters.missedTicks += missed;
      this.#tell({ type: 'missed', at: started, ticks: missed });
    }
    const seen = this.#observe();
    if (!this.#running) return;
    // read after observing: an observation taken this very moment is not from the future
    const now = this.#clock.now();
    const usable = seen !== null && this.#isPast(seen, now) ? seen : null;
    const { scheduler, maxAge, unnormKey } = this.#options;
    const oldest = now - maxAge;
    const action = scheduler.tick({
      observation: usable?.observation ?? null,
      observedAt: usable?.at ?? Number.NEGATIVE_INFINITY,
      now,
      oldest,
      instruction: this.#instruction,
      ...(unnormKey === undefined ? {} : { unnormKey }),
    });
    if (action === null) {
      this.#hold(usable === null || usable.at < oldest ? 'observationLate' : 'idle', null, now);
      return;
    }
    this.#check(action, usable, now);
  }

  #observe(): TimedObservation | null {
    try {
      return this.#options.observe();
    } catch (error) {
      this.#refuseObservation(error);
      return null;
    }
  }

  #isPast(seen: TimedObservation, now: number): boolean {
    if (seen.at <= now) return true;
    this.#refuseObservation(
      new SemanticVlaError(
        'OBSERVATION_INVALID',
        `Observation: expected a time of the loop's clock that has passed (${now} ms), found ${seen.at}. ` +
          'Take performance.now(), not the wall clock, when the sensors are read.',
      ),
    );
    return false;
  }

  #refuseObservation(error: unknown): void {
    this.counters.refusedObservations++;
    this.#tell({ type: 'observation', at: this.#clock.now(), error });
  }

  /** Why a proposed action must not leave, whatever its values are; null: it may. */
  #leak(action: ScheduledAction, now: number): HoldReason | null {
    const { scheduler, maxAge } = this.#options;
    if (!(now - action.observedAt <= maxAge)) return 'stale';
    return action.epoch === scheduler.epoch && action.instruction === this.#instruction ? null : 'otherEpoch';
  }

  #check(action: ScheduledAction, seen: TimedObservation | null, now: number): void {
    // a listener of the scheduler may have ended the loop
    if (!this.#running) return;
    const leak = this.#leak(action, now);
    if (leak !== null) {
      this.#hold(leak, null, now);
      return;
    }
    const { scheduler } = this.#options;
    const limited = this.#limiter.apply(
      action.values,
      seen?.observation ?? null,
      seen?.at ?? Number.NEGATIVE_INFINITY,
    );
    if ('refused' in limited) {
      this.#hold(limited.refused, limited.dimension, now);
      return;
    }
    const { values, changed } = limited;
    this.counters.executed++;
    // counted before it is sent: a send that fails half way may have moved the robot
    this.#limiter.executed(values, now);
    scheduler.executed(values, now);
    this.#last = values;
    const { instruction, epoch, observedAt, newestObservedAt } = action;
    this.#send({
      values: values.slice(),
      held: null,
      at: now,
      instruction,
      epoch,
      observedAt,
      newestObservedAt,
    });
    if (changed.length > 0) {
      this.counters.limited++;
      this.#tell({ type: 'limited', at: now, dimensions: changed });
    }
  }

  #hold(reason: HoldReason, dimension: string | null, now: number): void {
    const { scheduler, hold = true } = this.#options;
    this.counters.held[reason]++;
    this.#limiter.held();
    this.#tell({ type: 'hold', at: now, reason, dimension });
    if (!this.#running && reason !== 'stopped') return;
    if (this.#last === null || !hold) {
      this.counters.silent++;
      return;
    }
    const values = this.#last.map((value, d) =>
      scheduler.space.dimensions[d]!.kind === 'delta' ? 0 : value,
    );
    this.#send({
      values,
      held: reason,
      at: now,
      instruction: this.#instruction,
      epoch: scheduler.epoch,
      observedAt: null,
      newestObservedAt: null,
    });
  }

  #send(action: SentAction): void {
    const sent = this.#options.act(action);
    sent?.then(undefined, (cause: unknown) => {
      if (this.#running) this.#end({ cause });
    });
  }

  #tell(event: LoopEvent): void {
    this.#options.onEvent?.(event);
  }
}

function checkLoopOptions(options: ControlLoopOptions): void {
  checkOptions(options, optionNames, 'startControlLoop');
  const { rate, maxAge, instruction, observe, act, scheduler } = options;
  if (!(rate > 0 && rate <= 10_000))
    throw expected('OPTION_INVALID', 'ticks per second in 0..10000', 'rate', rate);
  if (!(maxAge > 0)) throw expected('OPTION_INVALID', 'milliseconds > 0', 'maxAge', maxAge);
  if (typeof instruction !== 'string' || instruction === '') {
    throw expected('INSTRUCTION_INVALID', 'a sentence', 'instruction', instruction);
  }
  for (const [name, value] of Object.entries({ observe, act })) {
    if (typeof value !== 'function') throw expected('OPTION_INVALID', 'a function', name, value);
  }
  if (typeof scheduler?.tick !== 'function') {
    throw expected('OPTION_INVALID', 'a scheduled policy, e.g. asynchronous(policy)', 'scheduler', scheduler);
  }
}
