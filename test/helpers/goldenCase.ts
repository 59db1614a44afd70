/** One golden case of the authors' code: its samples, the options that the checkpoint does not contain, its stage files. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { PolicyOptions } from '../../lib/types.ts';

/** Those whose weights are exact in bfloat16, with a list of mistakes; `offgrid-tiny` is neither. */
export const goldenNames = ['libero-tiny', 'aloha-tiny', 'oft-tiny'] as const;
export type GoldenName = (typeof goldenNames)[number];

export interface GoldenSample {
  readonly observation: string;
  readonly instruction: string;
  readonly unnorm_key: string;
  readonly golden: string;
  readonly stages: boolean;
  readonly actions_fp32: readonly (readonly number[])[];
  readonly normalized_fp32: readonly (readonly number[])[];
  readonly kept_patches_fp32?: readonly (readonly number[])[];
  /** How far the reference's own bfloat16 moves the normalized actions; with the patches of float32 where it chooses others. */
  readonly bf16_vs_fp32_max_abs_normalized: number;
  readonly bf16_forced_selection_vs_fp32_max_abs_normalized?: number;
  readonly discrete?: { readonly actions_fp32: readonly (readonly number[])[] };
}

export interface GoldenCase {
  readonly name: GoldenName | 'offgrid-tiny';
  readonly samples: readonly GoldenSample[];
  readonly sensitivity: Readonly<Record<string, number>>;
}

export const goldenRoot = fileURLToPath(new URL('../golden', import.meta.url));

export function goldenCase(name: GoldenCase['name']): GoldenCase {
  const parsed = JSON.parse(readFileSync(join(goldenRoot, name, 'case.json'), 'utf8')) as Omit<
    GoldenCase,
    'name'
  >;
  return { ...parsed, name };
}

/** Platform options of each case, as a caller would pass them. */
export const goldenOptions: Readonly<Record<GoldenName, PolicyOptions>> = {
  'libero-tiny': { platform: 'libero' },
  'aloha-tiny': { platform: 'aloha' },
  'oft-tiny': { platform: 'libero' },
};

/** Largest absolute difference; Infinity for a NaN or another length. */
export function maxAbsDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let max = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    if (!(difference <= max)) max = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  }
  return max;
}
