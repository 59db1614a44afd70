/** Energy per chunk of one subject: power over the turns in which it had the machine to itself. */

import type { MachineSeries, SubjectEnergy } from '../types.ts';
import type { Turn } from './turns.ts';

/**
 * A turn counts if it spans this many periods of the sampling or of the sensor, whichever is longer: the error from its two ends
 * is then at most a fifth of the difference between the subjects.
 */
const leastPeriods = 5;
/** One late or lost sample is interpolated; more are a gap. */
const longestGap = 3;

/** Integrates by trapezoids over [fromMs, toMs], with the power at both ends interpolated between the surrounding samples. */
export function integratePower(
  atMs: readonly number[],
  watts: readonly (number | null)[],
  { fromMs, toMs }: Pick<Turn, 'fromMs' | 'toMs'>,
  longestGapMs: number,
): { readonly joules: number; readonly samples: number } | null {
  const known = watts.flatMap((value, i) => (value === null ? [] : [{ at: atMs[i]!, value }]));
  const first = known.findLastIndex(({ at }) => at <= fromMs);
  const last = known.findIndex(({ at }) => at >= toMs);
  if (first < 0 || last < 0 || !(toMs > fromMs)) return null;
  let joules = 0;
  for (let i = first + 1; i <= last; i++) {
    const [a, b] = [known[i - 1]!, known[i]!];
    if (b.at - a.at > longestGapMs) return null;
    const [from, to] = [Math.max(a.at, fromMs), Math.min(b.at, toMs)];
    const at = (ms: number): number => a.value + ((b.value - a.value) * (ms - a.at)) / (b.at - a.at);
    joules += ((at(from) + at(to)) / 2) * ((to - from) / 1000);
  }
  return { joules, samples: known.filter(({ at }) => at >= fromMs && at <= toMs).length };
}

/** @param series null: nothing was sampled */
export function subjectEnergy(series: MachineSeries | null, turns: readonly Turn[]): SubjectEnergy {
  const from = series?.energyFrom ?? null;
  const none = (because: string, known: Partial<SubjectEnergy> = {}): SubjectEnergy => ({
    ...{ joulesPerChunk: null, meanWatts: null, source: from?.words ?? null },
    ...{ turns: 0, ofTurns: turns.length, chunks: 0, seconds: 0, samples: 0 },
    ...{ samplingMs: null, sensorMs: from?.periodMs ?? null },
    ...known,
    because,
  });
  if (series === null || from === null) return none('this machine has no power sensor that can be read here');
  const { atMs, sensors } = series;
  const sensor = sensors.find(({ kind, name }) => kind === 'power' && name === from.sensor);
  if (sensor === undefined) return none(`its power sensor told nothing: ${from.words}`);
  const gaps = atMs.slice(1).map((at, i) => at - atMs[i]!);
  const samplingMs = gaps.sort((a, b) => a - b)[gaps.length >> 1];
  if (samplingMs === undefined) return none('the sensors were read once only');
  const sensorMs = from.periodMs;
  const periodMs = Math.max(samplingMs, sensorMs ?? 0);
  const long = turns.filter(({ fromMs, toMs }) => toMs - fromMs >= leastPeriods * periodMs);
  if (long.length === 0) {
    const longest = Math.max(0, ...turns.map(({ fromMs, toMs }) => toMs - fromMs));
    const which =
      periodMs > samplingMs
        ? `the sensor has a new value every ${seconds(periodMs)}`
        : `the sensor is read every ${seconds(samplingMs)}`;
    return none(
      `its turns last ${seconds(longest)} at most and ${which}: a turn must hold ${leastPeriods} of them. --turn ${Math.ceil((leastPeriods + 1) * periodMs)} makes turns that are long enough`,
      { samplingMs },
    );
  }
  const used = long.flatMap((turn) => {
    const integral = integratePower(atMs, sensor.values, turn, longestGap * periodMs);
    return integral === null ? [] : [{ ...turn, ...integral }];
  });
  if (used.length === 0) {
    return none(
      `the sensor was not there, or had gaps, in all of its ${long.length} turns that are long enough`,
      { samplingMs },
    );
  }
  const total = (of: (one: (typeof used)[number]) => number): number =>
    used.reduce((all, one) => all + of(one), 0);
  const chunks = total((turn) => turn.chunks);
  const time = total(({ fromMs, toMs }) => toMs - fromMs) / 1000;
  const joules = total((turn) => turn.joules);
  return {
    joulesPerChunk: joules / chunks,
    meanWatts: joules / time,
    source: from.words,
    turns: used.length,
    ofTurns: turns.length,
    chunks,
    seconds: time,
    samples: total(({ samples }) => samples),
    samplingMs,
    sensorMs,
    because: null,
  };
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(ms < 100 ? 3 : 2)} s`;

/** In one sentence, with what it is based on. */
export function energyText(energy: SubjectEnergy): string {
  const { joulesPerChunk, meanWatts, because, source, turns, ofTurns, samples } = energy;
  if (joulesPerChunk === null || meanWatts === null) return `not told: ${because}`;
  const own = energy.sensorMs === null ? 'its own period not told' : `its own period ${energy.sensorMs} ms`;
  const joules = joulesPerChunk.toFixed(joulesPerChunk < 0.1 ? 4 : joulesPerChunk < 10 ? 3 : 1);
  return (
    `${joules} J a chunk; ${meanWatts.toFixed(meanWatts < 1 ? 3 : 1)} W over ${energy.seconds.toFixed(1)} s in ${turns} of ${ofTurns} turns, ` +
    `${samples} samples; ${source}; read every ${energy.samplingMs!.toFixed(0)} ms, ${own}`
  );
}
