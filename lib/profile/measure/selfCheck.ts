/**
 * Whether the recorder can be trusted: it times a busy-wait of known length exactly as it times chunks, and reports what recording
 * costs. The length is known from another clock than the one being checked: the processor's own counter at the frequency that
 * the processor states, or CLOCK_MONOTONIC_RAW, which no time server adjusts (native/support/busyWait.h).
 */

import { loadAddon } from '../../addon/binding.ts';
import type { Warning } from '../../machine/types.ts';
import { median } from '../../support/median.ts';
import { ChunkRing } from '../recorder/rings.ts';
import type { SelfCheck, StageTimes } from '../types.ts';
import { recordChunk } from './runner.ts';

/** The overhead is reported as a share of a chunk of this length. */
const chunkMs = 5;
/** Short, so that even on a busy machine some waits are not interrupted. */
const waitMs = 2;
/** A wait longer than requested by this factor was interrupted, and the time between the two clocks is not the recorder's. */
const interrupted = 1.02;
/** Number of uninterrupted waits wanted, and the most waits made. */
const wantedTrials = 11;
const mostTrials = 300;
/** Largest error and largest overhead allowed, in percent. */
const allowedPercent = 1;
/** Recordings of an empty chunk, in batches of which the median counts, since the thread may lose its core during a batch. */
const overheadBatches = 21;
const overheadBatch = 200;

export type RecorderCheck = Omit<SelfCheck, 'eventLoopDelay'> & Required<Pick<SelfCheck, 'passed'>>;

/** The parts being checked; tests pass faulty ones. */
export interface CheckedParts {
  readonly now?: () => number;
  /** Keeps the thread busy; returns for how many milliseconds by its own clock. */
  readonly wait?: (microseconds: number) => {
    readonly ms: number;
    readonly clock: string;
    readonly frequencyMHz: number;
  };
}

/** Takes about 40 ms, on a busy machine up to a second or two. @throws (rejects) ADDON_NOT_BUILT */
export async function checkRecorder({
  now = () => performance.now(),
  wait = (microseconds) => loadAddon().busyWait(microseconds),
}: CheckedParts = {}): Promise<RecorderCheck> {
  const trials: { readonly waited: number; readonly measured: number; readonly error: number }[] = [];
  const ring = new ChunkRing(mostTrials);
  let clock = '';
  let calm = trials;
  for (let i = 0; i < mostTrials && calm.length < wantedTrials; i++) {
    let waited = 0;
    const chunk = async (): Promise<StageTimes> => {
      const { ms, clock: name, frequencyMHz } = wait(1000 * waitMs);
      const counter = `the processor's counter at ${frequencyMHz.toFixed(0)} MHz`;
      clock = name === 'hardware' ? counter : 'CLOCK_MONOTONIC_RAW';
      waited = ms;
      return {};
    };
    const measured = await recordChunk(chunk, ring, 0, now);
    trials.push({ waited, measured, error: measured / waited - 1 });
    calm = trials.filter((trial) => trial.waited <= interrupted * waitMs);
  }
  // if every wait was interrupted, those have to do; the report then shows the error
  const middle = (calm.length > 0 ? calm : trials).toSorted((a, b) => a.error - b.error);
  const { waited, measured, error } = middle[middle.length >> 1]!;
  const overheadUs = await recordingCost(now);
  const errorPercent = 100 * error;
  const overheadPercent = (100 * overheadUs) / (1000 * chunkMs);
  return {
    expectedMs: waited,
    measuredMs: measured,
    errorPercent,
    overheadUs,
    overheadPercent,
    passed: Math.abs(errorPercent) <= allowedPercent && overheadPercent < allowedPercent,
    clock,
    trials: middle.length,
  };
}

/** Microseconds that recording adds to a chunk that is merely awaited. */
async function recordingCost(now: () => number): Promise<number> {
  const chunk = async (): Promise<StageTimes> => stages;
  const stages: StageTimes = { preprocess: 1, policy: 3, unnormalize: 0.01 };
  const costs: number[] = [];
  for (let batch = 0; batch < overheadBatches; batch++) {
    const ring = new ChunkRing(overheadBatch);
    const start = performance.now();
    for (let i = 0; i < overheadBatch; i++) await chunk();
    const between = performance.now();
    for (let i = 0; i < overheadBatch; i++) await recordChunk(chunk, ring, 0, now);
    const end = performance.now();
    costs.push((1000 * (end - between - (between - start))) / overheadBatch);
  }
  return Math.max(0, median(costs));
}

/** If the recorder is wrong, every other number is worthless. */
export function selfCheckWarnings(check: RecorderCheck): Warning[] {
  if (check.passed) return [];
  const error = `a busy-wait of ${check.expectedMs.toFixed(3)} ms (${check.clock}) was timed as ${check.measuredMs.toFixed(3)} ms, ${check.errorPercent.toFixed(2)} % off`;
  const cost = `recording a chunk costs ${check.overheadUs.toFixed(1)} us, ${check.overheadPercent.toFixed(2)} % of a ${chunkMs} ms chunk`;
  const text = `The recorder failed its self-check: ${error}; ${cost}; at most ${allowedPercent} % is allowed for each. Do not believe the times below: end what else runs on this machine and measure again.`;
  return [{ code: 'self-check-failed', text }];
}

/** In one sentence; the event loop's delay beside it. */
export function selfCheckText(check: SelfCheck): string {
  const { eventLoopDelay: delay } = check;
  return (
    `self-check ${check.passed === false ? 'FAILED' : 'passed'}: a busy-wait of ${check.expectedMs.toFixed(3)} ms (${check.clock}) was timed ${Math.abs(check.errorPercent).toFixed(3)} % off; ` +
    `recording a chunk costs ${check.overheadUs.toFixed(2)} us (${check.overheadPercent.toFixed(3)} % of a ${chunkMs} ms chunk); ` +
    `event-loop delay median ${delay.median.toFixed(2)} ms, p99 ${delay.p99.toFixed(2)} ms, max ${delay.max.toFixed(2)} ms`
  );
}
