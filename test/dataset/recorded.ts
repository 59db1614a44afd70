/** Datasets recorded with the packages that users record with (README.md), and what Python's own readers find in them. */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { type ColumnOptions, chooseColumns } from '../../lib/dataset/columns.ts';
import type { Dataset, Episode } from '../../lib/dataset/dataset.ts';
import { openDataset } from '../../lib/dataset/openDataset.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';

export const recorded = join(import.meta.dirname, 'recorded');

export interface ReferenceEpisode {
  readonly instructions?: readonly string[];
  readonly states: readonly (readonly number[])[];
  readonly actions: readonly (readonly number[])[];
  readonly frames: Readonly<Record<string, readonly string[]>>;
}

export type Reference = Readonly<Record<string, readonly ReferenceEpisode[]>>;

export const reference = JSON.parse(readFileSync(join(recorded, 'reference.json'), 'utf8')) as Reference;

/** Of the trained policies (test/helpers/trained.ts). */
export const needs = { cameras: ['full_image', 'wrist_image'], stateSize: 8, actionSize: 7 };

export const open = (dataset: Dataset, number: number, options: ColumnOptions = {}): Promise<Episode> =>
  dataset.open(number, chooseColumns(dataset, needs, options));

/** As reference.py writes a frame. */
export const digest = (data: Uint8Array): string =>
  createHash('sha256').update(data).digest('hex').slice(0, 16);

/** Every number and every byte of every frame. */
export async function compare(path: string, wanted: readonly ReferenceEpisode[]): Promise<void> {
  const dataset = await openDataset(path);
  assert.is(dataset.numbers.length, wanted.length);
  for (const [i, number] of dataset.numbers.entries()) {
    const episode = await open(dataset, number);
    const { actions, states, frames, instructions } = wanted[i]!;
    assert.equal([...episode.actions], actions.flat());
    assert.equal(episode.shape, [actions.length, 7]);
    let at = 0;
    for await (const { step, observation, instruction } of episode.observations(episode.steps)) {
      assert.is(step, episode.steps[at]);
      assert.equal([...(observation.state as Float64Array)], states[at], `${number}, ${step}`);
      if (instructions !== undefined) assert.is(instruction, instructions[at]);
      for (const [camera, frame] of Object.entries(observation.images))
        assert.is(digest(frame.data), frames[camera]![at], `${number}, ${step}, ${camera}`);
      assert.equal(Object.keys(observation.images), needs.cameras);
      at++;
    }
    assert.is(at, states.length);
  }
}

/** The refusal of something that must not work. */
export async function refusal(work: () => Promise<unknown>): Promise<SemanticVlaError> {
  try {
    await work();
  } catch (error) {
    assert.instance(error, SemanticVlaError, String(error));
    return error as SemanticVlaError;
  }
  throw new Error('it was taken');
}
