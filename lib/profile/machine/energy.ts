/** Energy from sampled power. */

import type { MachineState, Reading } from '../types.ts';
import { inputPower } from './powerRails.ts';

/** What power means on this machine, the widest first. */
export function powerSource(power: readonly Reading[]): {
  readonly watts: number;
  readonly source: string;
  /** The readings that were added up. */
  readonly sensors: readonly string[];
} | null {
  const input = inputPower(power);
  if (input !== null)
    return {
      watts: input.watts,
      source: `${input.from}, sampled from the board's power monitors`,
      sensors: input.from.split(' + '),
    };
  const parts = partialSources.flatMap(({ is, words }) => {
    const readings = power.filter(({ name }) => is(name));
    return readings.length === 0 ? [] : [{ readings, words }];
  });
  if (parts.length === 0) return null;
  const readings = parts.flatMap((part) => part.readings);
  return {
    watts: readings.reduce((sum, { value }) => sum + value, 0),
    source: `${parts.map(({ words }) => words).join(' and ')} alone, without the rest of the machine`,
    sensors: readings.map(({ name }) => name),
  };
}

/** Counters of energy, read as the mean power since the reading before. */
export const isMeanPower = (name: string): boolean => name.startsWith('cpu-package-');

/** Where nothing tells what goes in: parts that tell theirs. */
const partialSources: readonly { readonly is: (name: string) => boolean; readonly words: string }[] = [
  { is: (name) => name === 'gpu-board', words: 'the GPU card (power.draw of nvidia-smi)' },
  { is: isMeanPower, words: 'the processor packages (RAPL)' },
];

/** Integral of power over time by the trapezium rule; constant memory. */
export class EnergyMeter {
  #joules = 0;
  #seconds = 0;
  #samples = 0;
  #last: { readonly atMs: number; readonly watts: number } | null = null;
  #source: string | null = null;

  /** @param atMs monotonic; a sample that is not later than the one before is not counted */
  add(atMs: number, power: readonly Reading[]): void {
    const now = powerSource(power);
    // a rail that is missing once would mix two different sums
    if (now === null || (this.#source !== null && now.source !== this.#source)) return;
    this.#source = now.source;
    const last = this.#last;
    if (last !== null && atMs <= last.atMs) return;
    if (last !== null) {
      const seconds = (atMs - last.atMs) / 1000;
      this.#joules += ((now.watts + last.watts) / 2) * seconds;
      this.#seconds += seconds;
    }
    this.#samples++;
    this.#last = { atMs, watts: now.watts };
  }

  result(): PowerSamples | null {
    if (this.#source === null || this.#seconds === 0) return null;
    const { joules, seconds } = { joules: this.#joules, seconds: this.#seconds };
    return { meanWatts: joules / seconds, joules, seconds, samples: this.#samples, source: this.#source };
  }
}

export interface PowerSamples {
  readonly meanWatts: number;
  readonly joules: number;
  readonly seconds: number;
  readonly samples: number;
  readonly source: string;
}

/** @param chunks that were computed in the time of the samples; 0: no energy per chunk */
export function energyPerChunk(power: PowerSamples | null, chunks: number): MachineState['energy'] {
  if (power === null || chunks <= 0) return null;
  const { meanWatts, joules, samples, source } = power;
  return { meanWatts, joulesPerChunk: joules / chunks, samples, source };
}
