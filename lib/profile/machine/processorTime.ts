/** Processor time of the calling thread and of processes that it started. */

import type { MachineProbe } from '../../support/machineProbe.ts';
import { parseProcessStat } from './processes.ts';

/** Nanoseconds on a processor come first (Documentation/scheduler/sched-stats.rst); null where the kernel does not count. */
export function threadProcessorMs(probe: MachineProbe): number | null {
  const [ran] = (probe.readText('/proc/thread-self/schedstat') ?? '').split(' ', 1);
  return ran === undefined || !/^\d+$/.test(ran) ? null : Number(ran) / 1e6;
}

/** In ticks of 10 ms; a process that has ended counts as nothing. */
export function childProcessorMs(probe: MachineProbe, pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const text = probe.readText(`/proc/${pid}/stat`);
    return sum + 1000 * ((text === null ? null : parseProcessStat(text))?.seconds ?? 0);
  }, 0);
}
