/**
 * A Jetson's own monitors as the kernel's hwmon shows them, without root. Power by rail: INA3221 (Orin: voltage times current of
 * three channels) and INA238 (Thor: one rail, in microwatts); over-current events: soctherm.
 */

import { type MachineProbe, readNumber, readWord } from '../support/machineProbe.ts';
import type { Reading } from './types.ts';

/** Folders of the monitors of one kind. */
function monitors(probe: MachineProbe, ...chips: readonly string[]): string[] {
  const dirs = probe.list('/sys/class/hwmon').map((entry) => `/sys/class/hwmon/${entry}`);
  return dirs.filter((dir) => chips.includes(readWord(probe, `${dir}/name`) ?? ''));
}

/** Ends of the registers' ranges (Texas Instruments, SBOS576, 8.6.2): shunt in microvolts, bus in millivolts. */
const ina3221 = { fullScale: 163_800, largestVolts: 32_760 };

export interface PowerRails {
  /** Watts. */
  readonly rails: readonly Reading[];
  /** Names of rails over their limit. */
  readonly alarms: readonly string[];
}

/** @returns null if the machine has no such monitor */
export function readPowerRails(probe: MachineProbe): PowerRails | null {
  const rails: Reading[] = [];
  const alarms: string[] = [];
  const isOn = (file: string): boolean => readNumber(probe, file) === 1;
  for (const dir of monitors(probe, 'ina3221')) {
    for (const channel of [1, 2, 3]) {
      const label = readWord(probe, `${dir}/in${channel}_label`);
      if (label === null || label === 'NC' || readNumber(probe, `${dir}/in${channel}_enable`) === 0) continue;
      const millivolts = readNumber(probe, `${dir}/in${channel}_input`);
      const milliamperes = readNumber(probe, `${dir}/curr${channel}_input`);
      if (millivolts === null || milliamperes === null) continue;
      // at the end of its range a reading is only a lower bound of the power
      const largest = ina3221.fullScale / (readNumber(probe, `${dir}/shunt${channel}_resistor`) ?? 0);
      if (millivolts >= ina3221.largestVolts || Math.abs(milliamperes) >= largest * 1000) continue;
      rails.push({ name: label, value: (millivolts * milliamperes) / 1e6 });
      for (const limit of ['crit', 'max'])
        if (isOn(`${dir}/curr${channel}_${limit}_alarm`)) alarms.push(`${label} over its ${limit} current`);
    }
  }
  for (const dir of monitors(probe, 'ina238')) {
    const label = readWord(probe, `${dir}/label`);
    const microwatts = readNumber(probe, `${dir}/power1_input`);
    if (label === null || microwatts === null) continue;
    rails.push({ name: label, value: microwatts / 1e6 });
    if (isOn(`${dir}/power1_max_alarm`)) alarms.push(`${label} over its max power`);
  }
  return rails.length === 0 ? null : { rails, alarms };
}

/**
 * Milliseconds that the input's monitors take to measure all their channels once, including averaging; the slowest counts.
 * null if one of them does not report it (docs.kernel.org/hwmon/ina3221.html).
 */
export function readPowerPeriod(probe: MachineProbe): number | null {
  const input = inputPower(readPowerRails(probe)?.rails ?? []);
  if (input === null) return null;
  const wanted = input.from.split(' + ');
  const periods = monitors(probe, 'ina3221', 'ina238').flatMap((dir) => {
    const labels = ['label', 'in1_label', 'in2_label', 'in3_label'].map((file) =>
      readWord(probe, `${dir}/${file}`),
    );
    const isInput = labels.some((label) => label !== null && wanted.includes(label));
    return isInput ? [readNumber(probe, `${dir}/update_interval`) ?? 0] : [];
  });
  return periods.every((period) => period > 0) ? Math.max(...periods) : null;
}

/** Rails that together are the module's input, for boards without a single rail for it; the first set present is used. */
const inputs: readonly (readonly string[])[] = [
  ['VDD_IN'], // Orin NX, Orin Nano: the module
  ['VIN'], // Thor: the developer kit's input
  ['VDD_GPU_SOC', 'VDD_CPU_CV', 'VIN_SYS_5V0'], // AGX Orin: the module's two supplies, the first in two rails
  ['VDD_GPU', 'VDD_CPU_SOC_MSS', 'VIN_SYS_5V0'], // Thor without the kit's monitor
];

/** Watts going in, and from which rails; null if the board has no such set. */
export function inputPower(
  rails: readonly Reading[],
): { readonly watts: number; readonly from: string } | null {
  const watts = new Map(rails.map(({ name, value }) => [name, value]));
  const names = inputs.find((set) => set.every((name) => watts.has(name)));
  if (names === undefined) return null;
  return { watts: names.reduce((sum, name) => sum + watts.get(name)!, 0), from: names.join(' + ') };
}

/** The power from which energy is computed: the input, else the GPU card alone; null: no power sensor. */
export function energySource(
  power: readonly Reading[],
): { readonly sensor: string; readonly words: string } | null {
  const input = inputPower(power);
  if (input !== null)
    return { sensor: 'total', words: `${input.from}, sampled from the board's power monitors` };
  const words = 'the GPU card (power.draw of nvidia-smi) alone, without the rest of the machine';
  return power.some(({ name }) => name === 'gpu-board') ? { sensor: 'gpu-board', words } : null;
}

/** Over-current events since boot: oc1 under-voltage, oc2 average and oc3 instantaneous over-current. */
export function overCurrentEvents(probe: MachineProbe): Reading[] {
  return monitors(probe, 'soctherm_oc').flatMap((dir) =>
    ['oc1_event_cnt', 'oc2_event_cnt', 'oc3_event_cnt'].flatMap((name) => {
      const value = readNumber(probe, `${dir}/${name}`);
      return value === null ? [] : [{ name, value }];
    }),
  );
}
