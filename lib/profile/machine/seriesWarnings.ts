/** What the sensors show over a run but not at its ends: when something changed, and at which chunk. */

import type { MachineSeries, MachineState, SensorSeries, Warning } from '../types.ts';

/** When the chunks of one subject were requested, on the clock of the series. */
export interface SubjectStarts {
  readonly name: string;
  readonly startsMs: readonly number[];
}

const limits = {
  /**
   * By which share a clock must have fallen. The top step of an AGX Orin's GPU clock is from 1224 to 1300.5 MHz (JetPack 6), 5.9 %:
   * less than that is not a step but noise of a measured clock.
   */
  clockFall: 0.05,
  /** Degrees that exceed noise: zones of an Orin vary by 0.2 from one second to the next (recorded output of tegrastats). */
  degrees: 3,
  /** Samples that a quarter of the run needs, so that its median is robust against a single odd value. */
  quarter: 3,
};

/** A sensor's first and last quarter of the run; needs enough values while chunks ran. Earlier ones are of loading. */
interface Quarters {
  readonly first: number;
  readonly last: number;
  /** When half of the change was reached. */
  readonly atMs: number;
}

/**
 * @param subjects of the run, which begins with the first chunk
 * @returns `clock-fell`, `temperature-rising`, `throttled-from`
 */
export function seriesWarnings(machine: MachineState, subjects: readonly SubjectStarts[]): Warning[] {
  const { series } = machine;
  if (series === null || series === undefined) return [];
  const beginMs = Math.min(...subjects.flatMap(({ startsMs }) => startsMs[0] ?? []));
  const rules = [clockFell, temperatureRising, throttledFrom];
  return rules.flatMap((rule) => rule(machine, series, subjects, Number.isFinite(beginMs) ? beginMs : 0));
}

type Rule = (
  machine: MachineState,
  series: MachineSeries,
  subjects: readonly SubjectStarts[],
  beginMs: number,
) => Warning[];

const clockFell: Rule = ({ clocksLocked, jetpack }, series, subjects, beginMs) => {
  const fallen = series.sensors.flatMap((sensor) => {
    if (sensor.kind !== 'clock' || !/^(gpu|gpu-gpc-0|gpu-memory|emc|cpu|cpu fastest)$/.test(sensor.name))
      return [];
    const quarters = quartersOf(series, sensor, beginMs);
    if (quarters === null || quarters.last > quarters.first * (1 - limits.clockFall)) return [];
    const { first, last, atMs } = quarters;
    return [`${sensor.name} from ${first.toFixed(0)} to ${last.toFixed(0)} MHz, ${moment(atMs, subjects)}`];
  });
  if (fallen.length === 0) return [];
  const held = clocksLocked === true ? ' They were held, so only the board itself can have done it.' : '';
  return [
    {
      code: 'clock-fell',
      text: `A clock fell during the run (${fallen.join('; ')}): the chunks after it are slower than those before, and the figures mix both.${held} Cool it, or ${jetpack === null ? 'give it a lower clock that it can keep: sudo nvidia-smi -lgc MHZ,MHZ' : 'take a lower power mode that it can keep: sudo nvpmodel -m ID'}; then measure again.`,
    },
  ];
};

/** At this rate a run twice as long would reach the limit; since the rise slows down, that is the earliest moment. */
const temperatureRising: Rule = ({ temperatureLimits = [], jetpack }, series, _subjects, beginMs) => {
  const rising = temperatureLimits.flatMap(({ name, value: limit }) => {
    const sensor = series.sensors.find((one) => one.kind === 'temperature' && one.name === name);
    const quarters = sensor === undefined ? null : quartersOf(series, sensor, beginMs);
    if (quarters === null) return [];
    const { first, last } = quarters;
    if (last - first < limits.degrees || last + (last - first) < limit || last >= limit) return [];
    return [`${name} from ${first.toFixed(1)} to ${last.toFixed(1)} °C, slowed at ${limit.toFixed(1)} °C`];
  });
  return rising.length === 0
    ? []
    : [
        {
          code: 'temperature-rising',
          text: `A temperature was still rising (${rising.join('; ')}): at this rate a run twice as long reaches the limit, and a robot runs longer than that. Measure until it no longer rises (--duration), or cool it${jetpack === null ? '' : ': sudo jetson_clocks --fan'}.`,
        },
      ];
};

const throttledFrom: Rule = (_machine, { throttling }, subjects) => {
  if (throttling.length === 0) return [];
  const began = throttling.map(
    ({ reason, fromMs, toMs }) =>
      `${reason} ${fromMs < 0 ? 'before the first chunk, while loading or warming up' : moment(fromMs, subjects)}${toMs > fromMs ? `, until ${seconds(toMs)}` : ''}`,
  );
  return [
    {
      code: 'throttled-from',
      text: `When it began to be slowed: ${began.join('; ')}. Chunks before it are those of the free machine; the page of --html and the trace of profile show the moment.`,
    },
  ];
};

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/** `at 12.4 s, chunk 143 of libero cpu` */
function moment(atMs: number, subjects: readonly SubjectStarts[]): string {
  const current = subjects
    .flatMap(({ name, startsMs }) => {
      const index = startsMs.findLastIndex((start) => start <= atMs);
      return index < 0 ? [] : [{ name, index, startMs: startsMs[index]! }];
    })
    .sort((a, b) => b.startMs - a.startMs)[0];
  return `at ${seconds(atMs)}${current === undefined ? '' : `, chunk ${current.index + 1} of ${current.name}`}`;
}

/** Medians of the first and the last quarter of the values since `beginMs`; null if there are too few. */
function quartersOf({ atMs }: MachineSeries, { values }: SensorSeries, beginMs: number): Quarters | null {
  const known = values.flatMap((value, i) =>
    value === null || atMs[i]! < beginMs ? [] : [{ value, atMs: atMs[i]! }],
  );
  const size = Math.floor(known.length / 4);
  if (size < limits.quarter) return null;
  const medianOf = (part: typeof known): number =>
    part.map(({ value }) => value).sort((a, b) => a - b)[part.length >> 1]!;
  const [first, last] = [medianOf(known.slice(0, size)), medianOf(known.slice(-size))];
  const middle = (first + last) / 2;
  const isPast = (value: number): boolean => (last < first ? value <= middle : value >= middle);
  // the last crossing, so that a single odd value does not determine the moment
  const crossed = known.findLastIndex(({ value }) => !isPast(value)) + 1;
  return { first, last, atMs: known[Math.min(crossed, known.length - 1)]!.atMs };
}
