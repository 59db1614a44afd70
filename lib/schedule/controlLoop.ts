/**
 * The loop at the robot's rate: observe, take the current action, check it and send it; or hold. Nothing in a tick waits.
 *
 * No action is sent unless it is finite, inside its limits, from an observation not older than `maxAge`, and of the current
 * episode and instruction. The scheduler must ensure that itself; the loop checks it again. However the loop ends, the last
 * thing sent is a HOLD (docs/safety.md).
 */

import { whenAborted } from '../support/abort.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isolated } from '../support/isolated.ts';
import { expected } from '../support/options.ts';
import { type Clock, monotonicClock, readClock } from './clock.ts';
import { Gate } from './gate.ts';
import { Limiter } from './limits.ts';
import {
  type HoldReason,
  holdReasons,
  type LoopCounters,
  type LoopEvent,
  type SentAction,
  type TimedObservation,
} from './loopEvents.ts';
import { type ControlLoopOptions, checkLoopOptions } from './loopOptions.ts';
import { Readings } from './readings.ts';
import type { ActionScheduler, ScheduledAction } from './scheduler.ts';
import { Sender } from './sender.ts';
import { timedObservation } from './timedObservation.ts';

export type { ControlLoopOptions } from './loopOptions.ts';

/** How long the end waits for `act` to confirm the last HOLD, in milliseconds of real time. */
const lastHoldMs = 500;

/**
 * How often the clock is checked, ms: otherwise a clock that went back might be noticed only hours later, at its next deadline.
 */
const watchMs = 250;

/** Schedulers whose rows a loop is sending. */
const driven = new WeakSet<ActionScheduler>();

/** Node's timers are up to a millisecond early or late; the rest is for the event loop. */
const spinMs = 1.5;

/**
 * Starts the loop; its first tick is on the next turn of the event loop. It does not close the scheduler.
 * @throws OPTION_INVALID, OPTION_UNKNOWN
 * @throws SCHEDULER_BUSY another loop, which has not ended, takes its actions from this scheduler
 */
export function startControlLoop(options: ControlLoopOptions): ControlLoop {
  return new ControlLoop(options);
}

/** A loop at the robot's rate: every tick one action, or a HOLD. */
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
  /**
   * Settles when the loop has ended and `act` has taken the last HOLD, or half a second later. If the loop did not end properly, it
   * rejects with the cause: the error of `act`, or the scheduler's CLOSED. Otherwise, if the last HOLD failed, it rejects with the
   * error of `act`, or with HOLD_UNCONFIRMED if `act` has not settled in that time.
   */
  readonly done: Promise<void>;
  readonly #options: ControlLoopOptions;
  readonly #clock: Clock;
  readonly #tell: (event: LoopEvent) => void;
  readonly #limiter: Limiter;
  readonly #gate: Gate;
  readonly #readings: Readings;
  readonly #sender: Sender;
  readonly #period: number;
  #start: number;
  /** The newest reading of the clock. */
  #now: number;
  /** The time of the last reset: observations up to it say nothing about where the robot is. */
  #resetAt = Number.NEGATIVE_INFINITY;
  /** Tick k is due at start + k * period: errors of single ticks do not add up. */
  #next = 0;
  #instruction: string;
  #last: Float64Array | null = null;
  #running = true;
  #cancel: () => void = () => {};
  #stopListening: () => void = () => {};
  #watch: NodeJS.Timeout | undefined;
  #isFinishing = false;
  /** Why the loop ends, and what happened to the last HOLD, if that is an error. */
  #failure: { readonly cause: unknown } | null = null;
  #holdLost: { readonly cause: unknown } | null = null;
  readonly #settle: { resolve: () => void; reject: (cause: unknown) => void };

  constructor(options: ControlLoopOptions) {
    checkLoopOptions(options);
    this.#options = options;
    this.#clock = options.clock ?? monotonicClock(spinMs);
    this.#tell = isolated('onEvent of startControlLoop', options.onEvent);
    this.#period = 1000 / options.rate;
    this.#limiter = new Limiter(options.scheduler.space, options.limits ?? {}, this.#period);
    this.#gate = new Gate(this.#limiter.rules);
    this.#readings = new Readings(this.#limiter.rules, this.#period);
    this.#sender = new Sender(options.act, (cause, action) => this.#actFailed(cause, action));
    this.#instruction = options.instruction;
    this.#start = readClock(this.#clock);
    this.#now = this.#start;
    if (!(this.#start + this.#period - this.#start > 0.5 * this.#period))
      throw expected('OPTION_INVALID', 'a clock that can tell two ticks apart', 'clock', this.#start);
    claim(options.scheduler);
    let settle = { resolve: (): void => {}, reject: (_: unknown): void => {} };
    this.done = new Promise((resolve, reject) => {
      settle = { resolve, reject };
    });
    this.#settle = settle;
    // if nobody awaits `done`, `stop` reports the error
    this.done.catch(() => {});
    this.#stopListening = whenAborted(options.signal, () => this.#end(null));
    if (!this.#running) return;
    this.#watch = setInterval(() => this.#watchClock(), watchMs).unref();
    try {
      this.#wait();
    } catch (cause) {
      this.#end({ cause });
    }
  }

  /** Whether ticks go on. */
  get running(): boolean {
    return this.#running;
  }

  /** What the robot is told now. */
  get instruction(): string {
    return this.#instruction;
  }

  /** From the next tick on, nothing predicted for another instruction is sent. The robot holds until a new chunk arrives. */
  setInstruction(instruction: string): void {
    if (typeof instruction !== 'string' || instruction === '') {
      throw expected('INSTRUCTION_INVALID', 'a sentence', 'instruction', instruction);
    }
    this.#checkRunning();
    if (instruction === this.#instruction) return;
    this.#instruction = instruction;
    this.#tell({ type: 'instruction', at: this.#clock.now(), instruction });
  }

  /** Starts a new episode: whatever was predicted, sent or observed before no longer counts. */
  reset(): void {
    this.#checkRunning();
    this.#options.scheduler.reset();
    this.#limiter.reset();
    this.#readings.forget();
    this.#last = null;
    this.#resetAt = this.#clock.now();
    this.#tell({ type: 'reset', at: this.#resetAt });
  }

  /** Sends one last HOLD and ends. Idempotent. Settles as `done` does. */
  async stop(): Promise<void> {
    if (this.#running) this.#end(null);
    await this.done;
  }

  /** Same as `stop`: everything opened by this package is closed by this name. */
  close(): Promise<void> {
    return this.stop();
  }

  /** As `stop`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #checkRunning(): void {
    if (this.#running) return;
    throw new SemanticVlaError('CLOSED', 'This control loop has ended. Start another with startControlLoop.');
  }

  /** The first cause of the end is the one that is reported. */
  #end(failure: { readonly cause: unknown } | null): void {
    this.#failure ??= failure;
    if (!this.#running) return;
    this.#running = false;
    this.#cancel();
    clearInterval(this.#watch);
    this.#stopListening();
    // an `act` that ends the loop has yet to send its own action: the HOLD comes after that
    if (!this.#sender.isSending) this.#finish();
  }

  #finish(): void {
    if (this.#isFinishing) return;
    this.#isFinishing = true;
    const before = this.#sender.open;
    // until it hears something else, the robot may go on repeating the last command
    try {
      if (this.#last !== null) this.#hold('stopped', null, this.#now);
    } catch (cause) {
      this.#loseHold(cause);
    }
    if (this.#sender.open === 0) this.#settled();
    else void this.#confirm(before > 0).then(() => this.#settled());
  }

  /** @param overtaken whether earlier actions were still on their way: they may have arrived after the HOLD, so it is repeated */
  async #confirm(overtaken: boolean): Promise<void> {
    let isTaken = await this.#sender.settled(lastHoldMs);
    if (isTaken && overtaken && this.#last !== null) {
      this.#sender.send(this.#holdOf('stopped', this.#last, this.#now));
      isTaken = await this.#sender.settled(lastHoldMs);
    }
    if (isTaken) return;
    const error = new SemanticVlaError(
      'HOLD_UNCONFIRMED',
      `The last HOLD of a control loop: expected act to take it within ${lastHoldMs} ms, found its promise unsettled. ` +
        'The robot may still follow the action before; stop it by its own means.',
    );
    this.#loseHold(error);
  }

  #settled(): void {
    driven.delete(this.#options.scheduler);
    const failure = this.#failure ?? this.#holdLost;
    if (failure === null) this.#settle.resolve();
    else this.#settle.reject(failure.cause);
  }

  #loseHold(cause: unknown): void {
    this.#holdLost ??= { cause };
    this.#tell({ type: 'holdLost', at: this.#now, error: cause });
    // `done` reports another error, and there is no listener
    if (this.#failure === null || this.#options.onEvent !== undefined) return;
    process.emitWarning(
      'A control loop ended with an error, and its last HOLD was lost as well: stop the robot.',
      {
        type: 'SemanticVlaWarning',
        code: 'SEMANTICVLA_HOLD_LOST',
      },
    );
  }

  #actFailed(cause: unknown, action: SentAction): void {
    if (action.held === 'stopped') this.#loseHold(cause);
    else this.#end({ cause });
  }

  #wait(): void {
    const run = (): void => {
      if (!this.#running) return;
      try {
        this.#tick();
        if (this.#running) this.#wait();
      } catch (cause) {
        this.#end({ cause });
      }
    };
    const cancel: unknown = this.#clock.at(this.#start + this.#next * this.#period, run);
    this.#cancel = typeof cancel === 'function' ? (cancel as () => void) : () => {};
  }

  /** @returns whether the clock went back; if so, this tick is a HOLD, and nothing observed or planned before counts */
  #isBack(now: number): boolean {
    const back = this.#now - now;
    this.#now = now;
    if (!(back > 0)) return false;
    this.#start = now;
    this.#next = 1;
    this.#resetAt = now;
    this.#limiter.settle(now);
    this.#readings.forget();
    this.#options.scheduler.reset();
    this.#tell({ type: 'clock', at: now, back });
    if (this.#running) this.#hold('clockBack', null, now);
    return true;
  }

  #watchClock(): void {
    try {
      const now = readClock(this.#clock);
      if (!(now < this.#now)) return;
      this.counters.ticks++;
      this.#cancel();
      this.#isBack(now);
      if (this.#running) this.#wait();
    } catch (cause) {
      this.#end({ cause });
    }
  }

  #tick(): void {
    const { counters } = this;
    const started = readClock(this.#clock);
    counters.ticks++;
    if (this.#isBack(started)) return;
    const lateness = Math.max(0, started - (this.#start + this.#next * this.#period));
    const missed = Math.floor(lateness / this.#period);
    counters.lateness.mean += (lateness - counters.lateness.mean) / counters.ticks;
    counters.lateness.max = Math.max(counters.lateness.max, lateness);
    this.#next += 1 + missed;
    if (missed > 0) {
      counters.missedTicks += missed;
      this.#tell({ type: 'missed', at: started, ticks: missed });
    }
    const seen = this.#observe();
    if (!this.#running) return;
    // read after observing, so that an observation taken at this moment is not from the future
    const now = readClock(this.#clock);
    if (this.#isBack(now)) return;
    const usable = seen !== null && this.#isPast(seen, now) ? seen : null;
    // the robot may have been moved since
    const place = usable !== null && usable.at > this.#resetAt ? usable : null;
    const verdict = place === null ? 'good' : this.#readings.check(place.observation, place.at);
    if (verdict === 'moved') this.#limiter.reset();
    const asked = typeof verdict === 'string' ? usable : null;
    const { scheduler, maxAge, unnormKey } = this.#options;
    const oldest = now - maxAge;
    const action = scheduler.tick({
      observation: asked?.observation ?? null,
      observedAt: asked?.at ?? Number.NEGATIVE_INFINITY,
      now,
      oldest,
      instruction: this.#instruction,
      ...(unnormKey === undefined ? {} : { unnormKey }),
    });
    if (!this.#running) return;
    if (typeof verdict !== 'string') {
      this.#refuseObservation(verdict.error);
      if (this.#running) this.#hold('readingImpossible', verdict.dimension, now);
      return;
    }
    if (action === null) {
      this.#hold(usable === null || usable.at < oldest ? 'observationLate' : 'idle', null, now);
      return;
    }
    this.#check(action, place, now);
  }

  #observe(): TimedObservation | null {
    try {
      return timedObservation(this.#options.observe());
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

  /** Why a proposed action must not be sent, whatever its values; null: it may. */
  #leak(action: ScheduledAction, now: number): HoldReason | null {
    const { scheduler, maxAge } = this.#options;
    if (!(now - action.observedAt <= maxAge)) return 'stale';
    return action.epoch === scheduler.epoch && action.instruction === this.#instruction ? null : 'otherEpoch';
  }

  #check(action: ScheduledAction, seen: TimedObservation | null, now: number): void {
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
    const refused = this.#gate.refuses(values, this.#limiter.positions);
    if (refused !== null) {
      this.#hold(refused.reason, refused.dimension, now);
      return;
    }
    const limits = changed.length === 0 ? [] : this.#limiter.limitsOf(action.values, values, changed);
    this.counters.executed++;
    // counted before it is sent: a send that fails halfway may have moved the robot
    this.#limiter.executed(values, now);
    this.#readings.executed(values);
    scheduler.executed(values.slice(), now);
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
      this.#tell({ type: 'limited', at: now, dimensions: changed, limits });
    }
  }

  #hold(reason: HoldReason, dimension: string | null, now: number): void {
    const { hold = true } = this.#options;
    this.counters.held[reason]++;
    this.#limiter.held();
    this.#tell({ type: 'hold', at: now, reason, dimension });
    if (!this.#running && reason !== 'stopped') return;
    if (this.#last === null || !(hold || reason === 'stopped')) {
      this.counters.silent++;
      return;
    }
    this.#send(this.#holdOf(reason, this.#last, now));
  }

  #holdOf(reason: HoldReason, last: Float64Array, at: number): SentAction {
    const { scheduler } = this.#options;
    return {
      values: last.map((value, d) => (this.#limiter.rules[d]!.dimension.kind === 'delta' ? 0 : value)),
      held: reason,
      at,
      instruction: this.#instruction,
      epoch: scheduler.epoch,
      observedAt: null,
      newestObservedAt: null,
    };
  }

  #send(action: SentAction): void {
    this.#sender.send(action);
    // `act` itself has ended the loop
    if (!this.#running && action.held !== 'stopped' && !this.#sender.isSending) this.#finish();
  }
}

function claim(scheduler: ActionScheduler): void {
  if (driven.has(scheduler)) {
    throw new SemanticVlaError(
      'SCHEDULER_BUSY',
      'Scheduler of a control loop: expected one that no other loop drives, found one whose loop has not ended. ' +
        'Stop that loop first (await loop.stop()), or schedule the policy anew: each loop needs a scheduler of its own.',
    );
  }
  driven.add(scheduler);
}
