/** Golden policies with one dataset each, so that no key is needed; the cases modify copies of them. Only for tests. */

import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readObservation } from '../../lib/observation/readObservation.ts';
import type { Observation } from '../../lib/types.ts';
import { type GoldenName, goldenCopy } from '../helpers/golden.ts';
import { goldenCase, goldenRoot } from '../helpers/goldenCase.ts';

// biome-ignore lint/suspicious/noExplicitAny: JSON that the tests bend at will
export type Loose = any;

export interface Base {
  readonly dir: string;
  readonly observation: Observation;
  readonly instruction: string;
  /** [C][A] of the reference, before anything is changed. */
  readonly actions: readonly (readonly number[])[];
}

/** A copy of its own, and the first sample of the golden. */
export async function base(name: GoldenName): Promise<Base> {
  const dir = goldenCopy(name);
  editJson(join(dir, 'dataset_statistics.json'), (all) => {
    const key = Object.keys(all)[0]!;
    return { [key]: all[key] };
  });
  const sample = goldenCase(name).samples[0]!;
  const { observation } = await readObservation(join(goldenRoot, name, sample.observation));
  return { dir, observation, instruction: sample.instruction, actions: sample.actions_fp32 };
}

/** The value returned by `change` replaces the content; if it returns nothing, it has changed it in place. */
export function editJson(file: string, change: (value: Loose) => Loose): void {
  const value = JSON.parse(readFileSync(file, 'utf8'));
  writeFileSync(file, JSON.stringify(change(value) ?? value));
}

/** The statistics of the only data set. */
export function editStatistics(dir: string, change: (dataset: Loose) => void): void {
  editJson(join(dir, 'dataset_statistics.json'), (all) => change(Object.values(all)[0]));
}

/** Removes the files in the folder whose names begin like this. */
export function remove(dir: string, ...starts: readonly string[]): void {
  for (const name of readdirSync(dir)) {
    if (starts.some((start) => name.startsWith(start))) rmSync(join(dir, name), { recursive: true });
  }
}
