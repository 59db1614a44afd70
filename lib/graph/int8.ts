/**
 * Linear layers in 8 bits (docs/precision.md): activations quantized per token while the policy runs, weights per output
 * channel beforehand. What is quantized is rotated first, block by block, by a Hadamard matrix H, which spreads outliers:
 * x W^T = (x H) (W H)^T. No calibration data.
 *
 * uint8 times int8, since the CPU runtime has no kernel for int8 times int8. Sums are exact int32.
 */

import type { GraphBuilder, Value } from './graphBuilder.ts';
import { blockOf, type Int8Options } from './int8Layers.ts';
import { onnxType } from './onnxModel.ts';

/** Outputs of a comparing graph: [sum of y^2, sum of (y - y8)^2] of each layer, by its weight. */
export const errorPrefix = `stage:int8/`;

/** H [n, n]: Sylvester's order, orthonormal and symmetric. */
export function hadamard(n: number): Float32Array {
  const norm = Math.fround(1 / Math.sqrt(n));
  return Float32Array.from({ length: n * n }, (_, at) => {
    let common = Math.floor(at / n) & (at % n);
    let sign = 1;
    for (; common > 0; common &= common - 1) sign = -sign;
    return sign * norm;
  });
}

interface Levels {
  /** uint8 [rows, columns], zero at 2^(bits - 1) */
  readonly levels: Value;
  /** float32 [rows, 1] */
  readonly scales: Value;
}

/** By builder and value: q, k and v share their input. */
const made = new WeakMap<GraphBuilder, Map<Value, Levels>>();

/**
 * x W^T + b in 8 bits.
 *
 * @param x float32 [rows, columns]  @param tensors stacked along their rows  @param name of the stack
 */
export function int8Linear(
  g: GraphBuilder,
  int8: Int8Options,
  x: Value,
  weight: { readonly name: string; readonly tensors: readonly string[] },
  bias: Value | null,
  label: string,
): Value {
  const columns = g.shapeOf(weight.tensors[0]!)[1]!;
  const block = blockOf(columns);
  const plan = { levels: 'int8', byRow: false, block, rowBlock: 1 } as const;
  const { levels, scales } = g.quantizedWeight(weight.name, weight.tensors, plan);
  return g.scope(label, () => {
    const tokens = quantizeTokens(g, int8, x, columns, block);
    const zero = g.byte(2 ** (int8.activationBits - 1));
    const sums = g.op('MatMulInteger', [tokens.levels, levels, zero], {}, 'sums');
    const float = g.op('Cast', [sums], { to: onnxType.float32 }, 'float');
    const byToken = g.op('Mul', [float, tokens.scales], {}, 'by_token');
    const product = g.op('Mul', [byToken, scales], {}, 'by_channel');
    return bias === null ? product : g.op('Add', [product, bias], {}, 'biased');
  });
}

/** Rotated, then each row by its own largest magnitude; rounds to nearest, ties to even. */
function quantizeTokens(
  g: GraphBuilder,
  { activationBits }: Int8Options,
  x: Value,
  columns: number,
  block: number,
): Levels {
  const known = made.get(g) ?? new Map<Value, Levels>();
  made.set(g, known);
  const before = known.get(x);
  if (before !== undefined) return before;
  const half = 2 ** (activationBits - 1);
  let rotated = x;
  if (block > 1) {
    const matrix = g.shared(`hadamard${block}`, [block, block], () => hadamard(block));
    const blocks = g.op('Reshape', [x, g.ints([-1, columns / block, block])], {}, 'blocks');
    const turned = g.op('MatMul', [blocks, matrix], {}, 'rotated_blocks');
    rotated = g.op('Reshape', [turned, g.ints([-1, columns])], {}, 'rotated');
  }
  const sizes = g.op('Abs', [rotated], {}, 'sizes');
  const largest = g.op('ReduceMax', [sizes, g.ints([-1])], { keepdims: 1 }, 'largest');
  // a row of zeros has no scale of its own
  const floored = g.op('Max', [largest, g.float32(1e-30)], {}, 'floored');
  const scales = g.op('Mul', [floored, g.float32(1 / (half - 1))], {}, 'scales');
  const flat = g.op('Reshape', [scales, g.ints([-1])], {}, 'flat_scales');
  const zeros = g.op('Expand', [g.byte(half), g.op('Shape', [flat], {}, 'count')], {}, 'zeros');
  const levels = g.op('QuantizeLinear', [rotated, flat, zeros], { axis: 0 }, 'levels');
  const tokens = { levels, scales };
  known.set(x, tokens);
  return tokens;
}

/** Publishes how far the 8-bit product is from the float32 one. */
export function publishError(g: GraphBuilder, name: string, exact: Value, quantized: Value): void {
  g.scope(`error/${name}`, () => {
    const sum = (value: Value, label: string) =>
      g.op('ReduceSumSquare', [value, g.ints([0, 1])], { keepdims: 1 }, label);
    const difference = g.op('Sub', [exact, quantized], {}, 'difference');
    const both = g.op('Concat', [sum(exact, 'signal'), sum(difference, 'noise')], { axis: 1 }, 'both');
    g.output(both, { name: errorPrefix + name, type: 'float32', shape: [1, 2] });
  });
}
