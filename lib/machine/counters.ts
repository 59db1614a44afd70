/** Counters since boot whose growth over a run shows what happened during it: throttling, and who used the processor. */

import { type MachineProbe, readNumber } from '../support/machineProbe.ts';
import { onlineCores } from './board.ts';
import { overCurrentEvents } from './hwmon.ts';
import type { Reading } from './types.ts';

/** /proc counts in ticks of USER_HZ, which is 100 on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** Seconds of all cores together: `cpu-busy` (not idle, not waiting for disks, not stolen) and `cpu-steal`. */
export function parseProcStat(text: string): Reading[] | null {
  const match = /^cpu +((?:\d+ ?){8,})/m.exec(text);
  if (match === null) return null;
  const ticks = match[1]!.trim().split(' ').map(Number);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = ticks;
  return [
    { name: 'cpu-busy', value: (user + nice + system + irq + softirq) / ticksPerSecond },
    { name: 'cpu-steal', value: steal / ticksPerSecond },
  ];
}

export function readCounters(probe: MachineProbe): Reading[] {
  // x86 counts how often each core was slowed for its temperature; cores share a package, so the largest count is used
  const throttles = onlineCores(probe).flatMap(
    ({ dir }) => readNumber(probe, `${dir}/thermal_throttle/core_throttle_count`) ?? [],
  );
  return [
    ...(parseProcStat(probe.readText('/proc/stat') ?? '') ?? []),
    ...overCurrentEvents(probe),
    ...(throttles.length === 0 ? [] : [{ name: 'core_throttle_count', value: Math.max(...throttles) }]),
  ];
}

const meanings: Readonly<Record<string, string>> = {
  oc1_event_cnt: 'under-voltage',
  oc2_event_cnt: 'average over-current',
  oc3_event_cnt: 'instantaneous over-current',
  core_throttle_count: 'cores slowed for their temperature',
};

/** By how much a counter grew; null if it was not read at both times. */
export function growth(
  before: readonly Reading[] | undefined,
  after: readonly Reading[] | undefined,
  name: string,
): number | null {
  const [first, last] = [before, after].map((some) => some?.find((reading) => reading.name === name)?.value);
  return first === undefined || last === undefined ? null : last - first;
}

/** Throttling counters that increased: `instantaneous over-current (179 times)`. */
export function grownCounters(before: readonly Reading[], after: readonly Reading[]): string[] {
  return Object.entries(meanings).flatMap(([name, meaning]) => {
    const times = growth(before, after, name) ?? 0;
    return times > 0 ? [`${meaning} (${times} times)`] : [];
  });
}

export interface ProcessTime {
  readonly pid: number;
  readonly parent: number;
  readonly name: string;
  /** CPU seconds since the process began. */
  readonly seconds: number;
}

/** @param text of /proc/PID/stat; the name is in parentheses and may itself contain parentheses and spaces */
export function parseProcessStat(text: string): ProcessTime | null {
  const match = /^(\d+) \((.*)\) (\S) (.*)$/s.exec(text.trimEnd());
  if (match === null) return null;
  const rest = match[4]!.split(' ').map(Number);
  const [parent, user, system] = [rest[0], rest[10], rest[11]];
  if (parent === undefined || user === undefined || system === undefined) return null;
  return { pid: Number(match[1]), parent, name: match[2]!, seconds: (user + system) / ticksPerSecond };
}

/** @param pids default: all processes. One that has ended is left out */
export function readProcesses(probe: MachineProbe, pids?: readonly number[]): ProcessTime[] {
  const names = pids?.map(String) ?? probe.list('/proc').filter((entry) => /^\d+$/.test(entry));
  return names.flatMap((pid) => parseProcessStat(probe.readText(`/proc/${pid}/stat`) ?? '') ?? []);
}

/** Processes below this percentage of one core are not named. */
const leastPercent = 5;

/**
 * @param own pid of this process
 * @param seconds between the two readings
 * @returns CPU seconds of this process and its descendants, and the busiest others by name, in percent of one core
 */
export function processShares(
  before: readonly ProcessTime[],
  after: readonly ProcessTime[],
  own: number,
  seconds: number,
): { readonly ownSeconds: number; readonly others: readonly Reading[] } {
  const parents = new Map(after.map(({ pid, parent }) => [pid, parent]));
  const isOwn = (pid: number): boolean => {
    const seen = new Set<number>();
    for (let at: number | undefined = pid; at !== undefined && !seen.has(at); at = parents.get(at)) {
      if (at === own) return true;
      seen.add(at);
    }
    return false;
  };
  const earlier = new Map(before.map(({ pid, seconds: used }) => [pid, used]));
  const byName = new Map<string, number>();
  let ownSeconds = 0;
  for (const { pid, name, seconds: used } of after) {
    const spent = used - (earlier.get(pid) ?? 0);
    if (isOwn(pid)) ownSeconds += spent;
    else byName.set(name, (byName.get(name) ?? 0) + (100 * spent) / seconds);
  }
  const others = [...byName]
    .filter(([, percent]) => percent >= leastPercent)
    .sort((a, b) => b[1] - a[1])
    .slice(0, 5)
    .map(([name, value]) => ({ name, value: Math.round(value) }));
  return { ownSeconds, others };
}
