/** Clocks and their ranges from sysfs, in MHz, and GPU load: cores by cpufreq, GPU and memory by devfreq. No root needed. */

import { type MachineProbe, readNumber } from '../support/machineProbe.ts';
import { onlineCores } from './board.ts';
import type { ClockRange, Reading } from './types.ts';

const devfreqRoot = '/sys/class/devfreq';

/** devfreq names by board: Orin `17000000.gpu` (earlier `...ga10b`), Thor `gpu-gpc-0`, and `bwmgr` for the memory. */
function devfreqDomains(probe: MachineProbe): { readonly name: string; readonly dir: string }[] {
  return probe.list(devfreqRoot).flatMap((entry) => {
    const dir = `${devfreqRoot}/${entry}`;
    if (/\.(gpu|ga10b|gv11b)$/.test(entry)) return [{ name: 'gpu', dir }];
    if (/^gpu-[a-z]+-\d+$/.test(entry)) return [{ name: entry, dir }];
    return entry === 'bwmgr' || /(^|\.)emc$/.test(entry) ? [{ name: 'emc', dir }] : [];
  });
}

/** By clock domain the files of its current value, minimum and maximum, and the file's value per MHz. */
function sources(probe: MachineProbe) {
  return [
    ...onlineCores(probe).map(({ name, dir }) => ({
      name,
      current: [`${dir}/cpufreq/scaling_cur_freq`, `${dir}/cpufreq/cpuinfo_cur_freq`],
      ends: [`${dir}/cpufreq/scaling_min_freq`, `${dir}/cpufreq/scaling_max_freq`],
      scale: 1e3,
    })),
    ...devfreqDomains(probe).map(({ name, dir }) => ({
      name,
      current: [`${dir}/cur_freq`],
      ends: [`${dir}/min_freq`, `${dir}/max_freq`],
      scale: 1e6,
    })),
  ];
}

export function readClocks(probe: MachineProbe): Reading[] {
  return sources(probe).flatMap(({ name, current, scale }) => {
    for (const path of current) {
      const value = readNumber(probe, path);
      if (value !== null && value > 0) return [{ name, value: value / scale }];
    }
    return [];
  });
}

export function readClockRanges(probe: MachineProbe): ClockRange[] {
  return sources(probe).flatMap(({ name, ends, scale }) => {
    const [min, max] = ends.map((path) => readNumber(probe, path));
    return min == null || max == null ? [] : [{ name, min: min / scale, max: max / scale }];
  });
}

/** In percent. A Jetson's GPU reports thousandths next to its clock; other machines report nothing here. */
export function readLoads(probe: MachineProbe): Reading[] {
  return devfreqDomains(probe).flatMap(({ name, dir }) => {
    const thousandths = name.startsWith('gpu') ? readNumber(probe, `${dir}/device/load`) : null;
    return thousandths === null ? [] : [{ name, value: thousandths / 10 }];
  });
}

/** Whether the clocks of cores and GPU are fixed; null if either is unknown. */
export function areClocksHeld(ranges: readonly ClockRange[]): boolean | null {
  const parts = ['cpu', 'gpu'].map((kind) => ranges.filter(({ name }) => name.startsWith(kind)));
  if (parts.some((some) => some.length === 0)) return null;
  return parts.flat().every(({ min, max }) => min === max);
}
