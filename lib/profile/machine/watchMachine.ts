/** The machine before, during and after a run, with warnings: this whole folder behind two calls. */

import { type MachineProbe, machineProbe } from '../../support/machineProbe.ts';
import type { MachineState, Warning } from '../types.ts';
import { finishMachine, type RunTimes } from './finishMachine.ts';
import { readMachine } from './readMachine.ts';
import { sampleMachine } from './sampleMachine.ts';
import { machineWarnings } from './warnings.ts';

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

export interface WatchMachineOptions {
  /** Milliseconds between samples; default 100, as often as the fastest GPU updates its power reading. */
  readonly intervalMs?: number;
  /** For tests: another machine to read before and after; the samples are always of this one. */
  readonly probe?: MachineProbe;
}

/** Resolves when the first sample has been taken. Disposing without `finish` just ends the sampling. */
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
