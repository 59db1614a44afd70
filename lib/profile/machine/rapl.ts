/**
 * Energy counters of x86 processors (RAPL) by the kernel's powercap: microjoules since some moment, wrapping at
 * `max_energy_range_uj`. Since Linux 5.10 only root reads them. https://docs.kernel.org/power/powercap/powercap.html
 */

import { type MachineProbe, readNumber, readWord } from '../../support/machineProbe.ts';
import type { Reading } from '../types.ts';

const root = '/sys/class/powercap';

export interface EnergyCounter {
  /** `cpu-package-0` */
  readonly name: string;
  readonly microjoules: number;
  /** Where it begins at 0 again. */
  readonly range: number;
}

/** Packages alone: cores and memory controller are inside them, and `psys` is not on every board. */
export function readEnergyCounters(probe: MachineProbe): EnergyCounter[] {
  return probe.list(root).flatMap((entry) => {
    if (!/^intel-rapl:\d+$/.test(entry)) return [];
    const dir = `${root}/${entry}`;
    const name = readWord(probe, `${dir}/name`);
    const microjoules = readNumber(probe, `${dir}/energy_uj`);
    const range = readNumber(probe, `${dir}/max_energy_range_uj`);
    if (name === null || !/^package-\d+$/.test(name) || microjoules === null || range === null) return [];
    return microjoules < 0 || microjoules > range ? [] : [{ name: `cpu-${name}`, microjoules, range }];
  });
}

/** Watts between two readings of the same counters. What is in one of them alone is left out. */
export function wattsBetween(
  before: readonly EnergyCounter[],
  after: readonly EnergyCounter[],
  seconds: number,
): Reading[] {
  if (!(seconds > 0)) return [];
  return after.flatMap(({ name, microjoules, range }) => {
    const first = before.find((counter) => counter.name === name);
    if (first === undefined) return [];
    const grown = microjoules - first.microjoules;
    return [{ name, value: (grown < 0 ? grown + range : grown) / 1e6 / seconds }];
  });
}
