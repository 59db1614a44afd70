/** Temperatures, and the temperatures at which the kernel slows the machine down. */

import { type MachineProbe, readNumber, readWord } from '../support/machineProbe.ts';
import type { Reading } from './types.ts';

const root = '/sys/class/thermal';

/** `cpu-thermal` -> `cpu`, the name that tegrastats uses. */
const zoneName = (type: string): string => type.replace(/[-_]thermal$/i, '').toLowerCase();

function zones(probe: MachineProbe): { readonly dir: string; readonly name: string }[] {
  return probe.list(root).flatMap((entry) => {
    const dir = `${root}/${entry}`;
    const type = /^thermal_zone\d+$/.test(entry) ? readWord(probe, `${dir}/type`) : null;
    return type === null ? [] : [{ dir, name: zoneName(type) }];
  });
}

/** Degrees Celsius by zone. The zone of a part that is switched off cannot be read and is left out. */
export function readTemperatures(probe: MachineProbe): Reading[] {
  return zones(probe).flatMap(({ dir, name }) => {
    const value = readNumber(probe, `${dir}/temp`);
    return value === null || value <= -250_000 ? [] : [{ name, value: value / 1000 }];
  });
}

/** By zone: the lowest trip point that slows something (`passive`, `hot`) or switches it off (`critical`); fans do not count. */
export function readTemperatureLimits(probe: MachineProbe): Reading[] {
  return zones(probe).flatMap(({ dir, name }) => {
    const limits = probe.list(dir).flatMap((file) => {
      const trip = /^(trip_point_\d+)_type$/.exec(file)?.[1];
      if (trip === undefined) return [];
      const kind = readWord(probe, `${dir}/${file}`);
      const value = readNumber(probe, `${dir}/${trip}_temp`);
      // an unset trip point reads as 0 or below
      return value !== null && value > 0 && ['passive', 'hot', 'critical'].includes(kind ?? '')
        ? [value]
        : [];
    });
    return limits.length === 0 ? [] : [{ name, value: Math.min(...limits) / 1000 }];
  });
}
