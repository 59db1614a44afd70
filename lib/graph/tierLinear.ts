/**
 * Linear layers of the language model in fewer bits on TensorRT (docs/precision.md): activations by each token's own largest
 * magnitude while the policy runs, weights by output channel beforehand. No calibration data.
 *
 * TensorRT makes a true 8-bit product of two DequantizeLinear of one constant step (`unit`); the real scales, which are inputs or
 * computed, are divided out before and multiplied in after. With the scales inside it would widen the weights instead.
 */

import { swigluLevels } from './functions.ts';
import type { GraphBuilder, Value } from './graphBuilder.ts';
import { hadamard, publishError } from './int8.ts';
import { blockOf } from './int8Layers.ts';
import { type StreamPlace, type Tier, tierFormats } from './tiers.ts';

/** The least columns that the kernel of `swigluLevels` rotates together. */
const leastKernelBlock = 16;

const rotates = (g: GraphBuilder): boolean => g.tier !== undefined && tierFormats[g.tier].rotates;

/**
 * Into the rotated stream, or out of it again, since H is its own inverse; x itself where nothing is rotated.
 *
 * @param columns of x
 */
export function turn(g: GraphBuilder, x: Value, columns: number, label: string): Value {
  const block = blockOf(columns);
  if (!rotates(g) || block === 1) return x;
  return g.scope(label, () => {
    const matrix = g.shared(`hadamard${block}`, [block, block], () => hadamard(block));
    const blocks = g.op('Reshape', [x, g.ints([-1, columns / block, block])], {}, 'blocks');
    const turned = g.op('MatMul', [blocks, matrix], {}, 'turned_blocks');
    return g.op('Reshape', [turned, g.ints([-1, columns])], {}, 'turned');
  });
}

/**
 * x W^T in the graph's tier.
 *
 * @param x [rows, columns], of the graph's type; float32 where it reads the stream  @param weight of tensors stacked along their rows
 */
export function tierLinear(
  g: GraphBuilder,
  tier: Tier,
  x: Value,
  weight: StackedWeight,
  place: StreamPlace,
  label: string,
): Value {
  if (!g.comparesTier) return g.scope(label, () => rounded(g, tier, x, weight, place));
  const exact = g.scope(label, () => plain(g, x, weight, place));
  const inLevels = g.scope(`${label}_${tier}`, () => rounded(g, tier, x, weight, place));
  publishError(g, weight.name, exact, inLevels);
  return exact;
}

interface StackedWeight {
  readonly name: string;
  readonly tensors: readonly string[];
}

/** The same from the checkpoint's own weights, nothing rounded or folded. */
function plain(g: GraphBuilder, x: Value, weight: StackedWeight, { gamma, writes }: StreamPlace): Value {
  const [outputs, columns] = g.stackedShape(weight.tensors);
  const input =
    gamma === undefined ? x : g.op('Mul', [turn(g, x, columns, 'back'), g.weight(gamma)], {}, 'scaled');
  const product = g.op(
    'Gemm',
    [input, g.joinedWeight(weight.tensors, weight.name, 'weight')],
    { transB: 1 },
    'product',
  );
  return writes === true ? turn(g, product, outputs, 'into_stream') : product;
}

/**
 * down(silu(gate(x)) * up(x)) in the graph's tier, where one kernel (functions.ts) does all between the two products; null: it
 * does not fit, and they are layers of their own.
 *
 * @param x as in `tierLinear`  @param gateUp stacked; `gamma`: of the norm that x comes from
 */
export function tierSwiGlu(
  g: GraphBuilder,
  x: Value,
  gateUp: StackedWeight & { readonly gamma: string },
  down: StackedWeight,
): Value | null {
  const { tier } = g;
  const block = blockOf(g.stackedShape(down.tensors)[1]);
  if (tier === undefined || !rotates(g) || g.comparesTier || block < leastKernelBlock) return null;
  const both = g.scope('gate_up', () =>
    product(g, tier, quantizeTokens(g, tier, x, false), gateUp, { gamma: gateUp.gamma }),
  );
  const inputs = [both.sums, both.byToken, both.byChannel];
  const [levels, scales] = g.call(swigluLevels(block), inputs, { block }, 'swigluLevels');
  return g.scope('down', () => {
    const unit = tierFormats[tier].unit[g.precision];
    const zero = g.zeroLevel(tierFormats[tier].levels);
    const steps = g.op('DequantizeLinear', [levels!, g.float(unit), zero], {}, 'steps');
    // both operands are multiples of the unit
    const factors = unit === 1 ? scales! : g.op('Mul', [scales!, g.float32(1 / unit ** 2)], {}, 'factors');
    return scaled(g, product(g, tier, { steps, factors }, down, { writes: true, turns: true }));
  });
}

function rounded(g: GraphBuilder, tier: Tier, x: Value, weight: StackedWeight, place: StreamPlace): Value {
  const [, columns] = g.stackedShape(weight.tensors);
  const input = place.turns === true ? turn(g, x, columns, 'hadamard') : x;
  return scaled(
    g,
    product(g, tier, quantizeTokens(g, tier, input, place.gamma === undefined), weight, place),
  );
}

/** A product that its scales are still to be multiplied into. */
interface Product {
  /** Of the graph's type. */
  readonly sums: Value;
  /** float32 [rows, 1] and [1, outputs] */
  readonly byToken: Value;
  readonly byChannel: Value;
}

function scaled(g: GraphBuilder, { sums, byToken, byChannel }: Product): Value {
  const byRow = g.op('Mul', [g.widen(sums, 'float'), byToken], {}, 'by_token');
  return g.narrow(g.op('Mul', [byRow, byChannel], {}, 'by_channel'), 'narrowed');
}

function product(
  g: GraphBuilder,
  tier: Tier,
  tokens: Tokens,
  weight: StackedWeight,
  { gamma, writes = false, turns = false }: StreamPlace,
): Product {
  const [outputs, columns] = g.stackedShape(weight.tensors);
  const { levels, unit, rotates } = tierFormats[tier];
  const stored = g.quantizedWeight(weight.name, weight.tensors, {
    levels,
    byRow: true,
    block: rotates && (turns || gamma !== undefined) ? blockOf(columns) : 1,
    rowBlock: rotates && writes ? blockOf(outputs) : 1,
    ...(gamma === undefined ? {} : { gamma }),
  });
  const step = g.float(unit[g.precision]);
  const factors = g.op('DequantizeLinear', [stored.levels, step, g.zeroLevel(levels)], {}, 'weight');
  const sums = g.op('Gemm', [tokens.steps, factors], { transB: 1 }, 'sums');
  return { sums, byToken: tokens.factors, byChannel: stored.scales };
}

interface Tokens {
  /** Of the graph's type, multiples of the unit. */
  readonly steps: Value;
  /** float32 [rows, 1]: what a product with them is multiplied by. */
  readonly factors: Value;
}

/** By builder and value: k and v share their input. */
const made = new WeakMap<GraphBuilder, Map<Value, Tokens>>();

function quantizeTokens(g: GraphBuilder, tier: Tier, x: Value, widens: boolean): Tokens {
  const known = made.get(g) ?? new Map<Value, Tokens>();
  made.set(g, known);
  const before = known.get(x);
  if (before !== undefined) return before;
  const { levels, top, unit: units } = tierFormats[tier];
  const unit = units[g.precision];
  const wide = widens ? g.widen(x, 'wide') : x;
  const sizes = g.op('Abs', [wide], {}, 'sizes');
  const largest = g.op('ReduceMax', [sizes, g.ints([-1])], { keepdims: 1 }, 'largest');
  // A row of zeros has no scale of its own. A maximum may pass over NaN, and NaN has a level: a sum keeps it, and is else too small
  // to be seen.
  const total = g.op('ReduceSum', [sizes, g.ints([-1])], { keepdims: 1 }, 'total');
  const trace = g.op(
    'Add',
    [g.op('Mul', [total, g.float32(1e-37)], {}, 'trace'), g.float32(1e-30)],
    {},
    'floor',
  );
  const floored = g.op('Add', [largest, trace], {}, 'floored');
  const divisors = g.op('Mul', [floored, g.float32(1 / (top * unit))], {}, 'divisors');
  const scaled = g.op('Div', [wide, divisors], {}, 'scaled');
  const zero = g.zeroLevel(levels);
  const rounded = g.op('QuantizeLinear', [scaled, g.float32(unit), zero], {}, 'levels');
  const steps = g.op('DequantizeLinear', [rounded, g.float(unit), zero], {}, 'steps');
  // both operands are multiples of the unit
  const factors =
    unit === 1 ? divisors : g.op('Mul', [floored, g.float32(1 / (top * unit * unit))], {}, 'factors');
  const tokens = { steps, factors };
  known.set(x, tokens);
  return tokens;
}
