/** The machine before, during and after a run, with warnings: this whole folder behind two calls. */

import { type MachineProbe, machineProbe } from '../support/machineProbe.ts';
import { processShares } from './counters.ts';
import { readMachine, readSnapshot } from './readMachine.ts';
import { type SampledRun, sampleMachine } from './sampleMachine.ts';
import { fromStart } from './seriesBuilder.ts';
import { subjectEnergy } from './subjectEnergy.ts';
import type { MachineSampling, MachineState, Warning } from './types.ts';
import { machineWarnings } from './warnings.ts';

/** How the times of a run are counted. */
export interface RunTimes {
  /** CLOCK_MONOTONIC at time 0 of its chunks; default: the first sample. */
  readonly startMonotonicMs?: number;
  /** When the first counted chunk began, relative to that. */
  readonly measuredFromMs?: number;
}

/** Watches the machine's sensors while something runs. */
export interface MachineWatch extends AsyncDisposable {
  /**
   * Call this once, when the run is over.
   * @param chunks computed during the run by all subjects together
   * @param times the origin of the samples' times; default: the first sample
   */
  finish(
    chunks: number,
    times?: RunTimes,
  ): Promise<{ readonly machine: MachineState; readonly warnings: readonly Warning[] }>;
}

/** Options of `watchMachine`. */
export interface WatchMachineOptions {
  /** Milliseconds between samples; default 100, as often as the fastest GPU updates its power reading. */
  readonly intervalMs?: number;
  /** For tests: another machine to read before and after; the samples are always of this one. */
  readonly probe?: MachineProbe;
}

/**
 * Samples this machine's sensors on a thread of its own until `finish`. Resolves when the first sample has been taken. Disposing
 * without `finish` just ends the sampling.
 *
 * @param options how often, in milliseconds
 * @throws (rejects) OPTION_INVALID for an interval below 10 ms
 */
export async function watchMachine({
  intervalMs = 100,
  probe = machineProbe,
}: WatchMachineOptions = {}): Promise<MachineWatch> {
  const start = readMachine({ probe });
  const sampler = await sampleMachine(intervalMs, { probe });
  return {
    finish: async (chunks, times) => {
      const machine = finishMachine(start, await sampler.stop(), { chunks, probe, ...times });
      return { machine, warnings: machineWarnings(machine) };
    },
    [Symbol.asyncDispose]: () => sampler[Symbol.asyncDispose](),
  };
}

export interface FinishMachineOptions extends RunTimes {
  /** Chunks computed between the start and the end of sampling, by all subjects together. */
  readonly chunks: number;
  readonly probe?: MachineProbe;
}

/**
 * Completes `start` with what is known only afterwards.
 * @param run null: nothing was sampled, so there is no energy
 */
export function finishMachine(
  start: MachineState,
  run: SampledRun | null,
  { chunks, startMonotonicMs, measuredFromMs, probe = machineProbe }: FinishMachineOptions,
): MachineState {
  const sampled = run?.series ?? null;
  const series = sampled && {
    ...fromStart(sampled, startMonotonicMs ?? sampled.atMs[0] ?? 0),
    ...(measuredFromMs === undefined || !Number.isFinite(measuredFromMs) ? {} : { measuredFromMs }),
  };
  // over the whole run, including warm-up
  const whole = series && { fromMs: series.atMs[0]!, toMs: series.atMs.at(-1)!, chunks };
  const energy = whole && chunks > 0 ? subjectEnergy(series, [whole]) : null;
  return {
    ...start,
    end: readSnapshot(probe),
    energy: energy?.joulesPerChunk == null ? null : energy,
    sampling: run && samplingOf(run, start.cpu.cores),
    series,
  };
}

function samplingOf(run: SampledRun, cores: number): MachineSampling {
  const { samples, intervalMs, costMs, seconds, before, after, processorMs } = run;
  const { ownSeconds, others } = processShares(before.processes, after.processes, process.pid, seconds);
  const { busySeconds: first } = before;
  const { busySeconds: last } = after;
  const isKnown = first !== null && last !== null && seconds > 0;
  return {
    samples,
    intervalMs,
    costMs,
    costPercent: seconds === 0 ? 0 : (processorMs ?? costMs * samples) / (10 * seconds),
    othersPercent: isKnown ? (100 * Math.max(0, last - first - ownSeconds)) / (cores * seconds) : null,
    others,
  };
}
