/** Every policy whose answers are known, each with all its samples, in one form. */

import { join } from 'node:path';
import { exampleCheckpoint } from '../../lib/example/exampleCheckpoint.ts';
import { towerNames } from '../../lib/graph/names.ts';
import { readObservation } from '../../lib/observation/readObservation.ts';
import type { Observation, PolicyOptions } from '../../lib/types.ts';
import { cubesObservation, cubesSamples } from '../helpers/cubes.ts';
import { goldenCheckpoint, scratchFolder } from '../helpers/golden.ts';
import { goldenCase, goldenRoot } from '../helpers/goldenCase.ts';
import { variant, variantNames, variantObservation } from '../helpers/variants.ts';

export interface KnownSample {
  readonly label: string;
  readonly observation: () => Promise<Observation>;
  readonly instruction: string;
  readonly unnormKey: string | undefined;
  /** Normalized actions, float32. */
  readonly actions: readonly number[];
  /** By camera; empty where no patches are chosen. */
  readonly kept: readonly (readonly number[])[];
}

export interface KnownPolicy {
  readonly name: string;
  readonly checkpoint: () => Promise<string>;
  readonly options: PolicyOptions;
  readonly samples: readonly KnownSample[];
  /** Of a float32 action, as in the tests of the CPU path. */
  readonly tolerance: number;
  /** Its actions are bins of tokens, which bfloat16 moves by whole bins. */
  readonly isDiscrete: boolean;
}

function golden(name: 'libero-tiny' | 'aloha-tiny' | 'oft-tiny' | 'offgrid-tiny'): KnownPolicy {
  const samples = goldenCase(name).samples.map(
    (sample): KnownSample => ({
      label: `${sample.observation}, "${sample.instruction}"`,
      observation: async () =>
        (await readObservation(join(goldenRoot, name, sample.observation))).observation,
      instruction: sample.instruction,
      unnormKey: sample.unnorm_key,
      actions: sample.normalized_fp32.flat(),
      kept: sample.kept_patches_fp32 ?? [],
    }),
  );
  return {
    name,
    checkpoint: async () => goldenCheckpoint(name),
    options: { platform: name === 'aloha-tiny' ? 'aloha' : 'libero' },
    samples,
    // policy.test.ts, weightRounding.test.ts
    tolerance: name === 'offgrid-tiny' ? 2e-5 : 5e-5,
    isDiscrete: false,
  };
}

function variantPolicy(name: string): KnownPolicy {
  const { case: content, checkpoint } = variant(name);
  return {
    name,
    checkpoint: async () => checkpoint,
    options: { platform: 'custom', ...content.options, unnormKey: content.unnorm_key },
    samples: content.samples.map((sample, i) => {
      // with samplers on both towers the chunk tells SigLIP's
      const tower = towerNames.toReversed().find((one) => sample.kept_patches[one] !== undefined);
      return {
        label: `sample ${i}`,
        observation: () => variantObservation(sample),
        instruction: sample.instruction,
        unnormKey: undefined,
        actions: sample.normalized.flat(),
        kept: tower === undefined ? [] : sample.kept_patches[tower]!,
      };
    }),
    // policyVariants.test.ts
    tolerance: 2e-5,
    isDiscrete: content.options.head === 'discrete',
  };
}

/** The trained policy that ships with the program. */
export function cubes(): KnownPolicy {
  return {
    name: 'cubes',
    checkpoint: async () => {
      scratchFolder();
      return exampleCheckpoint();
    },
    options: {},
    samples: cubesSamples().map((sample) => ({
      label: `scene ${sample.seed}`,
      observation: () => cubesObservation(sample),
      instruction: sample.instruction,
      unnormKey: undefined,
      actions: sample.normalized.flat(),
      kept: Object.values(sample.kept),
    })),
    // policyTrained.test.ts
    tolerance: 5e-5,
    isDiscrete: false,
  };
}

export const libero = (): KnownPolicy => golden('libero-tiny');

export function goldens(): readonly KnownPolicy[] {
  return [libero(), golden('aloha-tiny'), golden('oft-tiny'), golden('offgrid-tiny')];
}

export const variants = (): readonly KnownPolicy[] => variantNames.map(variantPolicy);
