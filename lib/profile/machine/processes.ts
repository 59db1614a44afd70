/** Which other processes use the CPU: CPU seconds by process, to compare the start of a run with its end. */

import type { MachineProbe } from '../../support/machineProbe.ts';
import type { Reading } from '../types.ts';

export interface ProcessTime {
  readonly pid: number;
  readonly parent: number;
  readonly name: string;
  /** CPU seconds since the process began. */
  readonly seconds: number;
}

const ticksPerSecond = 100;

/** @param text of /proc/PID/stat; the name is in parentheses and may itself contain parentheses and spaces */
export function parseProcessStat(text: string): ProcessTime | null {
  const match = /^(\d+) \((.*)\) (\S) (.*)$/s.exec(text.trimEnd());
  if (match === null) return null;
  const rest = match[4]!.split(' ').map(Number);
  const [parent, user, system] = [rest[0], rest[10], rest[11]];
  if (parent === undefined || user === undefined || system === undefined) return null;
  return { pid: Number(match[1]), parent, name: match[2]!, seconds: (user + system) / ticksPerSecond };
}

export function readProcesses(probe: MachineProbe): ProcessTime[] {
  return probe.list('/proc').flatMap((entry) => {
    const text = /^\d+$/.test(entry) ? probe.readText(`/proc/${entry}/stat`) : null;
    const process = text === null ? null : parseProcessStat(text);
    return process === null ? [] : [process];
  });
}

export interface ProcessShares {
  /** CPU seconds of this process and its descendants. */
  readonly ownSeconds: number;
  /** The busiest others by name, in percent of one core, largest first. */
  readonly others: readonly Reading[];
}

/** Processes below this percentage of one core are not named. */
const leastPercent = 5;

/**
 * @param own pid of this process
 * @param seconds between the two readings
 */
export function processShares(
  before: readonly ProcessTime[],
  after: readonly ProcessTime[],
  own: number,
  seconds: number,
): ProcessShares {
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
