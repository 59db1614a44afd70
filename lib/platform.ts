/**
 * What a checkpoint does not hold, per robot platform (spec, Variants): cameras and their order, proprioception, center
 * crop, chunk length, kind of normalization. Inferred only when unambiguous; each value can be overridden by itself.
 */

/** `q99`: [q01, q99] -> [-1, 1]; `minmax`: [min, max] -> [-1, 1]. */
export type Normalization = 'q99' | 'minmax';

export type PlatformName = 'libero' | 'aloha' | 'bridge' | 'custom';

/** Everything resolved; no field is optional any more. */
export interface Platform {
  readonly name: PlatformName;
  /** Camera names in input order, e.g. `['full_image', 'wrist_image']`. */
  readonly cameras: readonly string[];
  readonly proprio: boolean;
  readonly centerCrop: boolean;
  /** JPEG round trip before the resize, as in the training data. */
  readonly jpeg: boolean;
  /** Chunk length C, actions per prediction. */
  readonly chunk: number;
  readonly normalization: Normalization;
}
