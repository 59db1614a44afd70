/** The shipped policy's golden: 50 observations of scenes that it was not trained on (test/golden/README.md). */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { exampleCheckpoint } from '../../lib/example/exampleCheckpoint.ts';
import { readImageFile } from '../../lib/observation/imageFile.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import type { Observation, Policy, PolicyOptions } from '../../lib/types.ts';
import { goldenRoot, scratchFolder } from './golden.ts';

const folder = join(goldenRoot, 'cubes');

export interface CubesSample {
  readonly seed: number;
  readonly step: number;
  readonly instruction: string;
  readonly state: readonly number[];
  readonly images: Readonly<Record<string, string>>;
  /** By camera: where the named cube is, in fractions of the side of the frame; null if outside. */
  readonly target: Readonly<Record<string, readonly [number, number] | null>>;
  /** [C][A] of the PyTorch twin, float32. */
  readonly normalized: readonly (readonly number[])[];
  /** By camera, ascending, of the twin. */
  readonly kept: Readonly<Record<string, readonly number[]>>;
}

export function cubesSamples(): readonly CubesSample[] {
  const text = readFileSync(join(folder, 'observations.json'), 'utf8');
  return (JSON.parse(text) as { observations: CubesSample[] }).observations;
}

export async function cubesObservation({ images, state }: CubesSample): Promise<Observation> {
  const frames = Object.entries(images).map(
    async ([camera, file]) => [camera, await readImageFile(join(folder, file))] as const,
  );
  return { images: Object.fromEntries(await Promise.all(frames)), state };
}

/** The shipped policy, in this process's cache. */
export async function openCubes(options: PolicyOptions = {}): Promise<Policy> {
  scratchFolder();
  return loadPolicy(await exampleCheckpoint(), options);
}

/**
 * Where a point of a frame lies in the grid of patches, in patches: the policy sees the middle 90 % of the area. Outside
 * 0..grid if it was cropped away.
 */
export function placeInGrid([x, y]: readonly [number, number], grid: number): readonly [number, number] {
  const side = Math.sqrt(0.9);
  const seen = (at: number): number => ((at - (1 - side) / 2) / side) * grid;
  return [seen(x), seen(y)];
}
