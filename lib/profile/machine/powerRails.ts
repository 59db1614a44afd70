/**
 * Power by rail from the board's own monitors: INA3221 (Orin: voltage times current of three channels) and INA238 (Thor:
 * one rail, in microwatts), as the kernel's hwmon shows them, without root.
 */

import { type MachineProbe, readNumber, readWord } from '../../support/machineProbe.ts';
import type { Reading } from '../types.ts';

const root = '/sys/class/hwmon';

/** Registers (Texas Instruments, SBOS576, 8.6.2): shunt of 12 bits and a sign in 40 microvolts, bus in 8 millivolts. */
const ina3221 = { shuntStep: 40, fullScale: 163_800, busStep: 8, largestVolts: 32_760 };

export interface PowerRails {
  /** Watts. */
  readonly rails: readonly Reading[];
  /** Names of rails over their current limit. */
  readonly alarms: readonly string[];
  /** `INA3221`, `INA3221 and INA238`. */
  readonly source: string;
}

/** @returns null where the machine has no such monitor */
export function readPowerRails(probe: MachineProbe): PowerRails | null {
  const rails: Reading[] = [];
  const alarms: string[] = [];
  const chips = new Set<string>();
  for (const entry of probe.list(root)) {
    const dir = `${root}/${entry}`;
    const chip = readWord(probe, `${dir}/name`);
    if (chip === 'ina3221') readIna3221(probe, dir, rails, alarms);
    else if (chip === 'ina238') readIna238(probe, dir, rails, alarms);
    else continue;
    chips.add(chip.toUpperCase());
  }
  return rails.length === 0 ? null : { rails, alarms, source: [...chips].sort().join(' and ') };
}

function readIna3221(probe: MachineProbe, dir: string, rails: Reading[], alarms: string[]): void {
  for (const channel of [1, 2, 3]) {
    const label = readWord(probe, `${dir}/in${channel}_label`);
    if (label === null || label === 'NC' || readNumber(probe, `${dir}/in${channel}_enable`) === 0) continue;
    const millivolts = readNumber(probe, `${dir}/in${channel}_input`);
    const milliamperes = readNumber(probe, `${dir}/curr${channel}_input`);
    if (millivolts === null || milliamperes === null) continue;
    // at the end of its range it tells a lower bound, not the power
    const largest = ina3221.fullScale / (readNumber(probe, `${dir}/shunt${channel}_resistor`) ?? 0);
    if (millivolts >= ina3221.largestVolts || Math.abs(milliamperes) >= largest * 1000) continue;
    rails.push({ name: label, value: (millivolts * milliamperes) / 1e6 });
    for (const limit of ['crit', 'max']) {
      if (readNumber(probe, `${dir}/curr${channel}_${limit}_alarm`) === 1)
        alarms.push(`${label} over its ${limit} current`);
    }
  }
}

/** What a monitor itself is able to tell. */
export interface RailLimits {
  readonly name: string;
  /** Time in which it measures all its channels once, with its averaging, milliseconds. */
  readonly periodMs: number | null;
  /** Watts of its smallest step, at the voltage and the current of now. */
  readonly step: number | null;
}

/** Rails of INA3221 whose kernel tells the shunts; the others do not say (docs.kernel.org/hwmon/ina3221.html). */
export function readRailLimits(probe: MachineProbe): RailLimits[] {
  return probe.list(root).flatMap((entry) => {
    const dir = `${root}/${entry}`;
    if (readWord(probe, `${dir}/name`) !== 'ina3221') return [];
    const interval = readNumber(probe, `${dir}/update_interval`);
    return [1, 2, 3].flatMap((channel): RailLimits[] => {
      const name = readWord(probe, `${dir}/in${channel}_label`);
      if (name === null || name === 'NC') return [];
      const read = (file: string): number | null => readNumber(probe, `${dir}/${file}`);
      const ohms = read(`shunt${channel}_resistor`);
      const millivolts = read(`in${channel}_input`);
      const milliamperes = read(`curr${channel}_input`);
      const known = ohms !== null && ohms > 0 && millivolts !== null && milliamperes !== null;
      const step = known
        ? ((ina3221.shuntStep / ohms) * millivolts) / 1000 + (ina3221.busStep * Math.abs(milliamperes)) / 1e6
        : null;
      return [{ name, periodMs: interval !== null && interval > 0 ? interval : null, step }];
    });
  });
}

function readIna238(probe: MachineProbe, dir: string, rails: Reading[], alarms: string[]): void {
  const label = readWord(probe, `${dir}/label`);
  const microwatts = readNumber(probe, `${dir}/power1_input`);
  if (label === null || microwatts === null) return;
  rails.push({ name: label, value: microwatts / 1e6 });
  if (readNumber(probe, `${dir}/power1_max_alarm`) === 1) alarms.push(`${label} over its max power`);
}

/** Rails that together are the module's input, where no single rail is; the first set that is there counts. */
const inputs: readonly (readonly string[])[] = [
  ['VDD_IN'], // Orin NX, Orin Nano: the module
  ['VIN'], // Thor: the developer kit's input
  ['VDD_GPU_SOC', 'VDD_CPU_CV', 'VIN_SYS_5V0'], // AGX Orin: the module's two supplies, the first in two rails
  ['VDD_GPU', 'VDD_CPU_SOC_MSS', 'VIN_SYS_5V0'], // Thor without the kit's monitor
];

/** Watts that go in, and from which rails; null where the board has no such set. */
export function inputPower(
  rails: readonly Reading[],
): { readonly watts: number; readonly from: string } | null {
  for (const names of inputs) {
    const found = names.map((name) => rails.find((rail) => rail.name === name));
    if (found.some((rail) => rail === undefined)) continue;
    return { watts: found.reduce((sum, rail) => sum + rail!.value, 0), from: names.join(' + ') };
  }
  return null;
}
