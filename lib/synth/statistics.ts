/** Made-up, seeded normalization statistics of one dataset; in every dimension min < q01 < mean < q99 < max. */

import { randomKey, randomUniform } from './random.ts';

interface Quantity {
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly max: readonly number[];
  readonly min: readonly number[];
  readonly q01: readonly number[];
  readonly q99: readonly number[];
  readonly mask?: readonly boolean[];
}

export interface DatasetEntry {
  readonly action: Quantity;
  /** Absent without proprioception. */
  readonly proprio?: Quantity;
  readonly num_transitions: number;
  readonly num_trajectories: number;
}

/** Grippers (every seventh action dimension) range from 0 to 1 and are not normalized, as in the real datasets. */
export function datasetEntry(
  seed: number,
  label: string,
  actionDim: number,
  proprioDim: number,
): DatasetEntry {
  const key = randomKey(seed, `statistics ${label}`);
  let next = 0;
  const draw = (low: number, high: number) => low + (high - low) * randomUniform(key, next++);
  const quantity = (dim: number, scale: number, isGripper: (i: number) => boolean) => {
    const rows = Array.from({ length: dim }, (_, i) => {
      const mean = draw(-0.2, 0.2) * scale;
      const half = draw(0.3, 0.8) * scale;
      const std = half * draw(0.3, 0.5);
      if (isGripper(i)) return { mean: 0.5 + draw(-0.1, 0.1), std: 0.45, min: 0, max: 1, q01: 0, q99: 1 };
      const margin = half * draw(0.05, 0.2);
      return {
        mean,
        std,
        min: mean - half - margin,
        max: mean + half + margin,
        q01: mean - half,
        q99: mean + half,
      };
    });
    const column = (name: keyof (typeof rows)[number]) => rows.map((row) => row[name]);
    return {
      mean: column('mean'),
      std: column('std'),
      max: column('max'),
      min: column('min'),
      q01: column('q01'),
      q99: column('q99'),
    };
  };
  const isGripper = (i: number) => actionDim % 7 === 0 && i % 7 === 6;
  const action = quantity(actionDim, 1, isGripper);
  return {
    action: { ...action, mask: action.mean.map((_, i) => !isGripper(i)) },
    ...(proprioDim === 0 ? {} : { proprio: quantity(proprioDim, 2.5, () => false) }),
    num_transitions: Math.round(draw(20000, 80000)),
    num_trajectories: Math.round(draw(200, 800)),
  };
}
