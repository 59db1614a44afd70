/** The end of a run: how the machine is now, what it drew, and who else was busy. */

import { type MachineProbe, machineProbe } from '../../support/machineProbe.ts';
import type { MachineSampling, MachineState } from '../types.ts';
import { grownCounters } from './counters.ts';
import { energyPerChunk } from './energy.ts';
import { processShares } from './processes.ts';
import { readSnapshot } from './readMachine.ts';
import type { SampledRun } from './sampleMachine.ts';
import { fromStart } from './seriesBuilder.ts';

/** How the times of a run are counted. */
export interface RunTimes {
  /** CLOCK_MONOTONIC at which the times of its chunks begin; default: the first sample. */
  readonly startMonotonicMs?: number;
  /** When the first chunk that counts began, from there. */
  readonly measuredFromMs?: number;
}

export interface FinishMachineOptions extends RunTimes {
  /** Chunks that were computed between the sampler's start and its end, of all subjects together. */
  readonly chunks: number;
  readonly probe?: MachineProbe;
}

/**
 * `start` with everything that is known only afterwards.
 * @param run null: nothing was sampled, so there is no energy
 */
export function finishMachine(
  start: MachineState,
  run: SampledRun | null,
  { chunks, startMonotonicMs, measuredFromMs, probe = machineProbe }: FinishMachineOptions,
): MachineState {
  const series = run?.series ?? null;
  return {
    ...start,
    end: readSnapshot(probe),
    energy: run && energyPerChunk(run.power, chunks),
    sampling: run && samplingOf(run, start.cpu.cores),
    series: series && {
      ...fromStart(series, startMonotonicMs ?? series.atMs[0] ?? 0),
      ...(measuredFromMs === undefined || !Number.isFinite(measuredFromMs) ? {} : { measuredFromMs }),
    },
  };
}

function samplingOf(run: SampledRun, cores: number): MachineSampling {
  const { extremes, seconds, before, after, processorMs = null } = run;
  const { ownSeconds, others } = processShares(before.processes, after.processes, process.pid, seconds);
  const busy =
    before.busySeconds === null || after.busySeconds === null ? null : after.busySeconds - before.busySeconds;
  return {
    ...extremes,
    costPercent: seconds === 0 ? 0 : (processorMs ?? extremes.costMs * extremes.samples) / (10 * seconds),
    costIs: processorMs === null ? 'elapsed time' : 'processor time',
    othersPercent:
      busy === null || seconds === 0 ? null : (100 * Math.max(0, busy - ownSeconds)) / (cores * seconds),
    others,
  };
}

/** Every reason for which the machine was slowed during the run, by alarms, reasons and counters. */
export function throttlingOf({ start, end, sampling }: MachineState): string[] {
  const grown = end === null ? [] : grownCounters(start.counters ?? [], end.counters ?? []);
  const seen = [start, end].flatMap((snapshot) => snapshot?.throttling ?? []);
  return [...new Set([...seen, ...(sampling?.throttling ?? []), ...grown])];
}
