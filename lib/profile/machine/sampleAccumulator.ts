/** What is kept of the samples: extremes, throttle reasons and energy. Its size does not grow with the run. */

import type { MachineSampling, MachineSnapshot } from '../types.ts';
import { EnergyMeter, type PowerSamples } from './energy.ts';

export type SampledExtremes = Omit<MachineSampling, 'othersPercent' | 'others' | 'costPercent' | 'costIs'>;

export interface MachineSamples {
  readonly extremes: SampledExtremes;
  readonly power: PowerSamples | null;
}

export class SampleAccumulator {
  readonly #intervalMs: number;
  readonly #energy = new EnergyMeter();
  readonly #hottest = new Map<string, number>();
  readonly #clocks = new Map<string, { min: number; max: number }>();
  readonly #throttling = new Set<string>();
  #samples = 0;
  #costMs = 0;

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  /**
   * @param atMs monotonic
   * @param costMs what taking the sample took
   */
  add(snapshot: MachineSnapshot, atMs: number, costMs: number): void {
    this.#samples++;
    this.#costMs += costMs;
    this.#energy.add(atMs, snapshot.power);
    for (const { name, value } of snapshot.temperatures)
      this.#hottest.set(name, Math.max(value, this.#hottest.get(name) ?? value));
    for (const { name, value } of snapshot.clocks) {
      const range = this.#clocks.get(name);
      if (range === undefined) this.#clocks.set(name, { min: value, max: value });
      else {
        range.min = Math.min(range.min, value);
        range.max = Math.max(range.max, value);
      }
    }
    for (const reason of snapshot.throttling) this.#throttling.add(reason);
  }

  result(): MachineSamples {
    return {
      extremes: {
        samples: this.#samples,
        intervalMs: this.#intervalMs,
        costMs: this.#samples === 0 ? 0 : this.#costMs / this.#samples,
        hottest: [...this.#hottest].map(([name, value]) => ({ name, value })),
        clocks: [...this.#clocks].map(([name, range]) => ({ name, ...range })),
        throttling: [...this.#throttling],
      },
      power: this.#energy.result(),
    };
  }
}
