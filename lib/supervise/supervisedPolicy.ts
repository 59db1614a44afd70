/** A policy whose engine lives in a process of its own; see superviseEngine.ts. */

import { whenAborted } from '../support/abort.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isolated } from '../support/isolated.ts';
import type { Notice } from '../support/notices.ts';
import { checkOptions, checkSignal, expected } from '../support/options.ts';
import { checkFrame } from '../transforms/imageFrame.ts';
import type { ActionChunk, Observation, Platform, Policy, PredictOptions, StageTensor } from '../types.ts';
import { type Backoff, restartDelay } from './backoff.ts';
import { EngineChild, type EngineChildOptions, type Loss, type LossReason } from './engineChild.ts';
import { type EngineFacts, packObservation, type ToEngine, type WireArray } from './engineMessages.ts';
import type { EngineAnswer } from './engineReply.ts';

/** What happens to the engine process. */
export type EngineEvent =
  | { readonly kind: 'ready'; readonly pid: number; readonly startMs: number; readonly restarts: number }
  | { readonly kind: 'lost'; readonly reason: LossReason; readonly message: string }
  | { readonly kind: 'restarting'; readonly inMs: number; readonly losses: number }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'output'; readonly text: string };

/** `ready`: predicts; `starting`: refuses until another engine is ready; `failed`: has given up; `closed`: was closed. */
export type EngineState = 'starting' | 'ready' | 'failed' | 'closed';

/** Counts of what happened to the engine process. */
export interface EngineCounters {
  readonly restarts: number;
  readonly losses: Readonly<Record<LossReason, number>>;
  readonly predictions: number;
  /** Calls refused because there was no engine. */
  readonly refused: number;
}

/** Options of `superviseEngine`, checked and complete. */
export interface EngineSettings {
  readonly child: EngineChildOptions;
  readonly deadlineMs: number;
  readonly firstDeadlineMs: number;
  readonly startMs: number;
  readonly backoff: Backoff;
  readonly emit: (event: EngineEvent) => void;
}

const predictOptionNames = ['instruction', 'unnormKey', 'signal'] as const;

/** Time for a policy to close its session before it is killed. */
const closeMs = 2000;

/** `ms` from call to answer, measured on this side. */
interface Answered {
  readonly answer: Exclude<EngineAnswer, { kind: 'error' }>;
  readonly ms: number;
}

/** A call of `whenReady`. */
interface Waiter {
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

interface Job {
  readonly kind: 'predict' | 'stages';
  readonly instruction: string;
  readonly message: Extract<ToEngine, { observation: unknown }>;
  readonly arrays: readonly WireArray[];
  readonly resolve: (answer: Answered) => void;
  readonly reject: (error: unknown) => void;
  settled: boolean;
}

/** Equal for engines of the same policy. Notices may differ: the second engine finds a cache that the first had to fill. */
function sameness({ notices: _, ...facts }: EngineFacts): string {
  return JSON.stringify(facts);
}

/** A policy in a process of its own, started again when it dies. */
export class SupervisedPolicy implements Policy {
  readonly platform: Platform;
  readonly dimensions: readonly string[];
  readonly variant: string;
  readonly imageSize: number;
  readonly patchGrid: number;
  readonly notices: readonly Notice[];
  readonly #settings: EngineSettings;
  readonly #facts: string;
  readonly #queue: Job[] = [];
  /** Instructions already encoded by the current engine. */
  readonly #encoded = new Set<string>();
  readonly #losses: Record<LossReason, number> = {
    start: 0,
    exit: 0,
    crash: 0,
    deadline: 0,
    heartbeat: 0,
    failure: 0,
    protocol: 0,
  };
  #child: EngineChild;
  #state: EngineState = 'ready';
  #current: Job | null = null;
  #readyAt = performance.now();
  #inARow = 0;
  #restarts = 0;
  #predictions = 0;
  #refused = 0;
  #nextId = 1;
  #lastLoss: Loss | null = null;
  #restartTimer: NodeJS.Timeout | null = null;
  readonly #waiting = new Set<Waiter>();
  #closing: Promise<void> | null = null;
  /** Isolated callbacks, one per call of `listen`. */
  readonly #listeners = new Set<(event: EngineEvent) => void>();

  /** Made by `superviseEngine`. */
  constructor(settings: EngineSettings, child: EngineChild, facts: EngineFacts, startMs: number) {
    this.#settings = settings;
    this.#facts = sameness(facts);
    this.platform = facts.platform;
    this.dimensions = facts.dimensions;
    this.variant = facts.variant;
    this.imageSize = facts.imageSize;
    this.patchGrid = facts.patchGrid;
    this.notices = facts.notices;
    this.#child = child;
    this.#watch(child);
    child.hold(false);
    this.#emit({ kind: 'ready', pid: child.pid!, startMs, restarts: 0 });
  }

  get state(): EngineState {
    return this.#state;
  }

  /** Process id of the current engine; undefined while there is none. */
  get pid(): number | undefined {
    return this.#state === 'ready' ? this.#child.pid : undefined;
  }

  get counters(): EngineCounters {
    return {
      restarts: this.#restarts,
      losses: { ...this.#losses },
      predictions: this.#predictions,
      refused: this.#refused,
    };
  }

  /**
   * Receives every event from now on; `lost` arrives in the same turn as the call that was lost. A loop that must not continue
   * with plans of a lost engine calls its `reset` then. What a listener throws or rejects with stops nothing: it becomes a
   * process warning, once.
   * @returns a function that stops listening
   * @throws OPTION_INVALID if it is not a function
   */
  listen(listener: (event: EngineEvent) => void): () => void {
    if (listener === undefined) throw expected('OPTION_INVALID', 'a function', 'listener', listener);
    const hear = isolated('listener of a supervised policy', listener);
    this.#listeners.add(hear);
    return () => this.#listeners.delete(hear);
  }

  /**
   * @throws (rejects) as the engine's policy does; ENGINE_UNAVAILABLE at once while there is no engine; ENGINE_LOST or
   *   ENGINE_DEADLINE if the engine is lost during this call; CLOSED; the signal's reason
   */
  async predict(observation: Observation, options: PredictOptions): Promise<ActionChunk> {
    const { answer, ms } = await this.#submit('predict', observation, options);
    // an engine that answers with another kind has already been counted as lost
    const { chunk, ms: engineMs } = answer as Extract<EngineAnswer, { kind: 'chunk' }>;
    this.#predictions++;
    const { total = engineMs, ...stages } = chunk.timings;
    const timings = { ...stages, transport: Math.max(0, ms - total), total: Math.max(total, ms) };
    return { ...chunk, timings };
  }

  async stages(observation: Observation, options: PredictOptions): Promise<Map<string, StageTensor>> {
    const { answer } = await this.#submit('stages', observation, options);
    return (answer as Extract<EngineAnswer, { kind: 'stages' }>).stages;
  }

  /**
   * Resolves when an engine is ready; rejects with ENGINE_UNAVAILABLE or CLOSED if none ever will be, or with the signal's
   * reason.
   */
  whenReady(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      checkSignal(signal);
      signal?.throwIfAborted();
      if (this.#state === 'ready') return resolve();
      if (this.#state !== 'starting') return reject(this.#unavailable());
      const settled = (): void => {
        stop();
        this.#waiting.delete(waiter);
      };
      const waiter: Waiter = {
        resolve: () => {
          settled();
          resolve();
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      };
      const stop = whenAborted(signal, waiter.reject);
      this.#waiting.add(waiter);
    });
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      this.#state = 'closed';
      if (this.#restartTimer !== null) clearTimeout(this.#restartTimer);
      this.#dropJobs(this.#unavailable());
      for (const { reject } of [...this.#waiting]) reject(this.#unavailable());
      await this.#child.close(closeMs);
    })();
    return this.#closing;
  }

  /** Closes it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #submit(kind: Job['kind'], observation: Observation, options: PredictOptions): Promise<Answered> {
    return new Promise((resolve, reject) => {
      checkPredictOptions(options, kind);
      const { signal, ...rest } = options;
      signal?.throwIfAborted();
      if (this.#state !== 'ready') {
        this.#refused++;
        throw this.#unavailable();
      }
      checkObservation(observation, this.platform.cameras);
      const arrays: WireArray[] = [];
      const packed = packObservation(observation, this.platform.cameras, arrays);
      const id = this.#nextId++;
      const job: Job = {
        kind,
        instruction: options.instruction,
        message: { kind, id, observation: packed, options: rest },
        // a waiting call needs its own copy: the caller may reuse its buffers at once
        arrays: this.#current === null ? arrays : arrays.map((array) => array.slice()),
        settled: false,
        resolve: (answer) => {
          job.settled = true;
          stop();
          resolve(answer);
        },
        reject: (error) => {
          job.settled = true;
          stop();
          reject(error);
        },
      };
      const stop = whenAborted(signal, (reason) => {
        const waiting = this.#queue.indexOf(job);
        if (waiting >= 0) this.#queue.splice(waiting, 1);
        else if (this.#current === job) this.#child.abort(id);
        job.reject(reason);
      });
      this.#queue.push(job);
      this.#next();
    });
  }

  /** The engine gets one call at a time: it would run them one after the other anyway. */
  #next(): void {
    const job = this.#current === null && this.#state === 'ready' ? this.#queue.shift() : undefined;
    if (job === undefined) return;
    this.#current = job;
    // there may be another engine by the time the answer comes
    const child = this.#child;
    const started = performance.now();
    child.hold(true);
    child
      .ask(job.message, job.arrays, this.#limit(job))
      .then(
        (answer) => {
          if (answer.kind === 'error') {
            const { error } = answer;
            const live = !job.settled;
            job.reject(error);
            // an aborted call ends in an error too, but that is not a failure of the engine
            if (live && error.code === 'RUNTIME_FAILED') child.fail(error);
          } else {
            this.#encoded.add(job.instruction);
            job.resolve({ answer, ms: performance.now() - started });
          }
        },
        (error) => job.reject(error),
      )
      .finally(() => {
        if (this.#current === job) this.#current = null;
        if (this.#queue.length === 0 && this.#state === 'ready') child.hold(false);
        this.#next();
      });
  }

  #limit({ kind, instruction }: Job): number {
    const { deadlineMs, firstDeadlineMs, startMs } = this.#settings;
    if (kind === 'stages') return startMs;
    return this.#encoded.has(instruction) ? deadlineMs : firstDeadlineMs;
  }

  #watch(child: EngineChild): void {
    void child.lost.then((loss) => {
      if (this.#state === 'closed' || this.#state === 'failed' || child !== this.#child) return;
      this.#onLost(loss);
    });
  }

  #onLost(loss: Loss): void {
    const { backoff } = this.#settings;
    const stable = this.#state === 'ready' && performance.now() - this.#readyAt >= backoff.stableMs;
    this.#state = 'starting';
    this.#lastLoss = loss;
    this.#losses[loss.reason]++;
    this.#inARow = stable ? 1 : this.#inARow + 1;
    this.#encoded.clear();
    this.#emit({ kind: 'lost', reason: loss.reason, message: loss.message });
    this.#dropJobs(this.#unavailable());
    // a listener may have closed it
    if (this.#state !== 'starting') return;
    if (this.#inARow >= backoff.giveUpAfter) {
      this.#giveUp(loss.message);
      return;
    }
    const inMs = restartDelay(backoff, this.#inARow);
    this.#restartTimer = setTimeout(() => void this.#restart(), inMs);
    this.#emit({ kind: 'restarting', inMs, losses: this.#inARow });
  }

  async #restart(): Promise<void> {
    this.#restartTimer = null;
    const started = performance.now();
    // one engine at a time, since two do not fit on one device. An idle one does not keep the process alive, but waiting for
    // the next one does
    this.#child.hold(true);
    await this.#child.exited;
    this.#child.hold(false);
    if (this.#state !== 'starting') return;
    let child: EngineChild;
    try {
      child = new EngineChild(this.#settings.child);
    } catch (error) {
      this.#onLost({ reason: 'start', message: String(error), error: error as SemanticVlaError });
      return;
    }
    this.#child = child;
    this.#watch(child);
    let facts: EngineFacts;
    try {
      facts = await child.ready;
    } catch {
      return; // `lost` reports it
    }
    if (this.#state !== 'starting') return;
    if (sameness(facts) !== this.#facts) {
      child.kill();
      return this.#giveUp(
        'Engine: the policy on disk is another than at the start. Start the program again.',
      );
    }
    this.#state = 'ready';
    this.#readyAt = performance.now();
    this.#restarts++;
    child.hold(false);
    this.#emit({
      kind: 'ready',
      pid: child.pid!,
      startMs: performance.now() - started,
      restarts: this.#restarts,
    });
    for (const { resolve } of [...this.#waiting]) resolve();
  }

  #giveUp(message: string): void {
    this.#state = 'failed';
    this.#emit({ kind: 'failed', message });
    for (const { reject } of [...this.#waiting]) reject(this.#unavailable());
  }

  #emit(event: EngineEvent): void {
    this.#settings.emit(event);
    // a copy, since a listener may add another
    for (const hear of [...this.#listeners]) hear(event);
  }

  #dropJobs(error: SemanticVlaError): void {
    for (const job of this.#queue.splice(0)) job.reject(error);
    if (this.#state === 'closed' && this.#current !== null) this.#current.reject(error);
  }

  #unavailable(): SemanticVlaError {
    if (this.#state === 'closed') {
      return new SemanticVlaError(
        'CLOSED',
        'This supervised policy is closed. Start another with superviseEngine.',
      );
    }
    const next =
      this.#state === 'failed'
        ? `Given up after ${this.#inARow} losses in a row; start the program again when the cause is gone.`
        : 'Another one is being started; hold the robot until then.';
    return new SemanticVlaError(
      'ENGINE_UNAVAILABLE',
      `Engine: expected one that is ready, found none. ${this.#lastLoss?.message ?? ''} ${next}`,
    );
  }
}

function checkPredictOptions(options: PredictOptions, kind: Job['kind']): void {
  checkOptions(options, predictOptionNames, kind);
  const { instruction, unnormKey, signal }: { [name in keyof PredictOptions]: unknown } = options;
  if (typeof instruction !== 'string')
    throw expected('INSTRUCTION_INVALID', 'a string', 'instruction', instruction);
  if (unnormKey !== undefined && typeof unnormKey !== 'string')
    throw expected('OPTION_INVALID', 'a name', 'unnormKey', unnormKey);
  checkSignal(signal);
}

/** Refuses what could not be sent unchanged, in the words of the policy itself. */
function checkObservation(observation: Observation, cameras: readonly string[]): void {
  const { images, state } = observation ?? {};
  if (typeof images !== 'object' || images === null) {
    throw expected('OBSERVATION_INVALID', 'an object of camera frames by name', 'observation.images', images);
  }
  for (const camera of cameras) {
    if (Object.hasOwn(images, camera) && images[camera] !== undefined) checkFrame(images[camera], camera);
  }
  if (state === undefined) return;
  if (!Array.isArray(state) && !ArrayBuffer.isView(state)) {
    throw expected('STATE_INVALID', 'a list of numbers', 'observation.state', state);
  }
  for (let i = 0; i < state.length; i++) {
    if (typeof state[i] !== 'number')
      throw expected('STATE_INVALID', 'a number', `observation.state[${i}]`, state[i]);
  }
}
