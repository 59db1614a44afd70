/**
 * Samples the machine while something is measured. Reading sensors can take milliseconds (each is a bus transfer), so a separate
 * thread reads them and reports only at the end, leaving the measuring thread alone. The cost of sampling is measured and
 * reported too.
 */

import { once } from 'node:events';
import { type MachineProbe, machineProbe } from '../support/machineProbe.ts';
import { expected } from '../support/options.ts';
import { startWorker } from '../support/startWorker.ts';
import { type ProcessTime, readCounters, readProcesses } from './counters.ts';
import type { SampledSeries } from './seriesBuilder.ts';

/** What the sampling thread reports. */
export interface Sampled {
  readonly samples: number;
  readonly intervalMs: number;
  /** Mean time of one sample. */
  readonly costMs: number;
  /** Times are on the monotonic clock; null: no sensor reported anything. */
  readonly series?: SampledSeries | null;
  /** Processor time of the sampling thread and the commands it started; null if the kernel does not report it. */
  readonly processorMs?: number | null;
}

/** The same, and what all processes did during it. */
export interface SampledRun extends Sampled {
  readonly seconds: number;
  readonly before: ProcessTimes;
  readonly after: ProcessTimes;
}

export interface ProcessTimes {
  readonly processes: readonly ProcessTime[];
  /** Busy time of all cores since boot, in seconds; null if the kernel does not report it. */
  readonly busySeconds: number | null;
}

export interface MachineSampler extends AsyncDisposable {
  /** Ends the thread. Idempotent: a second call returns the same. */
  stop(): Promise<SampledRun>;
}

export interface SampleMachineOptions {
  /** The machine whose other processes are counted; default: this one. The thread always samples this machine. */
  readonly probe?: MachineProbe;
}

/**
 * Resolves when the thread has taken its first sample.
 * @param intervalMs between samples, >= 10; extended if a sample takes more than a tenth of it
 * @throws (rejects) OPTION_INVALID
 */
export async function sampleMachine(
  intervalMs: number,
  { probe = machineProbe }: SampleMachineOptions = {},
): Promise<MachineSampler> {
  if (!Number.isFinite(intervalMs) || intervalMs < 10)
    throw expected('OPTION_INVALID', 'milliseconds >= 10', 'intervalMs', intervalMs);
  const worker = startWorker('./samplerWorker', import.meta.url, 'machine sampler');
  // `once` rejects if the thread ends with an error
  const first = once(worker, 'message');
  worker.postMessage({ intervalMs });
  await first;
  worker.unref();
  const before = processTimes(probe);
  const start = performance.now();
  let done: Promise<SampledRun> | null = null;
  const stop = async (): Promise<SampledRun> => {
    const seconds = (performance.now() - start) / 1000;
    const after = processTimes(probe);
    worker.ref();
    const message = once(worker, 'message');
    worker.postMessage('stop');
    const [sampled] = (await message) as [Sampled];
    await worker.terminate();
    return { ...sampled, seconds, before, after };
  };
  const sampler: MachineSampler = {
    stop: () => {
      done ??= stop();
      return done;
    },
    [Symbol.asyncDispose]: async () => void (await sampler.stop()),
  };
  return sampler;
}

function processTimes(probe: MachineProbe): ProcessTimes {
  const busy = readCounters(probe).find(({ name }) => name === 'cpu-busy');
  return { processes: readProcesses(probe), busySeconds: busy?.value ?? null };
}
