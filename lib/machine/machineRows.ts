/** Describes the machine in rows for people: `doctor`, `bench` and the report print the same. */

import { grownCounters } from './counters.ts';
import { energyText } from './subjectEnergy.ts';
import type { ClockRange, MachineSnapshot, MachineState, Reading, SensorSeries } from './types.ts';

/** Label and text. */
export type MachineRow = readonly [label: string, value: string];

/** Lowest and highest value of each sensor of a kind; empty if nothing was sampled. */
export function rangesOf({ series }: MachineState, kind: SensorSeries['kind']): ClockRange[] {
  return (series?.sensors ?? []).flatMap((sensor) => {
    const known = sensor.values.filter((value) => value !== null);
    return sensor.kind !== kind || known.length === 0
      ? []
      : [{ name: sensor.name, min: Math.min(...known), max: Math.max(...known) }];
  });
}

/** Everything that slowed the machine during the run, according to alarms, reasons and counters. */
export function throttlingOf({ start, end, series }: MachineState): string[] {
  const grown = end === null ? [] : grownCounters(start.counters ?? [], end.counters ?? []);
  const sampled = (series?.throttling ?? []).map(({ reason }) => reason);
  const counted = sampled.filter((reason) => !grown.some((words) => words.startsWith(`${reason} (`)));
  return [...new Set([...start.throttling, ...(end?.throttling ?? []), ...counted, ...grown])];
}

/** `cpu0 730..2202 MHz, gpu 306..1301 MHz` */
export const rangesText = (ranges: readonly ClockRange[]): string =>
  ranges.map(({ name, min, max }) => `${name} ${Math.round(min)}..${Math.round(max)} MHz`).join(', ');

/** One core represents all. */
export const isShownClock = ({ name }: { readonly name: string }): boolean => !/^cpu[1-9]/.test(name);

const list = (readings: readonly Reading[], unit: string, digits: number): string =>
  readings.map(({ name, value }) => `${name} ${value.toFixed(digits)} ${unit}`).join(', ');

/** Without rows that have nothing to say. */
const rowsOf = (rows: Readonly<Record<string, string | null | undefined>>): MachineRow[] =>
  Object.entries(rows).flatMap(([label, value]) => (value ? [[label, value] as const] : []));

/**
 * What the machine is and how it is set, as label and text. What it does not report has no row.
 *
 * @param machine as `readMachine` finds it
 * @throws never
 */
export function settingRows(machine: MachineState): MachineRow[] {
  const { board, cpu, gpu, jetpack, powerMode, clocksLocked, clockRanges = [], os, virtual } = machine;
  const gpuFacts = gpu && [
    gpu.name,
    gpu.computeCapability && `SM ${gpu.computeCapability}`,
    gpu.driver && `driver ${gpu.driver}`,
    gpu.memoryBytes && `${(gpu.memoryBytes / 2 ** 30).toFixed(1)} GiB`,
  ];
  const held = clocksLocked === null ? '' : clocksLocked ? 'held' : 'not held';
  return rowsOf({
    board: board === 'unknown' ? (virtual ?? board) : board,
    software: [os, jetpack].filter(Boolean).join(', '),
    CPU: `${cpu.model}, ${cpu.cores} cores${cpu.governor === null ? '' : `, governor ${cpu.governor}`}`,
    GPU: gpuFacts?.filter(Boolean).join(', '),
    'power mode': powerMode,
    clocks: [held, rangesText(clockRanges.filter(isShownClock))].filter(Boolean).join(': '),
  });
}

function momentText({ temperatures, clocks, power, load, memoryFreeBytes }: MachineSnapshot): string {
  const parts = [
    list(temperatures, '°C', 1),
    list(clocks.filter(isShownClock), 'MHz', 0),
    list(power, 'W', 1),
    load === null ? '' : `load ${load.toFixed(2)} a core`,
    memoryFreeBytes === null ? '' : `${(memoryFreeBytes / 1e9).toFixed(1)} GB free`,
  ];
  return parts.filter(Boolean).join('; ');
}

/**
 * Settings, start, end, throttling, energy and the cost of sampling, as label and text with units.
 *
 * @param machine over a run
 * @throws never
 */
export function machineRows(machine: MachineState): MachineRow[] {
  const { start, end, gpu, energy, sampling } = machine;
  // through alarms of rails, counters, or a GPU's reasons
  const isVisible =
    (start.counters ?? []).some(({ name }) => !name.startsWith('cpu-')) || start.power.length > 0 || gpu;
  const hottest = rangesOf(machine, 'temperature').map(({ name, max }) => ({ name, value: max }));
  return [
    ...settingRows(machine),
    ...rowsOf({
      'at the start': momentText(start),
      'at the end': end && momentText(end),
      hottest: list(hottest, '°C', 1),
      throttling: end && (throttlingOf(machine).join(', ') || (isVisible ? 'none seen' : 'not told')),
      energy: energy && energyText(energy),
      watching:
        sampling &&
        `${sampling.samples} samples, ${sampling.costMs.toFixed(2)} ms each on a thread of its own, ${sampling.costPercent.toFixed(2)} % of a core`,
    }),
  ];
}
