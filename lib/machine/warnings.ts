/** Warnings about the machine: what was seen, how it affects the numbers, and how to change it. */

import { growth } from './counters.ts';
import { isShownClock, rangesOf, rangesText, throttlingOf } from './machineRows.ts';
import { UnreadText } from './parsed.ts';
import type { MachineState, Warning } from './types.ts';

/** Beyond these limits a figure no longer shows the program alone. */
const limits = {
  /** Percent of all cores. */
  othersPercent: 5,
  /** Load average per core before anything was measured. */
  load: 0.3,
  /** Degrees below the limit. */
  degrees: 5,
  /** Percent of all cores. */
  stealPercent: 1,
  /** Percent of one core. */
  samplingPercent: 2,
  /** Highest over lowest clock. */
  clockMove: 1.05,
};

type Rule = (machine: MachineState) => string | null;

const percent = (value: number): string => `${value.toFixed(value < 10 ? 1 : 0)} %`;

const rules: Readonly<Record<string, Rule>> = {
  'clocks-unlocked': (machine) => {
    const { clocksLocked, clockRanges = [], jetpack } = machine;
    const isMain = ({ name }: { readonly name: string }): boolean =>
      /^(cpu0|cpu|cpu fastest|gpu|gpu-gpc-0|emc)$/.test(name);
    const free = clockRanges.filter((range) => isMain(range) && range.min < range.max);
    const moved = rangesOf(machine, 'clock').filter(
      (range) => isMain(range) && range.min > 0 && range.max > range.min * limits.clockMove,
    );
    // a desktop does not report whether its clocks are held, but shows it if they moved
    if (clocksLocked === true || (clocksLocked === null && moved.length === 0)) return null;
    const shown = rangesText(clocksLocked === false ? free : moved);
    const seen = clocksLocked === false ? 'The clocks are free to move' : 'The clocks moved during the run';
    const hold =
      jetpack === null
        ? 'sudo nvidia-smi -lgc MHZ,MHZ   (undone by sudo nvidia-smi -rgc)'
        : 'sudo jetson_clocks   (a restart undoes it)';
    return `${seen}${shown === '' ? '' : ` (${shown})`}: the same program is slower after a pause than under load, short runs look slow and the spread grows. ${hold}`;
  },
  throttled: (machine) => {
    const reasons = throttlingOf(machine).join(', ');
    const mode = machine.jetpack === null ? '' : ': sudo nvpmodel -m ID';
    return reasons === ''
      ? null
      : `The machine was slowed down: ${reasons}. The figures are those of the slowed machine and change with cooling and supply. Cool it, use the supply that came with it, or take a lower power mode${mode}; then measure again`;
  },
  'board-text': ({ start, end, series }) => {
    const unread = new UnreadText();
    for (const part of [start, end, series]) for (const text of part?.unread ?? []) unread.add(text);
    return unread.texts.length === 0
      ? null
      : `Tools of this board printed what is not known here (${unread.texts.join('; ')}). It was passed over, and everything else of it counts; if a figure is missing for it, please report the whole line`;
  },
  'power-mode': ({ powerMode }) =>
    powerMode === null || powerMode.startsWith('MAXN')
      ? null
      : `The power mode is ${powerMode}, not MAXN: cores are off or clocks are capped, and figures of another mode are not comparable. What modes there are: sudo nvpmodel -p --verbose; to change: sudo nvpmodel -m 0 (it may ask for a restart)`,
  'governor-powersave': ({ cpu: { governor } }) =>
    governor?.split(',').includes('powersave')
      ? 'The CPU governor is powersave: the host stages (decode, resize, tokenize) and each launch are slower and vary. sudo cpupower frequency-set -g performance'
      : null,
  'governor-scaling': ({ cpu: { governor }, clocksLocked }) =>
    clocksLocked === null && governor !== null && /ondemand|conservative|schedutil/.test(governor)
      ? `The CPU governor is ${governor}: cores slow down between chunks, so a chunk after a pause takes longer. sudo cpupower frequency-set -g performance`
      : null,
  'background-load': ({ start: { load }, sampling }) => {
    const others = sampling?.othersPercent ?? null;
    const names = (sampling?.others ?? [])
      .map(({ name, value }) => `${name} ${value} % of a core`)
      .join(', ');
    const during = others !== null && others > limits.othersPercent;
    const before = load !== null && load > limits.load;
    if (!during && !before) return null;
    const seen = [
      during
        ? `other processes took ${percent(others)} of all cores${names === '' ? '' : ` (${names})`}`
        : null,
      before ? `the load was ${load.toFixed(2)} a core before the run` : null,
    ].filter((part) => part !== null);
    return `The machine had other work: ${seen.join('; ')}. p95 and above are then mostly theirs. Stop it (systemctl isolate multi-user.target ends a desktop) and measure again`;
  },
  'temperature-near-limit': (machine) => {
    const { temperatureLimits = [], start, end } = machine;
    const sampled = rangesOf(machine, 'temperature').map(({ name, max }) => ({ name, value: max }));
    const seen = [...start.temperatures, ...(end?.temperatures ?? []), ...sampled];
    const near = temperatureLimits.flatMap(({ name, value: limit }) => {
      const hottest = Math.max(...seen.filter((reading) => reading.name === name).map(({ value }) => value));
      return hottest >= limit - limits.degrees
        ? [`${name} ${hottest.toFixed(1)} °C, slowed at ${limit.toFixed(1)} °C`]
        : [];
    });
    return near.length === 0
      ? null
      : `A temperature came near its limit (${near.join('; ')}): a longer run, or a warmer room, is slower than this one. Fan at full speed: sudo jetson_clocks --fan, or set its profile in /etc/nvfancontrol.conf`;
  },
  'shared-machine': ({ virtual, cpu, start, end, sampling }) => {
    if (virtual?.includes('virtual machine') !== true) return null;
    const steal = growth(start.counters, end?.counters, 'cpu-steal');
    const busy = growth(start.counters, end?.counters, 'cpu-busy');
    const stolen = steal === null || busy === null || !sampling ? 0 : (100 * steal) / (steal + busy || 1);
    const seen =
      stolen > limits.stealPercent
        ? `A virtual machine whose host took ${percent(stolen)} of its computing time for others`
        : 'A virtual machine: its cores are shared with others that it does not see';
    return `${seen}; clocks and temperatures of the host are hidden (${cpu.model}). Compare only what alternated in one run, or measure on a machine of its own`;
  },
  'sampling-cost': ({ sampling }) =>
    sampling && sampling.costPercent > limits.samplingPercent
      ? `Reading the sensors took ${percent(sampling.costPercent)} of a core (${sampling.costMs.toFixed(1)} ms a sample). Where cores are short, sample less often: bench --sample 500`
      : null,
};

/**
 * What to change before believing a figure of this machine. In the order of `rules`, those about the machine itself first.
 *
 * @param machine over a run, or as `readMachine` finds it
 * @throws never
 */
export function machineWarnings(machine: MachineState): Warning[] {
  return Object.entries(rules).flatMap(([code, rule]) => {
    const text = rule(machine);
    return text === null ? [] : [{ code, text: `${text}.` }];
  });
}

/**
 * Differences between the machines of two reports: their figures then compare machines, not programs.
 *
 * @param machine of this run
 * @param baseline of the earlier one
 * @throws never
 */
export function machineDifferences(machine: MachineState, baseline: MachineState): Warning[] {
  const facts = (state: MachineState): Readonly<Record<string, readonly [string, string | null]>> => ({
    'different-board': ['board', `${state.board}, ${state.cpu.model}`],
    'different-gpu': ['GPU', state.gpu?.name ?? null],
    'different-driver': ['driver', state.jetpack ?? state.gpu?.driver ?? null],
    'different-power-mode': ['power mode', state.powerMode],
    'different-cores': ['number of cores', String(state.cpu.cores)],
    'different-governor': ['CPU governor', state.cpu.governor],
    'different-clocks': ['clocks', clocksOf(state)],
  });
  const others = facts(baseline);
  return Object.entries(facts(machine)).flatMap(([code, [what, now]]) => {
    const [, then] = others[code]!;
    const text = `The ${what} differs: ${now ?? 'not told'} here, ${then ?? 'not told'} in the baseline. The ratio compares the machines as well; measure both in the same state.`;
    return now === then ? [] : [{ code, text }];
  });
}

/** Whether the clocks are held, and how high they may go: this determines the speed. */
function clocksOf({ clocksLocked, clockRanges = [] }: MachineState): string | null {
  if (clocksLocked === null && clockRanges.length === 0) return null;
  const tops = clockRanges
    .filter(isShownClock)
    .map(({ name, max }) => `${name} up to ${Math.round(max)} MHz`);
  return [...(clocksLocked === null ? [] : [clocksLocked ? 'held' : 'free']), ...tops].join(', ');
}
