/** Every policy whose answers are known, each with all its samples, in one form. */

import { join } from 'node:path';
import { towerNames } from '../../lib/graph/names.ts';
import { readObservation } from '../../lib/observation/readObservation.ts';
import type { Observation, PolicyOptions } from '../../lib/types.ts';
import { goldenCheckpoint } from '../helpers/golden.ts';
import { goldenCase, goldenRoot } from '../helpers/goldenCase.ts';
import type { TrainedPolicy } from '../helpers/trained.ts';
import * as trained from '../helpers/trained.ts';
import { variant, variantNames, variantObservation } from '../helpers/variants.ts';

/**
 * Where the reference's own bfloat16 is not known: as in the check of engines (lib/engine/trust.ts), three times the most that
 * it moves an action of the goldens.
 */
const usualNoise = 0.17;

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
  /** Of a bfloat16 action where the same patches are kept; null: actions are bins of tokens, which move by whole bins. */
  readonly bfloat16: number | null;
  /** Share of actions that may lie farther away in bfloat16: a trained gripper that is about to close moves by half its range. */
  readonly switching: number;
}

function golden(name: 'libero-tiny' | 'aloha-tiny' | 'oft-tiny' | 'offgrid-tiny'): KnownPolicy {
  const cases = goldenCase(name).samples;
  // three times the reference's own (golden README): both round after every operator, in another order of sums
  const noise = cases.map(
    (one) => one.bf16_forced_selection_vs_fp32_max_abs_normalized ?? one.bf16_vs_fp32_max_abs_normalized,
  );
  const samples = cases.map(
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
    bfloat16: 3 * Math.max(...noise),
    switching: 0,
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
    bfloat16: content.options.head === 'discrete' ? null : usualNoise,
    switching: 0,
  };
}

function trainedPolicy(name: string, { checkpoint, observation, samples }: TrainedPolicy): KnownPolicy {
  return {
    name,
    checkpoint,
    options: {},
    samples: samples.map((sample) => ({
      label: `scene ${sample.seed}`,
      observation: () => observation(sample),
      instruction: sample.instruction,
      unnormKey: undefined,
      actions: sample.normalized.flat(),
      kept: Object.values(sample.kept),
    })),
    // policyTrained.test.ts
    tolerance: 5e-5,
    bfloat16: usualNoise,
    // seen: 1 of 2800, and 99.9 % of them within 0.063
    switching: 1 / 500,
  };
}

export const cubes = (): KnownPolicy => trainedPolicy('cubes', trained.cubes);

/** The one that ships with the program. */
export const shipped = (): KnownPolicy => trainedPolicy('the shipped policy', trained.libero);

export const libero = (): KnownPolicy => golden('libero-tiny');

export function goldens(): readonly KnownPolicy[] {
  return [libero(), golden('aloha-tiny'), golden('oft-tiny'), golden('offgrid-tiny')];
}

export const variants = (): readonly KnownPolicy[] => variantNames.map(variantPolicy);
