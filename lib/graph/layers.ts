/** Building blocks that every part of the model shares. Activations are [rows, width] unless said otherwise. */

import type { GraphBuilder, Value } from './graphBuilder.ts';
import { int8Linear, publishError } from './int8.ts';
import { FloatAttribute } from './onnxModel.ts';
import { tierLinear } from './tierLinear.ts';
import type { StreamPlace } from './tiers.ts';

/**
 * x W^T + b with the checkpoint's own [out, in] layout. Gemm keeps the weight as it lies on disk (no transpose on any
 * runtime); `bias: false` for Llama. `rows`: those outputs alone. `place`: given for the layers that a tier computes in fewer bits.
 */
export function linear(
  g: GraphBuilder,
  x: Value,
  prefix: string,
  label: string,
  options: {
    readonly bias?: boolean;
    readonly dims?: readonly number[];
    readonly rows?: readonly [number, number];
    readonly place?: StreamPlace;
  } = {},
): Value {
  const { bias = true, dims, rows, place } = options;
  const part = (tensor: string) => (rows === undefined ? tensor : g.windowOf(tensor, ...rows));
  const tensor = part(`${prefix}.weight`);
  const biasValue = bias ? g.weight(part(`${prefix}.bias`)) : null;
  return product(g, x, { name: tensor, tensors: [tensor], dims, place }, biasValue, label);
}

/** x W^T for several layers without bias that share their input: one product, whose outputs stand side by side. */
export function joinedLinear(
  g: GraphBuilder,
  x: Value,
  prefixes: readonly string[],
  name: string,
  label: string,
  place?: StreamPlace,
): Value {
  const tensors = prefixes.map((prefix) => `${prefix}.weight`);
  return product(g, x, { name: `${name}.weight`, tensors, place }, null, label);
}

function product(
  g: GraphBuilder,
  x: Value,
  weight: {
    readonly name: string;
    readonly tensors: readonly string[];
    readonly dims?: readonly number[] | undefined;
    readonly place?: StreamPlace | undefined;
  },
  bias: Value | null,
  label: string,
): Value {
  const { name, tensors, dims, place } = weight;
  if (g.tier !== undefined && place !== undefined) return tierLinear(g, g.tier, x, weight, place, label);
  const eighth = (as: string) => int8Linear(g, g.int8!, x, weight, bias, as);
  const inInt8 = dims === undefined && g.isInt8(tensors);
  if (inInt8 && !g.int8!.compares) return eighth(label);
  const value =
    tensors.length === 1 ? g.weight(name, dims) : g.joinedWeight(tensors, name, `${label}_weight`);
  const exact = g.op('Gemm', bias === null ? [x, value] : [x, value, bias], { transB: 1 }, label);
  // passes over the same weights again have the same errors
  if (inInt8 && !g.isReusing) publishError(g, name, exact, eighth(`${label}_int8`));
  return exact;
}

/**
 * (x - mean) / sqrt(variance + eps) * weight + bias over the last axis.
 *
 * TensorRT-RTX takes several kernels for a row wider than `widestRow`, and where such a norm follows the language model it also
 * joins less in every layer before it: in fp8 four kernels more a layer. Wider rows are therefore spelled in parts.
 *
 * @param parts that a row falls into, where it may be wide
 */
export function layerNorm(
  g: GraphBuilder,
  x: Value,
  prefix: string,
  eps: number,
  label: string,
  parts = 1,
): Value {
  const [weight, bias] = [g.weight(`${prefix}.weight`), g.weight(`${prefix}.bias`)];
  if (parts > 1 && g.shapeOf(`${prefix}.weight`)[0]! > widestRow) {
    return g.scope(label, () => {
      const normal = g.narrow(normalInParts(g, x, eps, parts), 'narrowed');
      return g.op('Add', [g.op('Mul', [normal, weight], {}, 'scaled'), bias], {}, 'shifted');
    });
  }
  return g.op('LayerNormalization', [x, weight, bias], { axis: -1, epsilon: new FloatAttribute(eps) }, label);
}

/** Columns. TensorRT-RTX 1.7.1 makes one kernel of a norm of 12,288, and splits that of 16,384. */
const widestRow = 12288;

/**
 * (x - mean) / sqrt(variance + eps), in float32. Mean and variance of the parts first, then of the row: the variance is the mean of
 * the parts' own and of the squares by which their means are off (Chan, Golub, LeVeque 1983), which loses no digits.
 *
 * @param x [rows, width]
 */
function normalInParts(g: GraphBuilder, x: Value, eps: number, parts: number): Value {
  const mean = (value: Value, keepdims: 0 | 1, name: string): Value =>
    g.op('ReduceMean', [value, g.ints([-1])], { keepdims }, name);
  const square = (value: Value, name: string): Value => g.op('Mul', [value, value], {}, name);
  const wide = g.widen(x, 'float');
  const inParts = g.op('Reshape', [wide, g.ints([0, parts, -1])], {}, 'parts');
  const centre = mean(inParts, 1, 'part_means');
  const off = g.op('Sub', [inParts, centre], {}, 'parts_centred');
  const within = mean(square(off, 'parts_squared'), 0, 'within');
  const means = g.op('Squeeze', [centre, g.ints([-1])], {}, 'means');
  const whole = mean(means, 1, 'mean');
  const between = square(g.op('Sub', [means, whole], {}, 'means_centred'), 'between');
  const variance = mean(g.op('Add', [within, between], {}, 'both'), 1, 'variance');
  const deviation = g.op('Sqrt', [g.op('Add', [variance, g.float32(eps)], {}, 'eps')], {}, 'deviation');
  return g.op('Div', [g.op('Sub', [wide, whole], {}, 'centred'), deviation], {}, 'normal');
}

/**
 * x / sqrt(mean(x^2) + eps) * weight, spelled in the operators that both runtimes fuse into one kernel. Statistics are
 * float32 in every precision, as in the reference.
 */
export function rmsNorm(g: GraphBuilder, x: Value, weight: string, eps: number, label: string): Value {
  return g.scope(label, () => scaleBy(g, g.narrow(normalized(g, x, eps), 'narrowed'), weight));
}

/** x / sqrt(mean(x^2) + eps), in float32. */
export function rmsNormalized(g: GraphBuilder, x: Value, eps: number, label: string): Value {
  return g.scope(label, () => normalized(g, x, eps));
}

export function scaleBy(g: GraphBuilder, x: Value, weight: string): Value {
  return g.op('Mul', [x, g.weight(weight)], {}, 'scaled');
}

function normalized(g: GraphBuilder, x: Value, eps: number): Value {
  const wide = g.widen(x, 'float');
  const square = g.op('Pow', [wide, g.float32(2)], {}, 'square');
  const mean = g.op('ReduceMean', [square, g.ints([-1])], { keepdims: 1 }, 'mean');
  const rms = g.op('Sqrt', [g.op('Add', [mean, g.float32(eps)], {}, 'eps')], {}, 'rms');
  return g.op('Div', [wide, rms], {}, 'normalized');
}

/** fc1 - GELU - fc2 with the given spelling of the two layers. */
export function geluMlp(
  g: GraphBuilder,
  x: Value,
  fc1: string,
  fc2: string,
  approximate: 'none' | 'tanh' = 'none',
): Value {
  const hidden = linear(g, x, fc1, 'fc1');
  const active = g.op('Gelu', [hidden], approximate === 'tanh' ? { approximate } : {}, 'gelu');
  return linear(g, active, fc2, 'fc2');
}

/**
 * softmax(q k^T + bias) v. q [.., n, d] is already scaled; k, v [.., m, d]; bias broadcasts to [.., n, m].
 * MatMul - Softmax - MatMul is the form that TensorRT fuses into one attention kernel.
 */
export function attentionCore(
  g: GraphBuilder,
  q: Value,
  k: Value,
  v: Value,
  bias: Value | null,
  kTranspose: readonly number[],
): Value {
  const keys = g.op('Transpose', [k], { perm: kTranspose }, 'kT');
  let scores = g.op('MatMul', [q, keys], {}, 'scores');
  if (bias !== null) scores = g.op('Add', [scores, bias], {}, 'masked');
  const weights = g.op('Softmax', [scores], { axis: -1 }, 'softmax');
  return g.op('MatMul', [weights, v], {}, 'context');
}
