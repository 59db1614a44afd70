/** Counters since boot whose growth over a run shows what happened during it. */

import { type MachineProbe, readNumber, readWord } from '../../support/machineProbe.ts';
import type { Reading } from '../types.ts';

/** /proc counts in ticks of USER_HZ, which is 100 on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** Seconds of all cores together: `cpu-busy` (not idle, not waiting for disks, not stolen) and `cpu-steal`. */
export function parseProcStat(text: string): Reading[] | null {
  const match = /^cpu +((?:\d+ ?){8,})/m.exec(text);
  if (match === null) return null;
  const ticks = match[1]!.trim().split(' ').map(Number);
  const [user, nice, system, , , irq, softirq, steal] = ticks as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  return [
    { name: 'cpu-busy', value: (user + nice + system + irq + softirq) / ticksPerSecond },
    { name: 'cpu-steal', value: steal / ticksPerSecond },
  ];
}

/** Over-current events of a Jetson: oc1 under-voltage, oc2 average and oc3 instantaneous over-current. */
function overCurrentEvents(probe: MachineProbe): Reading[] {
  const root = '/sys/class/hwmon';
  return probe.list(root).flatMap((entry) => {
    if (readWord(probe, `${root}/${entry}/name`) !== 'soctherm_oc') return [];
    return [1, 2, 3].flatMap((n) => {
      const value = readNumber(probe, `${root}/${entry}/oc${n}_event_cnt`);
      return value === null ? [] : [{ name: `oc${n}_event_cnt`, value }];
    });
  });
}

/** How often each core was slowed because of its temperature (x86). Cores share a package, so the largest count is used. */
function thermalThrottles(probe: MachineProbe): Reading[] {
  const root = '/sys/devices/system/cpu';
  let most: number | null = null;
  for (const entry of probe.list(root)) {
    if (!/^cpu\d+$/.test(entry)) continue;
    const count = readNumber(probe, `${root}/${entry}/thermal_throttle/core_throttle_count`);
    if (count !== null) most = Math.max(most ?? 0, count);
  }
  return most === null ? [] : [{ name: 'core_throttle_count', value: most }];
}

export function readCounters(probe: MachineProbe): Reading[] {
  const stat = parseProcStat(probe.readText('/proc/stat') ?? '');
  return [...(stat ?? []), ...overCurrentEvents(probe), ...thermalThrottles(probe)];
}

const meanings: Readonly<Record<string, string>> = {
  oc1_event_cnt: 'under-voltage',
  oc2_event_cnt: 'average over-current',
  oc3_event_cnt: 'instantaneous over-current',
  core_throttle_count: 'cores slowed for their temperature',
};

/** Throttling counters that increased: `instantaneous over-current (179 times)`. */
export function grownCounters(before: readonly Reading[], after: readonly Reading[]): string[] {
  return after.flatMap(({ name, value }) => {
    const meaning = meanings[name];
    const first = before.find((reading) => reading.name === name)?.value;
    return meaning === undefined || first === undefined || value <= first
      ? []
      : [`${meaning} (${value - first} times)`];
  });
}
