/** A policy's statistics, for those who compare its actions with recorded ones. */

import { lowHigh } from '../transforms/bounds.ts';
import type { Policy } from '../types.ts';
import { resolveUnnormKey } from './platform.ts';
import { partsOf } from './policyParts.ts';

/**
 * The normalization key for recordings called `dataset`: the one given at load or the only one, else the one of that name, with
 * or without LIBERO's suffix `_no_noops`.
 *
 * @returns undefined for a policy that `loadPolicy` did not make: its own default holds
 * @throws UNNORM_KEY_REQUIRED none of several is called so
 */
export function unnormKeyOf(policy: Policy, dataset: string): string | undefined {
  const made = partsOf(policy);
  if (made === null) return undefined;
  const { parts, options } = made;
  const { statistics } = parts.checkpoint;
  const plain = dataset.replace(/_no_noops$/, '');
  const named = [dataset, plain, `${plain}_no_noops`].find((key) => statistics.has(key));
  const isTold = options.unnormKey !== undefined || statistics.size === 1;
  return isTold
    ? resolveUnnormKey(parts.checkpoint, options.unnormKey)
    : (named ?? resolveUnnormKey(parts.checkpoint));
}

/** What the statistics say of each action dimension. */
export interface ActionUnits {
  /** Units of the policy's head per unit of the dataset: 2 / (high - low), 1 where the mask passes a value through. */
  readonly perUnit: readonly number[];
  /** The lowest value of the training data, or its 1 % quantile. */
  readonly low: readonly number[];
}

/**
 * Widths and lowest values by which a policy's actions are normalized, per dimension: what turns errors into normalized ones.
 *
 * @param policy a loaded one
 * @param unnormKey default: the only dataset, or the one that `loadPolicy` was told
 * @returns [A] each, in the dataset's units; null for a policy that `loadPolicy` did not make
 * @throws UNNORM_KEY_UNKNOWN, UNNORM_KEY_REQUIRED; STATISTICS_INVALID where the dataset's cannot be read
 */
export function actionUnits(policy: Policy, unnormKey: string | undefined): ActionUnits | null {
  const made = partsOf(policy);
  if (made === null) return null;
  const { checkpoint, platform } = made.parts;
  const bounds = checkpoint.statistics.get(resolveUnnormKey(checkpoint, unnormKey))!.action;
  const { low, high } = lowHigh(bounds, platform.normalization);
  // the width that un-normalizing gives a dimension without a range
  const perUnit = low.map((value, d) => (bounds.mask[d] ? 2 / (high[d]! - value + 1e-8) : 1));
  return { perUnit, low };
}
