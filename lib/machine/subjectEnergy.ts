/** Energy per chunk of one subject: power over the turns in which it had the machine to itself. */

import { median } from '../support/median.ts';
import type { MachineSeries, SubjectEnergy } from './types.ts';

/** A chunk as `bench` records it: when it was requested, how long it took, and the turn it was measured in. */
interface TimedChunk {
  readonly startMs: number;
  readonly stages: { readonly total?: number };
  readonly round?: number;
}

/** From the first chunk of a turn to the end of its last. */
export interface Turn {
  readonly fromMs: number;
  readonly toMs: number;
  readonly chunks: number;
}

/**
 * If only one subject runs, its run is cut into stretches of this length, so that a sensor failing once costs only one of them.
 * Long enough for the slowest sensor, which averages over a second.
 */
const aloneMs = 6000;

/**
 * With several subjects, each round is a turn: chunks that were not counted may lie between two turns of a subject. A single
 * subject has the stretches of its run.
 */
export function turnsOf(subjects: readonly (readonly TimedChunk[])[]): readonly (readonly Turn[])[] {
  const isAlone = subjects.length === 1;
  return subjects.map((chunks) => {
    const turns: Turn[] = [];
    let lastRound: number | undefined;
    for (const { startMs, stages, round } of chunks) {
      if (stages.total === undefined) continue;
      const toMs = startMs + stages.total;
      const last = turns.at(-1);
      const isSame = last && (isAlone ? last.toMs - last.fromMs < aloneMs : lastRound === round);
      if (isSame) turns[turns.length - 1] = joined(last, { fromMs: startMs, toMs, chunks: 1 });
      else turns.push({ fromMs: startMs, toMs, chunks: 1 });
      lastRound = round;
    }
    const [before, rest] = turns.slice(-2);
    // a short remainder at the end belongs to the stretch before it
    if (isAlone && before && rest && rest.toMs - rest.fromMs < aloneMs)
      turns.splice(-2, 2, joined(before, rest));
    return turns;
  });
}

const joined = (a: Turn, b: Turn): Turn => ({
  fromMs: a.fromMs,
  toMs: Math.max(a.toMs, b.toMs),
  chunks: a.chunks + b.chunks,
});

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
  const none = (because: string, samplingMs: number | null = null): SubjectEnergy => ({
    ...{ joulesPerChunk: null, meanWatts: null, source: from?.words ?? null },
    ...{ turns: 0, ofTurns: turns.length, chunks: 0, seconds: 0, samples: 0 },
    ...{ samplingMs, sensorMs: from?.periodMs ?? null, because },
  });
  if (series === null || from === null) return none('this machine has no power sensor that can be read here');
  const { atMs, sensors } = series;
  const sensor = sensors.find(({ kind, name }) => kind === 'power' && name === from.sensor);
  if (sensor === undefined) return none(`its power sensor told nothing: ${from.words}`);
  if (atMs.length < 2) return none('the sensors were read once only');
  const samplingMs = median(atMs.slice(1).map((at, i) => at - atMs[i]!));
  const periodMs = Math.max(samplingMs, from.periodMs ?? 0);
  const long = turns.filter(({ fromMs, toMs }) => toMs - fromMs >= leastPeriods * periodMs);
  if (long.length === 0) {
    const longest = Math.max(0, ...turns.map(({ fromMs, toMs }) => toMs - fromMs));
    const which = periodMs > samplingMs ? 'the sensor has a new value every' : 'the sensor is read every';
    return none(
      `its turns last ${seconds(longest)} at most and ${which} ${seconds(periodMs)}: a turn must hold ${leastPeriods} of them. --turn ${Math.ceil((leastPeriods + 1) * periodMs)} makes turns that are long enough`,
      samplingMs,
    );
  }
  const used = long.flatMap((turn) => {
    const integral = integratePower(atMs, sensor.values, turn, longestGap * periodMs);
    return integral === null ? [] : [{ ...turn, ...integral }];
  });
  if (used.length === 0) {
    return none(
      `the sensor was not there, or had gaps, in all of its ${long.length} turns that are long enough`,
      samplingMs,
    );
  }
  const total = (of: (one: (typeof used)[number]) => number): number =>
    used.reduce((all, one) => all + of(one), 0);
  const chunks = total((turn) => turn.chunks);
  const time = total(({ fromMs, toMs }) => toMs - fromMs) / 1000;
  const joules = total((turn) => turn.joules);
  return {
    ...{ joulesPerChunk: joules / chunks, meanWatts: joules / time, source: from.words },
    ...{ turns: used.length, ofTurns: turns.length, chunks, seconds: time },
    ...{ samples: total(({ samples }) => samples), samplingMs, sensorMs: from.periodMs, because: null },
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
