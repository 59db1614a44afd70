/** Joint state -> the policy's proprioception input (docs/model.md, Input 3). Pure. */

import type { Bounds } from '../checkpoint/checkpoint.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { expected } from '../support/options.ts';
import type { Normalization } from '../types.ts';
import { lowHigh } from './bounds.ts';

/**
 * `clip(where(mask, 2*(x-low)/(high-low+1e-8)-1, x), -1, 1)` in float64, then rounded to float32.
 * @param state [proprioDim] in the dataset's units; never modified
 * @throws STATE_INVALID if it is not an array of numbers, not as long as the statistics, or not finite
 */
export function normalizeProprio(
  state: ArrayLike<number>,
  bounds: Bounds,
  normalization: Normalization,
): Float32Array<ArrayBuffer> {
  const { low, high } = lowHigh(bounds, normalization);
  checkState(state, low.length);
  const out = new Float32Array(low.length);
  for (let i = 0; i < out.length; i++) {
    const x = state[i] as number;
    const l = low[i] as number;
    const y = bounds.mask[i] ? (2 * (x - l)) / ((high[i] as number) - l + 1e-8) - 1 : x;
    out[i] = Math.min(1, Math.max(-1, y));
  }
  return out;
}

function checkState(state: unknown, dim: number): asserts state is ArrayLike<number> {
  const isList = Array.isArray(state) || (ArrayBuffer.isView(state) && !(state instanceof DataView));
  if (!isList) throw expected('STATE_INVALID', `${dim} numbers`, 'state', state);
  const values = state as ArrayLike<unknown>;
  if (values.length !== dim) {
    throw new SemanticVlaError(
      'STATE_INVALID',
      `Expected ${dim} numbers for state but received ${values.length}. Pass the joint state in the order and units of the ` +
        'training data, or choose the normalization key of the robot that sent it.',
    );
  }
  for (let i = 0; i < dim; i++) {
    if (typeof values[i] !== 'number' || !Number.isFinite(values[i])) {
      throw expected('STATE_INVALID', 'a finite number', `state[${i}]`, values[i]);
    }
  }
}
