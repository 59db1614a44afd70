/**
 * Measures subjects in turns: each runs a few chunks, then the next one does, round after round, so that whatever the machine does
 * in the meantime affects all of them alike. It knows nothing about policies, and the clock is passed in, so that tests can run
 * it in virtual time.
 */

import type { Progress } from '../../checkpoint/checkpoint.ts';
import { pause } from '../../support/abort.ts';
import { isolated } from '../../support/isolated.ts';
import { median } from '../../support/median.ts';
import { ChunkRing } from '../recorder/rings.ts';
import type { ChunkRecord, StageTimes, SubjectResult } from '../types.ts';
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
  /**
   * Hz: chunks are asked for at the ticks of a clock of this rate instead of one after the other. A tick at which the last chunk is
   * still being computed is missed: nothing is asked for then.
   */
  readonly rateHz?: number;
  /** Most chunks with a new instruction per subject, and the time limit for them. */
  readonly newInstructions: number;
}

export interface RunOptions extends RunLimits {
  readonly now?: () => number;
  /** Resolves after so many milliseconds, or early when aborted; with `now` in virtual time. */
  readonly wait?: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

export interface RunResult {
  readonly warmUp: SubjectResult['warmUp'];
  readonly chunks: readonly ChunkRecord[];
  readonly newInstruction: readonly ChunkRecord[];
  /** Milliseconds that its counted chunks took, one after the other; with a rate, until the next tick. */
  readonly ranMs: number;
  /** Ticks of its turns at which nothing could be asked for; 0 without a rate. */
  readonly missed: number;
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

interface Subject {
  readonly runner: Runner;
  readonly chunks: ChunkRecord[];
  newInstruction: readonly ChunkRecord[];
  readonly warmUpTimes: number[];
  ranMs: number;
  missed: number;
  uncounted: number;
  perTurn: number;
  settles: boolean;
  warmUpMs: number;
}

/** Computes one chunk and times it from call to result. This is the recorder that the self-check tests. */
export async function recordChunk(
  chunk: Runner['chunk'],
  ring: ChunkRing,
  origin: number,
  now: () => number,
  signal?: AbortSignal,
): Promise<number> {
  const start = now();
  const number = ring.begin(start - origin);
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
  const subjects = runners.map((runner): Subject => {
    const lists = { chunks: [], newInstruction: [], warmUpTimes: [] };
    return { runner, ...lists, ranMs: 0, missed: 0, uncounted: 0, perTurn: 1, settles: false, warmUpMs: 0 };
  });
  for (const subject of subjects) {
    await warmUp(subject, options, now);
    plan(subject, options, subjects.length);
  }
  const rounds = await measure(subjects, options, origin, now);
  for (const subject of subjects) await measureNewInstructions(subject, options, origin, now);
  return subjects.map(({ warmUpTimes, warmUpMs, chunks, newInstruction, ranMs, missed, uncounted }) => ({
    warmUp: { chunks: warmUpTimes.length, ms: warmUpMs, ...steadyState(warmUpTimes) },
    ...{ chunks, newInstruction, ranMs, missed, rounds, uncounted, originMs: origin },
  }));
}

async function warmUp(subject: Subject, options: RunOptions, now: () => number): Promise<void> {
  const start = now();
  const { runner, warmUpTimes } = subject;
  const { warmUpMs, warmUpChunks, warmUpLimitMs, signal } = options;
  const { warmUpLimitChunks = Number.POSITIVE_INFINITY } = options;
  const tell = isolated('onProgress', options.onProgress);
  for (;;) {
    const ms = now() - start;
    subject.warmUpMs = ms;
    const count = warmUpTimes.length;
    if (ms >= warmUpLimitMs || count >= warmUpLimitChunks) return;
    if (ms >= warmUpMs && count >= warmUpChunks && steadyState(warmUpTimes).stable) return;
    signal?.throwIfAborted();
    const before = now();
    await runner.chunk(signal);
    const done = warmUpTimes.push(now() - before);
    tell({ step: `${runner.name}: warm-up`, done, total: Math.max(warmUpChunks, done), unit: 'steps' });
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

async function measure(
  subjects: readonly Subject[],
  options: RunOptions,
  origin: number,
  now: () => number,
): Promise<number> {
  const { signal, iterations, durationMs, limitMs } = options;
  const tell = isolated('onProgress', options.onProgress);
  /** Share of the run that is done, by whichever limit will end it; 1: all. */
  const done = ({ chunks, ranMs }: Subject): number => {
    const wanted = Math.min(chunks.length / iterations, durationMs > 0 ? ranMs / durationMs : 1);
    return Math.min(1, Math.max(wanted, ranMs / limitMs));
  };
  const rhythm = options.rateHz === undefined ? null : rhythmOf(options.rateHz, options, now);
  let round = 0;
  // all continue until the last one is done: a round without one of them would compare nothing
  while (subjects.some((subject) => done(subject) < 1)) {
    for (let turn = 0; turn < subjects.length; turn++) {
      // the first one rotates, so that no subject always follows the same other
      const subject = subjects[(turn + round) % subjects.length]!;
      const chunk = subject.runner.chunk.bind(subject.runner);
      if (subject.settles) {
        signal?.throwIfAborted();
        await chunk(signal);
        subject.uncounted += 1;
      }
      const ring = new ChunkRing(subject.perTurn);
      for (let i = 0; i < subject.perTurn; i++) {
        signal?.throwIfAborted();
        if (rhythm === null) subject.ranMs += await recordChunk(chunk, ring, origin, now, signal);
        else await rhythm(subject, () => recordChunk(chunk, ring, origin, now, signal));
      }
      for (const record of ring.records()) subject.chunks.push({ ...record, round });
    }
    round += 1;
    const slowest = subjects.reduce((a, b) => (done(a) <= done(b) ? a : b));
    const count = slowest.chunks.length;
    tell({ step: 'measuring', done: count, total: Math.round(count / done(slowest)), unit: 'steps' });
  }
  return round;
}

/** Each call waits for the next tick, computes a chunk, and counts the ticks that passed meanwhile. */
function rhythmOf(
  rateHz: number,
  { wait = pause, signal = new AbortController().signal }: RunOptions,
  now: () => number,
): (subject: Subject, compute: () => Promise<unknown>) => Promise<void> {
  const period = 1000 / rateHz;
  const start = now();
  /** The first tick that has not passed; rounding misses none. */
  const upcoming = (): number => Math.ceil((now() - start) / period - 1e-6);
  let tick = 0;
  return async (subject, compute) => {
    // others may have used the time since: whoever has the turn misses nothing by that
    tick = Math.max(tick, upcoming());
    const due = start + tick * period;
    while (now() < due && !signal.aborted) await wait(due - now(), signal);
    signal.throwIfAborted();
    await compute();
    const next = Math.max(tick + 1, upcoming());
    subject.missed += next - tick - 1;
    subject.ranMs += (next - tick) * period;
    tick = next;
  };
}

async function measureNewInstructions(
  subject: Subject,
  { newInstructions, signal }: RunOptions,
  origin: number,
  now: () => number,
): Promise<void> {
  const chunk = subject.runner.newInstruction?.bind(subject.runner);
  if (chunk === undefined) return;
  const ring = new ChunkRing(newInstructions + 2);
  const end = now() + newInstructionMs;
  // the first chunk does not count: before it another subject ran, or the same sentence again and again
  for (let i = 0; i <= newInstructions && (i < 2 || now() < end); i++) {
    signal?.throwIfAborted();
    await recordChunk(chunk, ring, origin, now, signal);
  }
  subject.newInstruction = ring
    .records()
    .map((record, round) => ({ ...record, round }))
    .slice(1);
}
