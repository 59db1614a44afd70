/** The end of a run: how the machine is now, what it drew, and who else was busy. */

import { type MachineProbe, machineProbe } from '../../support/machineProbe.ts';
import type { MachineSampling, MachineSeries, MachineState } from '../types.ts';
import { processShares } from './processes.ts';
import { readSnapshot } from './readMachine.ts';
import type { SampledRun } from './sampleMachine.ts';
import { fromStart } from './seriesBuilder.ts';
import { subjectEnergy } from './subjectEnergy.ts';

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

/** Of the whole run, warm-up included; null where it cannot be told. */
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
