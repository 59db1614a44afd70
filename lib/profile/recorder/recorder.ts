/**
 * The recorder of `bench`, of a served policy and of a control loop. bench/recorder.ts measures what it costs per chunk. Times are milliseconds of `performance.now()`.
 */

import { isolated } from '../../support/isolated.ts';
import { expected } from '../../support/options.ts';
import { stageNames } from '../stages.ts';
import type { StageTimes } from '../types.ts';
import { ChunkRing, type ChunkRows, type Outcome } from './chunkRing.ts';
import { type EventKind, EventRing, type EventRows } from './eventRing.ts';
import { prometheusText } from './prometheusText.ts';
import { StageHistograms } from './stageHistograms.ts';

/** How much a recorder keeps. */
export interface RecorderOptions {
  /** Predictions that are kept; default 512. */
  readonly chunks?: number;
  /** Ticks and decisions that are kept; default 4096: 40 s at 100 Hz. */
  readonly events?: number;
  /** A prediction that takes longer is a miss, ms; default: there is no deadline. */
  readonly deadlineMs?: number;
  /** Called synchronously when a deadline passes: must return quickly. */
  readonly onMiss?: (why: string) => void;
}

/** Everything that is kept, copied; typed arrays only, so it moves to another thread. */
export interface Recording {
  readonly chunks: ChunkRows;
  readonly events: EventRows;
}

/** Times of the chunks of a running policy, in memory of a fixed size. */
export class Recorder {
  readonly chunks: ChunkRing;
  readonly events: EventRing;
  /** `total` is not counted here: a server and a loop count it themselves, and a time must not be counted twice. */
  readonly histograms = new StageHistograms();
  readonly #deadlineMs: number;
  #onMiss: (why: string) => void;

  /** @throws OPTION_INVALID */
  constructor({
    chunks = 512,
    events = 4096,
    deadlineMs = Number.POSITIVE_INFINITY,
    onMiss,
  }: RecorderOptions = {}) {
    for (const [name, value] of Object.entries({ chunks, events })) {
      if (!Number.isSafeInteger(value) || value < 1)
        throw expected('OPTION_INVALID', 'a whole number >= 1', name, value);
    }
    if (!(deadlineMs > 0)) throw expected('OPTION_INVALID', 'milliseconds > 0', 'deadlineMs', deadlineMs);
    this.chunks = new ChunkRing(chunks);
    this.events = new EventRing(events);
    this.#deadlineMs = deadlineMs;
    this.#onMiss = isolated('onMiss of a recorder', onMiss);
  }

  /** @returns the prediction's number, for `end` */
  begin(startMs: number): number {
    return this.chunks.begin(startMs);
  }

  /** @param timings of the ActionChunk; null: there is none */
  end(number: number, startMs: number, endMs: number, outcome: Outcome, timings: StageTimes | null): void {
    const ms = endMs - startMs;
    this.chunks.end(number, ms, outcome, timings);
    if (timings !== null) {
      for (let i = 1; i < stageNames.length; i++) {
        const stage = timings[stageNames[i]!];
        if (stage !== undefined && stage > 0) this.histograms.observe(i, stage);
      }
    }
    if (ms > this.#deadlineMs && outcome !== 'aborted') {
      this.events.add('deadline missed', endMs, ms);
      this.miss('deadline');
    }
  }

  event(kind: EventKind, at: number, value?: number, reason?: string): void {
    this.events.add(kind, at, value, reason);
  }

  miss(why: string): void {
    this.#onMiss(why);
  }

  /** Replaces the listener for misses. */
  set onMiss(listener: ((why: string) => void) | undefined) {
    this.#onMiss = isolated('onMiss of a recorder', listener);
  }

  /** For `GET /metrics` of a server. */
  metricsText(): string {
    return prometheusText(this);
  }

  copy(): Recording {
    return { chunks: this.chunks.copy(), events: this.events.copy() };
  }
}
