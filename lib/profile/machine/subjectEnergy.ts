/** Energy per chunk of one subject: power over the turns in which it had the machine for itself. */

import type { MachineSeries, SensorSeries, SubjectEnergy } from '../types.ts';
import { type Integral, integratePower } from './integrate.ts';
import type { Turn } from './turns.ts';

/**
 * A turn counts when it holds so many periods, of the sampling or of the sensor, whichever is longer: what its two edges
 * can be wrong by is then a fifth of what the subjects differ by.
 */
const leastPeriods = 5;
/** One sample that is late or lost is read across; more are a gap. */
const longestGap = 3;

const none = (
  because: string,
  turns: readonly Turn[],
  known: Partial<SubjectEnergy> = {},
): SubjectEnergy => ({
  joulesPerChunk: null,
  plusMinus: null,
  meanWatts: null,
  source: null,
  turns: 0,
  ofTurns: turns.length,
  chunks: 0,
  seconds: 0,
  samples: 0,
  samplingMs: null,
  sensorMs: null,
  stepWatts: null,
  ...known,
  because,
});

/** @param series null: nothing was sampled */
export function subjectEnergy(series: MachineSeries | null, turns: readonly Turn[]): SubjectEnergy {
  const from = series?.energyFrom ?? null;
  if (series === null || from === null)
    return none('this machine has no power sensor that can be read here', turns);
  const sensors = from.sensors.flatMap(
    (name) => series.sensors.find((sensor) => sensor.kind === 'power' && sensor.name === name) ?? [],
  );
  if (sensors.length < from.sensors.length)
    return none(`one of its power sensors told nothing: ${from.words}`, turns);
  const samplingMs = medianOf(series.atMs.slice(1).map((at, i) => at - series.atMs[i]!));
  const sensorMs = largest(sensors.map(({ periodMs }) => periodMs));
  const stepWatts = sum(sensors.map(({ step }) => step));
  const known = { source: from.words, samplingMs, sensorMs, stepWatts };
  if (samplingMs === null) return none('the sensors were read once only', turns, known);
  const periodMs = Math.max(samplingMs, sensorMs ?? 0);
  const long = turns.filter(({ fromMs, toMs }) => toMs - fromMs >= leastPeriods * periodMs);
  if (long.length === 0) {
    const longest = Math.max(0, ...turns.map(({ fromMs, toMs }) => toMs - fromMs));
    const which =
      sensorMs !== null && sensorMs > samplingMs
        ? `the sensor has a new value every ${seconds(sensorMs)}`
        : `the sensor is read every ${seconds(samplingMs)}`;
    return none(
      `its turns last ${seconds(longest)} at most and ${which}: a turn must hold ${leastPeriods} of them. --turn ${Math.ceil((leastPeriods + 1) * periodMs)} makes turns that are long enough`,
      turns,
      known,
    );
  }
  const used = long.flatMap((turn) => {
    const integral = integrate(series, sensors, turn, periodMs, sensorMs ?? 0);
    return 'missing' in integral ? [] : [{ turn, integral }];
  });
  if (used.length === 0)
    return none(
      `the sensor was not there, or had gaps, in all of its ${long.length} turns that are long enough`,
      turns,
      known,
    );
  const total = (of: (one: (typeof used)[number]) => number): number =>
    used.reduce((all, one) => all + of(one), 0);
  const chunks = total(({ turn }) => turn.chunks);
  const time = total(({ turn }) => turn.toMs - turn.fromMs) / 1000;
  const joules = total(({ integral }) => integral.joules);
  const edges = total(({ integral }) => integral.edgeJoules);
  return {
    joulesPerChunk: joules / chunks,
    plusMinus: (edges + ((stepWatts ?? 0) / 2) * time) / chunks,
    meanWatts: joules / time,
    ...known,
    turns: used.length,
    ofTurns: turns.length,
    chunks,
    seconds: time,
    samples: total(({ integral }) => integral.samples),
    because: null,
  };
}

/** All sensors over one turn; where one of them is missing, there is no sum. */
function integrate(
  { atMs }: MachineSeries,
  sensors: readonly SensorSeries[],
  { fromMs, toMs }: Turn,
  periodMs: number,
  sensorMs: number,
): Integral {
  let all = { joules: 0, edgeJoules: 0, samples: Number.POSITIVE_INFINITY };
  for (const { values, is } of sensors) {
    const one = integratePower({ atMs, watts: values, is }, fromMs, toMs, {
      longestGapMs: longestGap * periodMs,
      lagMs: sensorMs,
    });
    if ('missing' in one) return one;
    all = {
      joules: all.joules + one.joules,
      edgeJoules: all.edgeJoules + one.edgeJoules,
      samples: Math.min(all.samples, one.samples),
    };
  }
  return all;
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(ms < 100 ? 3 : 2)} s`;

function medianOf(values: readonly number[]): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? null;
}

/** null where one is not known. */
function largest(values: readonly (number | null)[]): number | null {
  return values.includes(null) || values.length === 0 ? null : Math.max(...(values as number[]));
}

function sum(values: readonly (number | null)[]): number | null {
  return values.includes(null) || values.length === 0
    ? null
    : (values as number[]).reduce((a, b) => a + b, 0);
}
