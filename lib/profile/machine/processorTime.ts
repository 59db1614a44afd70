/** Processor time of the calling thread and of processes it started. */

import type { MachineProbe } from '../../support/machineProbe.ts';
import { parseProcessStat } from './processes.ts';

/** The first number is nanoseconds on a processor (Documentation/scheduler/sched-stats.rst); null if the kernel does not count. */
export function threadProcessorMs(probe: MachineProbe): number | null {
  const [ran] = (probe.readText('/proc/thread-self/schedstat') ?? '').split(' ', 1);
  return ran === undefined || !/^\d+$/.test(ran) ? null : Number(ran) / 1e6;
}

/** The kernel counts in ticks of 10 ms; a process that has ended counts as 0. */
export function childProcessorMs(probe: MachineProbe, pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const text = probe.readText(`/proc/${pid}/stat`);
    return sum + 1000 * ((text === null ? null : parseProcessStat(text))?.seconds ?? 0);
  }, 0);
}
