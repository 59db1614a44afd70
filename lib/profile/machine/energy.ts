/** Energy from sampled power. */

import type { MachineState, Reading } from '../types.ts';
import { inputPower } from './powerRails.ts';

/** What power means on this machine, the widest first. */
export function powerSource(
  power: readonly Reading[],
): { readonly watts: number; readonly source: string } | null {
  const input = inputPower(power);
  if (input !== null)
    return { watts: input.watts, source: `${input.from}, sampled from the board's power monitors` };
  const card = power.find(({ name }) => name === 'gpu-board');
  return card === undefined
    ? null
    : {
        watts: card.value,
        source: 'the GPU card alone (power.draw of nvidia-smi), without the rest of the machine',
      };
}

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
