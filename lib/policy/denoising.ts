/** What a diffusion policy needs besides a checkpoint: how many steps, and where a prediction starts. No file says either. */

import { randomInt } from 'node:crypto';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { PolicySizes } from '../graph/graphContext.ts';
import { SemanticVlaError } from '../support/errors.ts';
import type { Notice } from '../support/notices.ts';
import { expected } from '../support/options.ts';
import { type DiffusionSteps, drawnNoise } from '../transforms/ddim.ts';
import type { PolicyOptions, PredictOptions } from '../types.ts';

/** Both repositories' default. */
const usualSteps = 50;
/** More than any schedule, so that a mistake does not allocate memory. */
const mostSteps = 10_000;

type StepOptions = Pick<PolicyOptions, 'diffusionSteps' | 'diffusionTrainSteps' | 'seed'>;
const stepOptions = [
  'diffusionSteps',
  'diffusionTrainSteps',
  'seed',
] as const satisfies readonly (keyof StepOptions)[];

/** null: not a diffusion policy. @throws OPTION_INVALID */
export function diffusionStepsOf(
  { dir, config }: Pick<Checkpoint, 'dir' | 'config'>,
  options: StepOptions,
): DiffusionSteps | null {
  if (config.head.kind !== 'diffusion') {
    const given = stepOptions.find((name) => options[name] !== undefined);
    if (given === undefined) return null;
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Option ${given} of ${dir}: expected with a diffusion head only, found it with ${config.head.kind === 'autoregressive' || config.head.kind === 'discrete' ? 'a policy of action tokens' : 'a regression head'}. Leave it out.`,
    );
  }
  requireSeed(options.seed);
  const { diffusionSteps, diffusionTrainSteps } = options;
  requireSteps('diffusionSteps', diffusionSteps);
  requireSteps('diffusionTrainSteps', diffusionTrainSteps);
  // SemanticVLA's reference has one number for both
  const train =
    diffusionTrainSteps ?? (config.family === 'semanticvla' ? diffusionSteps : undefined) ?? usualSteps;
  const inference = diffusionSteps ?? train;
  if (inference > train) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Option diffusionSteps of ${dir}: expected at most diffusionTrainSteps, ${train}, found ${inference}. A step must be one that the schedule was trained with.`,
    );
  }
  return { train, inference };
}

/** Of a diffusion policy whose steps were not given. */
export function diffusionNotices(
  { dir, config }: Pick<Checkpoint, 'dir' | 'config'>,
  options: StepOptions,
): readonly Notice[] {
  const isGiven = options.diffusionSteps !== undefined || options.diffusionTrainSteps !== undefined;
  if (config.head.kind !== 'diffusion' || isGiven) return [];
  return [
    {
      code: 'DIFFUSION_STEPS_ASSUMED',
      message: `${dir}: a diffusion head, and no file says with how many steps it was trained: computed with ${usualSteps}, its authors' default. Pass diffusionTrainSteps, and diffusionSteps if a prediction takes fewer.`,
    },
  ];
}

/**
 * [C, A] where a prediction starts: what was given, else the noise of the seed, else new noise; undefined: no diffusion policy.
 * @throws OPTION_INVALID
 */
export function startNoise(
  steps: DiffusionSteps | null,
  { chunk, actionDim }: Pick<PolicySizes, 'chunk' | 'actionDim'>,
  { noise, seed }: Pick<PredictOptions, 'noise' | 'seed'>,
  usualSeed: number | undefined,
): Float32Array | undefined {
  if (steps === null) {
    if (noise === undefined && seed === undefined) return undefined;
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Option ${noise === undefined ? 'seed' : 'noise'} of predict: expected with a diffusion policy only. Leave it out: this policy draws nothing.`,
    );
  }
  requireSeed(seed);
  const count = chunk * actionDim;
  if (noise === undefined) return drawnNoise(seed ?? usualSeed ?? randomInt(2 ** 32), count);
  if (seed !== undefined)
    throw new SemanticVlaError('OPTION_INVALID', 'Options noise and seed of predict: expected one of them.');
  const given = Float32Array.from(noise);
  if (given.length !== count || !given.every(Number.isFinite)) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Option noise of predict: expected ${count} finite numbers [${chunk}, ${actionDim}], found ${given.length}${given.length === count ? ' that are not all finite' : ''}.`,
    );
  }
  return given;
}

function requireSteps(name: string, value: number | undefined): void {
  if (value === undefined || (Number.isInteger(value) && value >= 1 && value <= mostSteps)) return;
  throw expected('OPTION_INVALID', `a whole number in 1..${mostSteps}`, name, value);
}

function requireSeed(seed: number | undefined): void {
  if (seed === undefined || (Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32)) return;
  throw expected('OPTION_INVALID', 'a whole number in 0..4294967295', 'seed', seed);
}
