/** Selects the statistics that bound a quantity, by kind of normalization. */

import type { Bounds } from '../checkpoint/checkpoint.ts';
import type { Normalization } from '../types.ts';

/** q01/q99 or min/max, [dim] each. */
export function lowHigh(
  bounds: Bounds,
  normalization: Normalization,
): { readonly low: readonly number[]; readonly high: readonly number[] } {
  switch (normalization) {
    case 'q99':
      return { low: bounds.q01, high: bounds.q99 };
    case 'minmax':
      return { low: bounds.min, high: bounds.max };
  }
}
