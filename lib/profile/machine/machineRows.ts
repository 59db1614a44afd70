/** Describes the machine in rows for people: `doctor`, `bench` and the report print the same. */

import type { MachineSnapshot, MachineState, Reading } from '../types.ts';
import { rangesOf, throttlingOf } from './seenInRun.ts';
import { energyText } from './subjectEnergy.ts';

export type MachineRow = readonly [label: string, value: string];

const list = (readings: readonly Reading[], unit: string, digits: number): string =>
  readings.map(({ name, value }) => `${name} ${value.toFixed(digits)} ${unit}`).join(', ');

/** What the machine is and how it is set. What it does not report has no row. */
export function settingRows(machine: MachineState): MachineRow[] {
  const { board, cpu, gpu, jetpack, powerMode, clocksLocked, clockRanges = [], os, virtual } = machine;
  const gpuFacts = gpu && [
    gpu.name,
    gpu.computeCapability && `SM ${gpu.computeCapability}`,
    gpu.driver && `driver ${gpu.driver}`,
    gpu.memoryBytes && `${(gpu.memoryBytes / 2 ** 30).toFixed(1)} GiB`,
  ];
  const tops = clockRanges
    .filter(({ name }) => !/^cpu[1-9]/.test(name))
    .map(({ name, min, max }) => `${name} ${Math.round(min)}..${Math.round(max)} MHz`)
    .join(', ');
  const clocks =
    clocksLocked === null ? tops : `${clocksLocked ? 'held' : 'not held'}${tops === '' ? '' : `: ${tops}`}`;
  const rows: readonly (readonly [string, string | null | undefined])[] = [
    ['board', board === 'unknown' ? (virtual ?? board) : board],
    ['software', [os, jetpack].filter((part) => part).join(', ')],
    ['CPU', `${cpu.model}, ${cpu.cores} cores${cpu.governor === null ? '' : `, governor ${cpu.governor}`}`],
    ['GPU', gpuFacts?.filter((part) => part).join(', ')],
    ['power mode', powerMode],
    ['clocks', clocks],
  ];
  return rows.flatMap(([label, value]) => (value ? [[label, value] as const] : []));
}

function momentRows(label: string, snapshot: MachineSnapshot): MachineRow[] {
  const { temperatures, clocks, power, load, memoryFreeBytes } = snapshot;
  // one core represents all
  const shown = clocks.filter(({ name }) => !/^cpu[1-9]/.test(name));
  const parts = [
    list(temperatures, '°C', 1),
    list(shown, 'MHz', 0),
    list(power, 'W', 1),
    load === null ? '' : `load ${load.toFixed(2)} a core`,
    memoryFreeBytes === null ? '' : `${(memoryFreeBytes / 1e9).toFixed(1)} GB free`,
  ].filter((part) => part !== '');
  return parts.length === 0 ? [] : [[label, parts.join('; ')]];
}

/** Whether throttling would have been visible: through alarms of rails, counters, or a GPU's reasons. */
function tellsThrottling({ start, gpu }: MachineState): boolean {
  const counts = (start.counters ?? []).some(({ name }) => !name.startsWith('cpu-'));
  return counts || start.power.length > 0 || gpu !== null;
}

/** Settings, start, end, throttling, energy and the cost of sampling. */
export function machineRows(machine: MachineState): MachineRow[] {
  const { start, end, energy, sampling } = machine;
  const throttling = throttlingOf(machine);
  const hottest = rangesOf(machine, 'temperature').map(({ name, max }) => ({ name, value: max }));
  return [
    ...settingRows(machine),
    ...momentRows('at the start', start),
    ...(end === null ? [] : momentRows('at the end', end)),
    ...(hottest.length === 0 ? [] : [['hottest', list(hottest, '°C', 1)] as const]),
    ...(end === null
      ? []
      : [
          [
            'throttling',
            throttling.length > 0
              ? throttling.join(', ')
              : tellsThrottling(machine)
                ? 'none seen'
                : 'not told',
          ] as const,
        ]),
    ...(energy === null ? [] : [['energy', energyText(energy)] as const]),
    ...(sampling
      ? [
          [
            'watching',
            `${sampling.samples} samples, ${sampling.costMs.toFixed(2)} ms each on a thread of its own, ${sampling.costPercent.toFixed(2)} % of a core${sampling.costIs === undefined ? '' : ` (${sampling.costIs})`}`,
          ] as const,
        ]
      : []),
  ];
}
