/**
 * Measures subjects in turns: each runs a few chunks, then the next one does, round after round, so that whatever the machine does
 * in the meantime affects all of them alike. It knows nothing about policies, and the clock is passed in, so that tests can run
 * it in virtual time.
 */

import type { Progress } from '../../checkpoint/checkpoint.ts';
import { isolated } from '../../support/isolated.ts';
import { ChunkRing } from '../recorder/chunkRing.ts';
import type { ChunkRecord, StageTimes } from '../types.ts';
import { median } from './percentiles.ts';
import { steadyState } from './steadyState.ts';

/** Something that makes action chunks. */
export interface Runner {
  readonly name: string;
  /** Computes one chunk; resolves to the times of its stages, without `total`. */
  chunk(signal: AbortSignal | undefined): Promise<StageTimes>;
  /** Computes one chunk with an instruction that is not yet encoded; absent if there is none. */
  newInstruction?(signal: AbortSignal | undefined): Promise<StageTimes>;
}

export interface RunLimits {
  /** Warm-up lasts at least this long and this many chunks, then until times are steady, and at most `warmUpLimitMs`. */
  readonly warmUpMs: number;
  readonly warmUpChunks: number;
  readonly warmUpLimitMs: number;
  /** Warm-up ends after this many chunks, steady or not; default: no limit. */
  readonly warmUpLimitChunks?: number;
  /** Each subject is measured for at least this many chunks and this long, and for at most `limitMs`. */
  readonly iterations: number;
  readonly durationMs: number;
  readonly limitMs: number;
  /**
   * About how long a turn of a subject lasts; default 100, with at most 25 chunks per turn and at least 20 turns. A value above the
   * default is followed exactly: measuring energy needs turns of several periods of the power sensor.
   */
  readonly turnMs?: number;
  /** Most chunks with a new instruction per subject, and the time limit for them. */
  readonly newInstructions: number;
}

export interface RunOptions extends RunLimits {
  readonly now?: () => number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

export interface RunResult {
  readonly warmUp: {
    readonly chunks: number;
    readonly ms: number;
    readonly stable: boolean;
    readonly because: string;
  };
  readonly chunks: readonly ChunkRecord[];
  readonly newInstruction: readonly ChunkRecord[];
  /** Milliseconds that its counted chunks took, one after the other. */
  readonly ranMs: number;
  readonly rounds: number;
  /** Chunks at the start of its turns that are not counted, because another subject had filled the caches. */
  readonly uncounted: number;
  /** The clock's reading at time 0 of the chunk records. */
  readonly originMs: number;
}

/** Usual length of a turn, and the largest number of chunks in one. */
export const usualTurnMs = 100;
const mostPerTurn = 25;
/** The least number of turns that the intervals need. */
const wantedRounds = 20;
/** A longer chunk takes far longer than refilling the caches, so nothing needs to settle. */
const settleBelowMs = 100;
const newInstructionMs = 3000;

class Subject {
  readonly runner: Runner;
  /** Grows between turns, so it keeps every chunk. */
  readonly chunks = new ChunkRing(2 * mostPerTurn);
  readonly newInstruction: ChunkRecord[] = [];
  readonly warmUpTimes: number[] = [];
  ranMs = 0;
  uncounted = 0;
  perTurn = 1;
  settles = false;
  warmUpMs = 0;

  constructor(runner: Runner) {
    this.runner = runner;
  }
}

/** Computes one chunk and times it from call to result. This is the recorder that the self-check tests. */
export async function recordChunk(
  chunk: (signal: AbortSignal | undefined) => Promise<StageTimes>,
  ring: ChunkRing,
  round: number,
  origin: number,
  now: () => number,
  signal?: AbortSignal,
): Promise<number> {
  const start = now();
  const number = ring.begin(start - origin, round);
  const stages = await chunk(signal);
  const total = now() - start;
  ring.end(number, total, 'done', stages);
  return total;
}

/** Measures all runners in turns. Rejects with the signal's reason, or as a runner did. */
export async function runInTurns(
  runners: readonly Runner[],
  options: RunOptions,
): Promise<readonly RunResult[]> {
  const now = options.now ?? (() => performance.now());
  const origin = now();
  const subjects = runners.map((runner) => new Subject(runner));
  for (const subject of subjects) {
    await warmUp(subject, options, now);
    plan(subject, options, subjects.length);
  }
  const rounds = await measure(subjects, options, origin, now);
  await measureNewInstructions(subjects, options, origin, now);
  return subjects.map((subject) => ({
    warmUp: {
      chunks: subject.warmUpTimes.length,
      ms: subject.warmUpMs,
      ...steadyState(subject.warmUpTimes),
    },
    chunks: subject.chunks.records(),
    newInstruction: subject.newInstruction,
    ranMs: subject.ranMs,
    rounds,
    uncounted: subject.uncounted,
    originMs: origin,
  }));
}

async function warmUp(subject: Subject, options: RunOptions, now: () => number): Promise<void> {
  const start = now();
  const { warmUpMs, warmUpChunks, warmUpLimitMs, signal } = options;
  const { warmUpLimitChunks = Number.POSITIVE_INFINITY } = options;
  const tell = isolated('onProgress', options.onProgress);
  for (;;) {
    const ms = now() - start;
    subject.warmUpMs = ms;
    const count = subject.warmUpTimes.length;
    if (ms >= warmUpLimitMs || count >= warmUpLimitChunks) return;
    if (ms >= warmUpMs && count >= warmUpChunks && steadyState(subject.warmUpTimes).stable) return;
    signal?.throwIfAborted();
    const before = now();
    await subject.runner.chunk(signal);
    subject.warmUpTimes.push(now() - before);
    tell({
      step: `${subject.runner.name}: warm-up`,
      done: count + 1,
      total: Math.max(warmUpChunks, count + 1),
      unit: 'steps',
    });
  }
}

function plan(subject: Subject, { iterations, turnMs = usualTurnMs }: RunOptions, subjects: number): void {
  const recent = subject.warmUpTimes.slice(-50);
  const typical = recent.length === 0 ? turnMs : median(recent);
  const byTime = Math.max(1, Math.round(turnMs / Math.max(typical, 1e-6)));
  const mostChunks = Math.min(mostPerTurn, Math.floor(iterations / wantedRounds));
  subject.perTurn = turnMs > usualTurnMs ? byTime : Math.max(1, Math.min(byTime, mostChunks));
  subject.settles = subjects > 1 && typical < settleBelowMs;
}

function isDone({ chunks, ranMs }: Subject, { iterations, durationMs, limitMs }: RunOptions): boolean {
  return ranMs >= limitMs || (chunks.count >= iterations && ranMs >= durationMs);
}

async function measure(
  subjects: readonly Subject[],
  options: RunOptions,
  origin: number,
  now: () => number,
): Promise<number> {
  const { signal } = options;
  const tell = isolated('onProgress', options.onProgress);
  let round = 0;
  // all continue until the last one is done: a round without one of them would compare nothing
  while (subjects.some((subject) => !isDone(subject, options))) {
    for (let turn = 0; turn < subjects.length; turn++) {
      // the first one rotates, so that no subject always follows the same other
      const subject = subjects[(turn + round) % subjects.length]!;
      if (subject.settles) {
        signal?.throwIfAborted();
        await subject.runner.chunk(signal);
        subject.uncounted += 1;
      }
      subject.chunks.reserve(subject.perTurn);
      for (let i = 0; i < subject.perTurn; i++) {
        signal?.throwIfAborted();
        const { chunk } = subject.runner;
        subject.ranMs += await recordChunk(
          chunk.bind(subject.runner),
          subject.chunks,
          round,
          origin,
          now,
          signal,
        );
      }
    }
    round += 1;
    const slowest = subjects.reduce((a, b) => (share(a, options) <= share(b, options) ? a : b));
    tell({
      step: 'measuring',
      done: slowest.chunks.count,
      total: Math.round(slowest.chunks.count / doneShare(slowest, options)),
      unit: 'steps',
    });
  }
  return round;
}

function share({ chunks, ranMs }: Subject, { iterations, limitMs }: RunOptions): number {
  return Math.max(chunks.count / iterations, ranMs / limitMs);
}

/** Share of the run that is done, by whichever limit will end it: above 0, at most 1. */
function doneShare(subject: Subject, { iterations, durationMs, limitMs }: RunOptions): number {
  const { chunks, ranMs } = subject;
  const wanted = Math.min(chunks.count / iterations, durationMs > 0 ? ranMs / durationMs : 1);
  return Math.min(1, Math.max(wanted, ranMs / limitMs));
}

async function measureNewInstructions(
  subjects: readonly Subject[],
  options: RunOptions,
  origin: number,
  now: () => number,
): Promise<void> {
  for (const subject of subjects) {
    const newInstruction = subject.runner.newInstruction?.bind(subject.runner);
    if (newInstruction === undefined) continue;
    const ring = new ChunkRing(options.newInstructions + 2);
    const end = now() + newInstructionMs;
    // the first chunk does not count: before it another subject ran, or the same sentence again and again
    for (let i = 0; i <= options.newInstructions && (i < 2 || now() < end); i++) {
      options.signal?.throwIfAborted();
      await recordChunk(newInstruction, ring, i, origin, now, options.signal);
    }
    subject.newInstruction.push(...ring.records().slice(1));
  }
}
