/** Tiers of engines: number formats that the language model's linear layers are rounded to (tierLinear.ts computes them). */

import type { Precision } from './onnxModel.ts';

/** What an engine computes the language model's linear layers in; all else stays in the graph's own type. */
export const tiers = ['int8', 'fp8'] as const;
export type Tier = (typeof tiers)[number];

/** Number formats that somebody may ask for and that are no tiers: why. */
export const refusedTiers: ReadonlyMap<string, string> = new Map([
  [
    'nvfp4',
    'There is no nvfp4: rounding to 4 bits changes the actions of both trained policies more than the limits of compare-precision allow ' +
      '(docs/precision.md#nvfp4). Use int8, which passes on both.',
  ],
]);

/** What an engine can be asked for: a type of weights and activations, or a tier beside the device's own type. */
export type EnginePrecision = Precision | Tier;
export const enginePrecisions: readonly EnginePrecision[] = ['float32', 'bfloat16', 'float16', ...tiers];

/** Types of an engine. */
export interface EngineTypes {
  readonly precision: Precision;
  readonly tier?: Tier;
}

/** @param own type of all that a tier leaves as it is */
export function engineTypes(asked: EnginePrecision | undefined, own: Precision): EngineTypes {
  const tier = tiers.find((name) => name === asked);
  if (tier !== undefined) return { precision: own, tier };
  return { precision: (asked as Precision | undefined) ?? own };
}

/** `bfloat16`, `int8 in bfloat16`. */
export const typesText = ({ precision, tier }: EngineTypes): string =>
  tier === undefined ? precision : `${tier} in ${precision}`;

/** ONNX type of levels; `float8` is E4M3 without infinities. */
export type LevelType = 'int8' | 'float8';

interface TierFormat {
  readonly levels: LevelType;
  /** In words, for the audit: `s8 x s8`. */
  readonly product: string;
  /** The oldest compute capability whose tensor cores multiply such levels. */
  readonly leastCapability: number;
  /** The largest level. */
  readonly top: number;
  /**
   * Step between levels in the graph's type: the product's raw sums leave it in that type, and in float16 those of whole levels
   * would pass 65504. 11008 products of 127 x 127 steps of 2^-7 squared are at most 10837, of 448 x 448 steps of 2^-8 squared 33712.
   */
  readonly unit: Readonly<Record<Precision, number>>;
  /** Values are rotated before they are rounded, block by block. */
  readonly rotates: boolean;
}

export const tierFormats: Readonly<Record<Tier, TierFormat>> = {
  int8: {
    levels: 'int8',
    product: 's8 x s8',
    leastCapability: 75,
    top: 127,
    unit: { float32: 1, bfloat16: 1, float16: 2 ** -7 },
    rotates: true,
  },
  // its steps follow the size of a number, so outliers cost the others nothing and rotation gains nothing
  fp8: {
    levels: 'float8',
    product: 'e4m3 x e4m3',
    leastCapability: 89,
    top: 448,
    unit: { float32: 1, bfloat16: 1, float16: 2 ** -8 },
    rotates: false,
  },
};

/** How a linear layer stands in the residual stream, whose values are rotated where the tier rotates. */
export interface StreamPlace {
  /** It reads a norm of the stream: this gamma lies in its weight. */
  readonly gamma?: string;
  /** Its output is added to the stream. */
  readonly writes?: boolean;
  /** It reads something else that has outliers: rotated on the way. */
  readonly turns?: boolean;
}
