/**
 * The random tensors of one layer. Weights have standard deviation gain / sqrt(fan in), so that a normalized input gives
 * outputs near one; norms are near one, biases are small, and LoRA changes a weight by about a tenth. Activations thus stay
 * finite at any depth, and the output depends on images, text and state, as it does in a trained policy.
 */

import type { SynthSpec } from './presets.ts';
import type { PlannedTensor } from './tensorPlan.ts';

export interface Linear {
  /** [out, in] or [out, in, kernel, kernel] */
  readonly shape: readonly [number, number, ...number[]];
  readonly gain?: number;
  readonly dtype?: 'BF16' | 'F32';
  readonly bias?: boolean;
}

const biasStd = 0.02;

export function normal(name: string, shape: readonly number[], std: number, mean = 0): PlannedTensor {
  return { name, dtype: 'BF16', shape, values: { mean, std } };
}

/** LayerNorm with bias. */
export function norm(name: string, width: number, dtype: 'BF16' | 'F32' = 'BF16'): PlannedTensor[] {
  return [
    { ...normal(`${name}.weight`, [width], 0.05, 1), dtype },
    { ...normal(`${name}.bias`, [width], biasStd), dtype },
  ];
}

function weightStd({ shape, gain = 1 }: Linear): number {
  const fanIn = shape.slice(1).reduce((product, n) => product * n, 1);
  return gain / Math.sqrt(fanIn);
}

export function linear(name: string, layer: Linear): PlannedTensor[] {
  const { shape, dtype = 'BF16', bias = true } = layer;
  const weight: PlannedTensor = { ...normal(`${name}.weight`, shape, weightStd(layer)), dtype };
  return bias ? [weight, { ...normal(`${name}.bias`, [shape[0]], biasStd), dtype }] : [weight];
}

/**
 * A layer split by peft: `base_layer`, `lora_A.default` [r, in, ...], `lora_B.default` [out, r, 1, ...]. A is Gaussian with
 * 1/r, as peft initializes it; B is chosen so that alpha/r * B A is a tenth of the size of the weight.
 */
export function linearLora(name: string, layer: Linear, { rank, alpha }: SynthSpec['lora']): PlannedTensor[] {
  const [out, ...input] = layer.shape;
  const kernel = input.slice(1).map(() => 1);
  const deltaStd = 0.1 * weightStd(layer);
  const aStd = 1 / rank;
  const bStd = deltaStd / ((alpha / rank) * Math.sqrt(rank) * aStd);
  return [
    ...linear(`${name}.base_layer`, layer),
    normal(`${name}.lora_A.default.weight`, [rank, ...input], aStd),
    normal(`${name}.lora_B.default.weight`, [out, rank, ...kernel], bStd),
  ];
}
