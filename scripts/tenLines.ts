/** The example of the README, and the same with a checkpoint and an observation that are there. */

import * as assert from 'node:assert';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { encodeNpy } from '../lib/cli/npyWriter.ts';
import { readObservation } from '../lib/observation/readObservation.ts';

const root = join(import.meta.dirname, '..');

/** As printed. */
export function tenLines(): string {
  const example = /## Ten lines\n\n```ts\n([^`]+)```/.exec(
    readFileSync(join(root, 'README.md'), 'utf8'),
  )?.[1];
  assert.ok(example !== undefined, 'the README has its ten lines');
  return example;
}

const golden = join(root, 'test/golden/libero-tiny');

/** The golden observation with its frames as .npy, which needs no decoder. @param folder made here @returns it */
export async function rawObservation(folder: string): Promise<string> {
  const { observation } = await readObservation(join(golden, 'obs0'));
  mkdirSync(folder);
  const images: Record<string, string> = {};
  for (const [camera, { data, width, height }] of Object.entries(observation.images)) {
    images[camera] = `${camera}.npy`;
    writeFileSync(join(folder, images[camera]), encodeNpy(data, [height, width, 3]));
  }
  const state = Array.from(observation.state!);
  writeFileSync(join(folder, 'observation.json'), JSON.stringify({ images, state }));
  return folder;
}

/**
 * With the golden LIBERO policy of this repository; its last line of output is the actions, as JSON.
 * @param observation default: the golden one, of PNG files
 */
export function runnableTenLines(observation = join(golden, 'obs0')): string {
  const changes = [
    [`'checkpoints/libero'`, JSON.stringify(join(golden, 'checkpoint'))],
    [`'observations/000'`, JSON.stringify(observation)],
    [
      'await policy.close();',
      'console.log(JSON.stringify(Array.from(chunk.actions)));\nawait policy.close();',
    ],
  ] as const;
  return changes.reduce((text, [theirs, ours]) => {
    assert.ok(text.includes(theirs), `the example says ${theirs}`);
    return text.replace(theirs, ours);
  }, tenLines());
}
