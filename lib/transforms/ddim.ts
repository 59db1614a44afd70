/**
 * The numbers of a diffusion policy's steps (docs/model.md, "Diffusion head"): diffusers' DDIMScheduler with the squared cosine
 * schedule, "leading" spacing, eta 0 and clipped samples. Pure.
 */

import { Random } from '../support/random.ts';

export interface DiffusionSteps {
  /** T: steps that the schedule was trained with. */
  readonly train: number;
  /** N: steps that a prediction takes, at most T. */
  readonly inference: number;
}

export interface DdimSchedule {
  /** N */
  readonly count: number;
  /** [N], descending to 0. */
  readonly timesteps: readonly number[];
  /** [N, D] sine, then cosine, of the time step. */
  readonly timeEmbeddings: Float32Array;
  /** [N, 4] sqrt(alpha), sqrt(1 - alpha), then both of the previous time step. */
  readonly factors: Float32Array;
}

const f32 = Math.fround;

/** alphas_cumprod [T] float32. */
export function cumulativeAlphas(train: number): Float32Array {
  const bar = (u: number): number => Math.cos((((u + 0.008) / 1.008) * Math.PI) / 2) ** 2;
  const out = new Float32Array(train);
  let product = 1;
  for (let i = 0; i < train; i++) {
    const beta = f32(Math.min(1 - bar((i + 1) / train) / bar(i / train), 0.999));
    product = f32(product * f32(1 - beta));
    out[i] = product;
  }
  return out;
}

/** @param width D of the language model  @param steps checked: whole numbers, 1 <= inference <= train */
export function ddimSchedule({ train, inference }: DiffusionSteps, width: number): DdimSchedule {
  const ratio = Math.floor(train / inference);
  const alphas = cumulativeAlphas(train);
  const timesteps = Array.from({ length: inference }, (_, i) => (inference - 1 - i) * ratio);
  const half = width / 2;
  const exponent = f32(-(Math.log(10_000) / (half - 1)));
  const frequencies = Array.from({ length: half }, (_, i) => f32(Math.exp(f32(i * exponent))));
  const timeEmbeddings = new Float32Array(inference * width);
  const factors = new Float32Array(inference * 4);
  for (const [i, t] of timesteps.entries()) {
    for (const [k, frequency] of frequencies.entries()) {
      const angle = f32(t * frequency);
      timeEmbeddings[i * width + k] = Math.sin(angle);
      timeEmbeddings[i * width + half + k] = Math.cos(angle);
    }
    // before the first time step there is no noise
    const pair = [alphas[t]!, t >= ratio ? alphas[t - ratio]! : 1];
    for (const [k, alpha] of pair.entries()) {
      factors[i * 4 + 2 * k] = Math.sqrt(alpha);
      factors[i * 4 + 2 * k + 1] = Math.sqrt(f32(1 - alpha));
    }
  }
  return { count: inference, timesteps, timeEmbeddings, factors };
}

/** Standard normal numbers that depend on the seed alone (support/random.ts; not PyTorch's). */
export function drawnNoise(seed: number, count: number): Float32Array {
  const random = new Random(seed);
  return Float32Array.from({ length: count }, () => random.normal());
}
