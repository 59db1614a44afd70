/**
 * The recorder of a served policy and of a control loop; bench/recorder.ts measures what it costs per chunk. Times are
 * milliseconds of `performance.now()`.
 */

import { Counter, Histogram, Registry } from 'prom-client';
import { isolated } from '../../support/isolated.ts';
import { expected } from '../../support/options.ts';
import type { ActionChunk } from '../../types.ts';
import { stageNames } from '../stages.ts';
import type { StageTimes } from '../types.ts';
import {
  ChunkRing,
  type ChunkRows,
  type EventKind,
  EventRing,
  type EventRows,
  type Outcome,
} from './rings.ts';
import { type Asked, type Scene, SceneRing } from './sceneRing.ts';
import { SentRing, type SentRows } from './sentRing.ts';

/** How much a recorder keeps. */
export interface RecorderOptions {
  /** Predictions that are kept; default 512. */
  readonly chunks?: number;
  /** Ticks and decisions that are kept; default 4096: 40 s at 100 Hz. */
  readonly events?: number;
  /** A prediction that takes longer is a miss, ms; default: there is no deadline. */
  readonly deadlineMs?: number;
  /**
   * Bytes of camera frames that are kept, with the states, chunks and sent actions that go with them; default 0: none. 64 MiB
   * are about 170 observations of two cameras with 256 x 256 pixels.
   */
  readonly sceneBytes?: number;
  /** Called synchronously when a deadline passes: must return quickly. */
  readonly onMiss?: (why: string) => void;
}

/** Everything that is kept, copied; typed arrays only, so it can be moved to another thread. */
export interface Recording {
  readonly chunks: ChunkRows;
  readonly events: EventRows;
  /** null: scenes are not kept. */
  readonly sent: SentRows | null;
}

/** Seconds. Dense from 1 ms to 1 s, where chunks and their stages are; neighbours differ by at most two thirds. */
export const stageBuckets = [
  0.001, 0.0015, 0.0025, 0.004, 0.006, 0.008, 0.01, 0.0125, 0.016, 0.02, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1,
  0.125, 0.16, 0.2, 0.25, 0.35, 0.5, 0.7, 1,
];

/** Counters of a control loop; a server counts its refusals itself. */
const loopCounters: readonly (readonly [kind: EventKind, name: string, help: string])[] = [
  ['executed', 'semanticvla_loop_executed_total', 'Actions of the policy that were sent.'],
  ['hold', 'semanticvla_loop_holds_total', 'Ticks without an action of the policy, by reason.'],
  [
    'deadline missed',
    'semanticvla_deadline_misses_total',
    'Predictions that took longer than their deadline.',
  ],
];

/** Times of the chunks of a running policy, in memory of a fixed size. */
export class Recorder {
  readonly chunks: ChunkRing;
  readonly events: EventRing;
  readonly #registry = new Registry();
  /** Without `total`: a server and a loop count whole predictions themselves, and a time must not be counted twice. */
  readonly #stageSeconds = new Histogram({
    name: 'semanticvla_stage_seconds',
    help: 'Time of each stage of a prediction; stages may overlap and do not add up to the whole.',
    labelNames: ['stage'],
    buckets: stageBuckets,
    registers: [this.#registry],
  });
  readonly #scenes: SceneRing | null;
  readonly #sent: SentRing | null;
  readonly #deadlineMs: number;
  #onMiss: (why: string) => void;

  /** @throws OPTION_INVALID */
  constructor({
    chunks = 512,
    events = 4096,
    sceneBytes = 0,
    deadlineMs = Number.POSITIVE_INFINITY,
    onMiss,
  }: RecorderOptions = {}) {
    for (const [name, value] of Object.entries({ chunks, events })) {
      if (!Number.isSafeInteger(value) || value < 1)
        throw expected('OPTION_INVALID', 'a whole number >= 1', name, value);
    }
    if (!Number.isSafeInteger(sceneBytes) || sceneBytes < 0)
      throw expected('OPTION_INVALID', 'a whole number >= 0', 'sceneBytes', sceneBytes);
    this.#scenes = sceneBytes === 0 ? null : new SceneRing(sceneBytes);
    this.#sent = sceneBytes === 0 ? null : new SentRing(events);
    if (!(deadlineMs > 0)) throw expected('OPTION_INVALID', 'milliseconds > 0', 'deadlineMs', deadlineMs);
    this.chunks = new ChunkRing(chunks);
    const ring = new EventRing(events);
    this.events = ring;
    this.#deadlineMs = deadlineMs;
    this.#onMiss = isolated('onMiss of a recorder', onMiss);
    for (const [kind, name, help] of loopCounters) {
      new Counter({
        name,
        help,
        labelNames: ['reason'],
        registers: [this.#registry],
        collect() {
          this.reset();
          for (const [reason, count] of ring.totals(kind)) this.inc(reason === '' ? {} : { reason }, count);
        },
      });
    }
  }

  /**
   * @param cameras of the policy
   * @param asked what it is asked; kept if scenes are
   * @returns the prediction's number, for `end`
   */
  begin(startMs: number, cameras: readonly string[] = [], asked: Asked | null = null): number {
    const number = this.chunks.begin(startMs);
    if (asked !== null) this.#scenes?.begin(number, startMs, cameras, asked);
    return number;
  }

  /** What a prediction answered; kept if scenes are. */
  answered(number: number, endMs: number, chunk: Pick<ActionChunk, 'actions' | 'dimensions'>): void {
    this.#scenes?.answer(number, endMs, chunk);
  }

  /** The end of a prediction that `begin` numbered. Milliseconds. @param timings of the ActionChunk; null: there is none */
  end(number: number, startMs: number, endMs: number, outcome: Outcome, timings: StageTimes | null): void {
    const ms = endMs - startMs;
    this.chunks.end(number, ms, outcome, timings);
    for (const stage of timings === null ? [] : stageNames) {
      const took = timings![stage];
      if (stage !== 'total' && took !== undefined && took > 0)
        this.#stageSeconds.observe({ stage }, took / 1000);
    }
    if (ms > this.#deadlineMs && outcome !== 'aborted') {
      this.events.add('deadline missed', endMs, ms);
      this.miss('deadline');
    }
  }

  /** An event of the loop. @param at milliseconds of `performance.now()` */
  event(kind: EventKind, at: number, value?: number, reason?: string): void {
    this.events.add(kind, at, value, reason);
  }

  /** An action that a loop has sent; kept if scenes are. */
  sent(at: number, values: ArrayLike<number>, isHeld: boolean): void {
    this.#sent?.add(at, values, isHeld);
  }

  /** Calls `onMiss`. */
  miss(why: string): void {
    this.#onMiss(why);
  }

  /** Replaces the listener for misses. */
  set onMiss(listener: ((why: string) => void) | undefined) {
    this.#onMiss = isolated('onMiss of a recorder', listener);
  }

  /** Stages and the loop's counters in Prometheus's text format, for `GET /metrics` of a server. */
  metricsText(): Promise<string> {
    return this.#registry.metrics();
  }

  /** Whether it keeps scenes. */
  get hasScenes(): boolean {
    return this.#scenes !== null;
  }

  /** Hands over the scenes that are kept, oldest first, and keeps new ones from now on; see `SceneRing.take`. */
  takeScenes(): Scene[] {
    return this.#scenes?.take() ?? [];
  }

  /** What is kept now, oldest first. */
  copy(): Recording {
    return { chunks: this.chunks.copy(), events: this.events.copy(), sent: this.#sent?.copy() ?? null };
  }
}
