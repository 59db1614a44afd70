/** What the sensors show over a run but not at its ends: when something changed, and at which chunk. */

import { median } from '../support/median.ts';
import type { MachineSeries, MachineState, SensorSeries, Warning } from './types.ts';

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

/**
 * @param subjects of the run, which begins with the first chunk
 * @returns `clock-fell`, `temperature-rising`, `throttled-from`
 */
export function seriesWarnings(machine: MachineState, subjects: readonly SubjectStarts[]): Warning[] {
  const { series, clocksLocked, jetpack, temperatureLimits = [] } = machine;
  if (!series) return [];
  const beginMs = Math.min(...subjects.flatMap(({ startsMs }) => startsMs[0] ?? []));
  const quarters = (sensor: SensorSeries | undefined): Quarters | null =>
    sensor === undefined ? null : quartersOf(series, sensor, Number.isFinite(beginMs) ? beginMs : 0);
  const fallen = series.sensors.flatMap((sensor) => {
    const isMain = /^(gpu|gpu-gpc-0|gpu-memory|emc|cpu|cpu fastest)$/.test(sensor.name);
    const seen = sensor.kind === 'clock' && isMain ? quarters(sensor) : null;
    if (seen === null || seen.last > seen.first * (1 - limits.clockFall)) return [];
    const { first, last, atMs } = seen;
    return `${sensor.name} from ${first.toFixed(0)} to ${last.toFixed(0)} MHz, ${moment(atMs, subjects)}`;
  });
  const held = clocksLocked === true ? ' They were held, so only the board itself can have done it.' : '';
  const lower =
    jetpack === null
      ? 'give it a lower clock that it can keep: sudo nvidia-smi -lgc MHZ,MHZ'
      : 'take a lower power mode that it can keep: sudo nvpmodel -m ID';
  // at this rate a run twice as long would reach the limit; since the rise slows down, that is the earliest moment
  const rising = temperatureLimits.flatMap(({ name, value: limit }) => {
    const seen = quarters(series.sensors.find((one) => one.kind === 'temperature' && one.name === name));
    if (seen === null || seen.last - seen.first < limits.degrees) return [];
    const { first, last } = seen;
    if (last + (last - first) < limit || last >= limit) return [];
    return `${name} from ${first.toFixed(1)} to ${last.toFixed(1)} °C, slowed at ${limit.toFixed(1)} °C`;
  });
  const slowed = series.throttling.map(({ reason, fromMs, toMs }) => {
    const from =
      fromMs < 0 ? 'before the first chunk, while loading or warming up' : moment(fromMs, subjects);
    return `${reason} ${from}${toMs > fromMs ? `, until ${seconds(toMs)}` : ''}`;
  });
  const told = (code: string, seen: readonly string[], text: (list: string) => string): Warning[] =>
    seen.length === 0 ? [] : [{ code, text: text(seen.join('; ')) }];
  return [
    ...told(
      'clock-fell',
      fallen,
      (list) =>
        `A clock fell during the run (${list}): the chunks after it are slower than those before, and the figures mix both.${held} Cool it, or ${lower}; then measure again.`,
    ),
    ...told(
      'temperature-rising',
      rising,
      (list) =>
        `A temperature was still rising (${list}): at this rate a run twice as long reaches the limit, and a robot runs longer than that. Measure until it no longer rises (--duration), or cool it${jetpack === null ? '' : ': sudo jetson_clocks --fan'}.`,
    ),
    ...told(
      'throttled-from',
      slowed,
      (list) =>
        `When it began to be slowed: ${list}. Chunks before it are those of the free machine; the page of --html and the trace of profile show the moment.`,
    ),
  ];
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/** `at 12.4 s, chunk 143 of libero cpu` */
function moment(atMs: number, subjects: readonly SubjectStarts[]): string {
  const [current] = subjects
    .map(({ name, startsMs }) => {
      const index = startsMs.findLastIndex((start) => start <= atMs);
      return { name, index, startMs: startsMs[index] ?? Number.NEGATIVE_INFINITY };
    })
    .sort((a, b) => b.startMs - a.startMs);
  const isKnown = current !== undefined && current.index >= 0;
  return `at ${seconds(atMs)}${isKnown ? `, chunk ${current.index + 1} of ${current.name}` : ''}`;
}

/** Medians of a sensor's first and last quarter of the run. */
interface Quarters {
  readonly first: number;
  readonly last: number;
  /** When half of the change was reached. */
  readonly atMs: number;
}

/** Of the values since `beginMs`, since earlier ones are of loading; null if there are too few. */
function quartersOf({ atMs }: MachineSeries, { values }: SensorSeries, beginMs: number): Quarters | null {
  const known = values.flatMap((value, i) =>
    value === null || atMs[i]! < beginMs ? [] : [{ value, atMs: atMs[i]! }],
  );
  const size = Math.floor(known.length / 4);
  if (size < limits.quarter) return null;
  const [first, last] = [known.slice(0, size), known.slice(-size)].map((part) =>
    median(part.map(({ value }) => value)),
  ) as [number, number];
  const middle = (first + last) / 2;
  // the last crossing, so that a single odd value does not determine the moment
  const crossed = known.findLastIndex(({ value }) => (last < first ? value > middle : value < middle)) + 1;
  return { first, last, atMs: known[Math.min(crossed, known.length - 1)]!.atMs };
}
