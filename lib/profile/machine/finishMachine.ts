/** The end of a run: the machine's state now, the energy it used, and which other processes were busy. */

import { type MachineProbe, machineProbe } from '../../support/machineProbe.ts';
import type { MachineSampling, MachineSeries, MachineState } from '../types.ts';
import { processShares } from './processes.ts';
import { readSnapshot } from './readMachine.ts';
import type { SampledRun } from './sampleMachine.ts';
import { fromStart } from './seriesBuilder.ts';
import { subjectEnergy } from './subjectEnergy.ts';

/** How the times of a run are counted. */
export interface RunTimes {
  /** CLOCK_MONOTONIC at time 0 of its chunks; default: the first sample. */
  readonly startMonotonicMs?: number;
  /** When the first counted chunk began, relative to that. */
  readonly measuredFromMs?: number;
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
  return {
    ...start,
    end: readSnapshot(probe),
    energy: series && energyOf(series, chunks),
    sampling: run && samplingOf(run, start.cpu.cores),
    series,
  };
}

/** Over the whole run, including warm-up; null if it cannot be determined. */
function energyOf(series: MachineSeries, chunks: number): MachineState['energy'] {
  const { atMs } = series;
  const energy = subjectEnergy(series, [{ fromMs: atMs[0]!, toMs: atMs.at(-1)!, chunks }]);
  return energy.joulesPerChunk === null || chunks <= 0 ? null : energy;
}

function samplingOf(run: SampledRun, cores: number): MachineSampling {
  const { samples, intervalMs, costMs, seconds, before, after, processorMs = null } = run;
  const { ownSeconds, others } = processShares(before.processes, after.processes, process.pid, seconds);
  const busy =
    before.busySeconds === null || after.busySeconds === null ? null : after.busySeconds - before.busySeconds;
  return {
    samples,
    intervalMs,
    costMs,
    costPercent: seconds === 0 ? 0 : (processorMs ?? costMs * samples) / (10 * seconds),
    costIs: processorMs === null ? 'elapsed time' : 'processor time',
    othersPercent:
      busy === null || seconds === 0 ? null : (100 * Math.max(0, busy - ownSeconds)) / (cores * seconds),
    others,
  };
}
