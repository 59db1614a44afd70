/** Energy of a subject in one sentence, with what it rests on. */

import type { SubjectEnergy } from '../types.ts';

export function energyText(energy: SubjectEnergy): string {
  const { joulesPerChunk, plusMinus, meanWatts, because, source, turns, ofTurns, samples, seconds } = energy;
  if (joulesPerChunk === null || meanWatts === null) return `not told: ${because}`;
  const { samplingMs, sensorMs, stepWatts } = energy;
  const sensor = [
    `read every ${samplingMs!.toFixed(0)} ms`,
    sensorMs === null ? 'its own period not told' : `its own period ${sensorMs} ms`,
    stepWatts === null ? 'step not told' : `step ${watts(stepWatts)} W`,
  ].join(', ');
  return (
    `${joules(joulesPerChunk)} J a chunk, ± ${joules(plusMinus!)} by edges and step; ${watts(meanWatts)} W over ${seconds.toFixed(1)} s in ` +
    `${turns} of ${ofTurns} turns, ${samples} samples; ${source}; ${sensor}`
  );
}

const joules = (value: number): string => value.toFixed(value < 0.1 ? 4 : value < 10 ? 3 : 1);
const watts = (value: number): string => value.toFixed(value < 1 ? 3 : 1);
