/** The end of a run: how the machine is now, what it drew, and who else was busy. */

import { type MachineProbe, machineProbe } from '../../support/machineProbe.ts';
import type { MachineSampling, MachineState } from '../types.ts';
import { grownCounters } from './counters.ts';
import { energyPerChunk } from './energy.ts';
import { processShares } from './processes.ts';
import { readSnapshot } from './readMachine.ts';
import type { SampledRun } from './sampleMachine.ts';

export interface FinishMachineOptions {
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
  { chunks, probe = machineProbe }: FinishMachineOptions,
): MachineState {
  return {
    ...start,
    end: readSnapshot(probe),
    energy: run && energyPerChunk(run.power, chunks),
    sampling: run && samplingOf(run, start.cpu.cores),
  };
}

function samplingOf(run: SampledRun, cores: number): MachineSampling {
  const { extremes, seconds, before, after } = run;
  const { ownSeconds, others } = processShares(before.processes, after.processes, process.pid, seconds);
  const busy =
    before.busySeconds === null || after.busySeconds === null ? null : after.busySeconds - before.busySeconds;
  return {
    ...extremes,
    costPercent: seconds === 0 ? 0 : (extremes.costMs * extremes.samples) / (10 * seconds),
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
