/** Trained policies, each with its golden: 50 observations of scenes that it was not trained on (test/golden/README.md). */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packedCheckpoint } from '../../lib/example/packedCheckpoint.ts';
import { readImageFile } from '../../lib/observation/imageFile.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import type { Observation, Policy, PolicyOptions } from '../../lib/types.ts';
import { goldenRoot, scratchFolder } from './golden.ts';

export type Place = readonly [number, number] | null;
type Places = Readonly<Record<string, Place>>;

export interface TrainedSample {
  readonly seed: number;
  readonly step: number;
  readonly instruction: string;
  readonly state: readonly number[];
  readonly images: Readonly<Record<string, string>>;
  /** By camera: where the named object is, in fractions of the side of the frame; null if outside. */
  readonly target: Places;
  /** The same of where it is put; absent where it is only lifted. */
  readonly goal?: Places;
  /** [C][A] of the PyTorch twin, float32. */
  readonly normalized: readonly (readonly number[])[];
  /** By camera, ascending, of the twin. */
  readonly kept: Readonly<Record<string, readonly number[]>>;
}

export interface TrainedPolicy {
  readonly samples: readonly TrainedSample[];
  observation(sample: TrainedSample): Promise<Observation>;
  /** Unpacked into this process's cache. */
  checkpoint(): Promise<string>;
  open(options?: PolicyOptions): Promise<Policy>;
}

function trained(model: string, golden: string): TrainedPolicy {
  const folder = join(goldenRoot, golden);
  const text = readFileSync(join(folder, 'observations.json'), 'utf8');
  const checkpoint = () => {
    scratchFolder();
    return packedCheckpoint(model, {});
  };
  return {
    samples: (JSON.parse(text) as { observations: TrainedSample[] }).observations,
    async observation({ images, state }) {
      const frames = Object.entries(images).map(
        async ([camera, file]) => [camera, await readImageFile(join(folder, file))] as const,
      );
      return { images: Object.fromEntries(await Promise.all(frames)), state };
    },
    checkpoint,
    open: async (options = {}) => loadPolicy(await checkpoint(), options),
  };
}

/** The shipped one: things of LIBERO-Object, which go into the basket. */
export const libero = trained('libero', 'libero-trained');
/** Cubes that are named by colour, side or neighbour; not in the package. */
export const cubes = trained('cubes', 'cubes');

/**
 * Where a point of a frame lies in the grid of patches, in patches: the policy sees the middle 90 % of the area. Outside
 * 0..grid if it was cropped away.
 */
export function placeInGrid([x, y]: readonly [number, number], grid: number): readonly [number, number] {
  const side = Math.sqrt(0.9);
  const seen = (at: number): number => ((at - (1 - side) / 2) / side) * grid;
  return [seen(x), seen(y)];
}
