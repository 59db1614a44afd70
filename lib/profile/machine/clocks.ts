/** Clocks and their ranges from sysfs, in MHz, and GPU load: cores by cpufreq, GPU and memory by devfreq. No root needed. */

import { type MachineProbe, readNumber, readWord } from '../../support/machineProbe.ts';
import type { ClockRange, Reading } from '../types.ts';

const cpuRoot = '/sys/devices/system/cpu';
const devfreqRoot = '/sys/class/devfreq';

/** devfreq names by board: Orin `17000000.gpu` (earlier `...ga10b`), Thor `gpu-gpc-0`, and `bwmgr` for the memory. */
function domainOf(entry: string): string | null {
  if (/\.(gpu|ga10b|gv11b)$/.test(entry)) return 'gpu';
  if (/^gpu-[a-z]+-\d+$/.test(entry)) return entry;
  return entry === 'bwmgr' || /(^|\.)emc$/.test(entry) ? 'emc' : null;
}

interface Source {
  readonly name: string;
  readonly current: readonly string[];
  readonly min: string;
  readonly max: string;
  /** File value per MHz. */
  readonly scale: number;
}

function sources(probe: MachineProbe): Source[] {
  const cores = probe
    .list(cpuRoot)
    .filter((entry) => /^cpu\d+$/.test(entry) && readNumber(probe, `${cpuRoot}/${entry}/online`) !== 0)
    .sort((a, b) => Number(a.slice(3)) - Number(b.slice(3)))
    .map((entry) => {
      const dir = `${cpuRoot}/${entry}/cpufreq`;
      const current = [`${dir}/scaling_cur_freq`, `${dir}/cpuinfo_cur_freq`];
      return {
        name: entry,
        current,
        min: `${dir}/scaling_min_freq`,
        max: `${dir}/scaling_max_freq`,
        scale: 1e3,
      };
    });
  const devices = probe.list(devfreqRoot).flatMap((entry) => {
    const name = domainOf(entry);
    const dir = `${devfreqRoot}/${entry}`;
    return name === null
      ? []
      : [{ name, current: [`${dir}/cur_freq`], min: `${dir}/min_freq`, max: `${dir}/max_freq`, scale: 1e6 }];
  });
  return [...cores, ...devices];
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
  return sources(probe).flatMap(({ name, min, max, scale }) => {
    const [low, high] = [readNumber(probe, min), readNumber(probe, max)];
    return low === null || high === null ? [] : [{ name, min: low / scale, max: high / scale }];
  });
}

/** In percent. A Jetson's GPU reports thousandths next to its clock; other machines report nothing here. */
export function readLoads(probe: MachineProbe): Reading[] {
  return probe.list(devfreqRoot).flatMap((entry) => {
    const name = domainOf(entry);
    if (name === null || !name.startsWith('gpu')) return [];
    const thousandths = readNumber(probe, `${devfreqRoot}/${entry}/device/load`);
    return thousandths === null ? [] : [{ name, value: thousandths / 10 }];
  });
}

/** For example `performance`; several, separated by commas, if cores differ; null without cpufreq (most virtual machines). */
export function readGovernor(probe: MachineProbe): string | null {
  const names = new Set<string>();
  for (const entry of probe.list(cpuRoot)) {
    if (!/^cpu\d+$/.test(entry)) continue;
    const governor = readWord(probe, `${cpuRoot}/${entry}/cpufreq/scaling_governor`);
    if (governor !== null) names.add(governor);
  }
  return names.size === 0 ? null : [...names].sort().join(',');
}

/** Whether the clocks of cores and GPU are fixed; null if either is unknown. */
export function areClocksHeld(ranges: readonly ClockRange[]): boolean | null {
  const cores = ranges.filter(({ name }) => name.startsWith('cpu'));
  const gpus = ranges.filter(({ name }) => name.startsWith('gpu'));
  if (cores.length === 0 || gpus.length === 0) return null;
  return [...cores, ...gpus].every(({ min, max }) => min === max);
}
