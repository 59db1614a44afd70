/** Output shapes of ONNX nodes, for the operators that lib/graph writes. Pure. */

import type { NodeProto } from '../../graph/onnxModel.ts';

/** What is known of a value before anything runs. */
export interface Known {
  readonly shape: readonly number[];
  /** Elements of a small integer tensor, where they are known: sizes, axes, counts. */
  readonly ints?: readonly number[];
  /** Made of weights and constants alone: a runtime can prepare it once. */
  readonly isConstant: boolean;
}

export type Attributes = ReadonlyMap<string, readonly number[]>;

/** Numbers of a node's attributes; `given` resolves references inside a local function. */
export function attributesOf(node: NodeProto, given: Attributes = new Map()): Attributes {
  const values = new Map<string, readonly number[]>();
  for (const { name, i, f, ints, floats, refAttrName } of node.attribute) {
    const referred = refAttrName === undefined ? undefined : given.get(refAttrName);
    const value = referred ?? ints ?? floats ?? (i === undefined ? (f === undefined ? [] : [f]) : [i]);
    values.set(name, value);
  }
  return values;
}

export function elements(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** numpy's rule: right-aligned, 1 stretches. */
function broadcast(inputs: readonly Known[]): number[] {
  const rank = Math.max(...inputs.map(({ shape }) => shape.length));
  return Array.from({ length: rank }, (_, i) => {
    const sizes = inputs.map(({ shape }) => shape[i - rank + shape.length] ?? 1);
    const size = sizes.find((n) => n !== 1) ?? 1;
    if (sizes.some((n) => n !== 1 && n !== size))
      throw new Error(`cannot broadcast ${inputs.map(({ shape }) => `[${shape}]`).join(' and ')}`);
    return size;
  });
}

interface Call {
  readonly node: NodeProto;
  readonly inputs: readonly Known[];
  readonly attributes: Attributes;
}

type Rule = (call: Call) => readonly Omit<Known, 'isConstant'>[];

const one = (shape: readonly number[], ints?: readonly number[]): readonly Omit<Known, 'isConstant'>[] => [
  ints === undefined ? { shape } : { shape, ints },
];

const int = (attributes: Attributes, name: string, otherwise: number): number =>
  attributes.get(name)?.[0] ?? otherwise;

const positive = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

function needInts(value: Known | undefined, what: string): readonly number[] {
  if (value?.ints === undefined) throw new Error(`${what} is not known before the graph runs`);
  return value.ints;
}

const same: Rule = ({ inputs }) => one(inputs[0]!.shape, inputs[0]!.ints);

/** Element by element; the few integer sums are lengths of sequences, which later shapes need. */
const elementwise =
  (compute?: (a: number, b: number) => number): Rule =>
  ({ inputs }) => {
    const [a, b] = inputs;
    const shape = broadcast(inputs);
    if (compute === undefined || a?.ints === undefined || b?.ints === undefined) return one(shape);
    const at = (values: readonly number[], i: number): number => values[values.length === 1 ? 0 : i]!;
    return one(
      shape,
      Array.from({ length: elements(shape) }, (_, i) => compute(at(a.ints!, i), at(b.ints!, i))),
    );
  };

/** Axes as an input; none: all. */
const reduce: Rule = ({ inputs: [x, given], attributes }) => {
  const rank = x!.shape.length;
  const axes =
    given === undefined
      ? x!.shape.map((_, i) => i)
      : needInts(given, 'axes').map((axis) => positive(axis, rank));
  const keep = int(attributes, 'keepdims', 1) === 1;
  return one(x!.shape.flatMap((n, i) => (!axes.includes(i) ? [n] : keep ? [1] : [])));
};

/** [m, n] of the last two axes after transposition. */
function matrix(shape: readonly number[], transposed: boolean): readonly [number, number] {
  const [m, n] = shape.slice(-2) as [number, number];
  return transposed ? [n, m] : [m, n];
}

/** Rows, inner size and columns of a matrix product, and the number of products; null for another operator. */
export function productOf(
  { opType }: NodeProto,
  [a, b]: readonly Known[],
  attributes: Attributes,
): { readonly batch: number; readonly m: number; readonly k: number; readonly n: number } | null {
  if (opType !== 'Gemm' && opType !== 'MatMul') return null;
  const [m, k] = matrix(a!.shape, int(attributes, 'transA', 0) === 1);
  const [inner, n] = matrix(b!.shape, int(attributes, 'transB', 0) === 1);
  if (inner !== k) throw new Error(`[${a!.shape}] times [${b!.shape}]: inner sizes differ`);
  const stack = (x: Known): Known => ({ shape: x.shape.slice(0, -2), isConstant: false });
  return { batch: elements(broadcast([stack(a!), stack(b!)])), m, k, n };
}

const product: Rule = ({ node, inputs, attributes }) => {
  const { m, n } = productOf(node, inputs, attributes)!;
  const stack = inputs.slice(0, 2).map((x) => ({ shape: x.shape.slice(0, -2), isConstant: false }));
  return one([...broadcast(stack), m, n]);
};

const reshape: Rule = ({ inputs: [x, to] }) => {
  const wanted = needInts(to, 'shape').map((n, i) => (n === 0 ? x!.shape[i]! : n));
  const rest = wanted.filter((n) => n !== -1).reduce((p, n) => p * n, 1);
  const shape = wanted.map((n) => (n === -1 ? elements(x!.shape) / rest : n));
  if (elements(shape) !== elements(x!.shape)) throw new Error(`[${x!.shape}] does not fit [${shape}]`);
  return one(shape, x!.ints);
};

const concat: Rule = ({ inputs, attributes }) => {
  const [first] = inputs;
  const axis = positive(int(attributes, 'axis', 0), first!.shape.length);
  const total = inputs.reduce((sum, { shape }) => sum + shape[axis]!, 0);
  return one(first!.shape.map((n, i) => (i === axis ? total : n)));
};

const split: Rule = ({ node, inputs: [x, sizes], attributes }) => {
  const axis = positive(int(attributes, 'axis', 0), x!.shape.length);
  const count = node.output.length;
  const parts = sizes?.ints ?? new Array<number>(count).fill(x!.shape[axis]! / count);
  return parts.map((part) => ({ shape: x!.shape.map((n, i) => (i === axis ? part : n)) }));
};

const slice: Rule = ({ inputs: [x, starts, ends, axes, steps] }) => {
  const shape = [...x!.shape];
  const from = needInts(starts, 'starts');
  for (const [i, start] of from.entries()) {
    const axis = positive(axes?.ints?.[i] ?? i, shape.length);
    const size = shape[axis]!;
    const clamp = (n: number): number => Math.min(Math.max(n < 0 ? n + size : n, 0), size);
    const length = clamp(needInts(ends, 'ends')[i]!) - clamp(start);
    shape[axis] = Math.max(0, Math.ceil(length / (steps?.ints?.[i] ?? 1)));
  }
  return one(shape);
};

const squeeze: Rule = ({ inputs: [x, axes] }) => {
  const gone = needInts(axes, 'axes').map((axis) => positive(axis, x!.shape.length));
  return one(
    x!.shape.filter((_, i) => !gone.includes(i)),
    x!.ints,
  );
};

const unsqueeze: Rule = ({ inputs: [x, axes] }) => {
  const rank = x!.shape.length + needInts(axes, 'axes').length;
  const made = axes!.ints!.map((axis) => positive(axis, rank));
  const sizes = [...x!.shape];
  return one(
    Array.from({ length: rank }, (_, i) => (made.includes(i) ? 1 : sizes.shift()!)),
    x!.ints,
  );
};

const gather: Rule = ({ inputs: [x, indices], attributes }) => {
  const axis = positive(int(attributes, 'axis', 0), x!.shape.length);
  return one([...x!.shape.slice(0, axis), ...indices!.shape, ...x!.shape.slice(axis + 1)]);
};

const gatherNd: Rule = ({ inputs: [x, indices], attributes }) => {
  const batch = int(attributes, 'batch_dims', 0);
  const depth = indices!.shape.at(-1)!;
  return one([...indices!.shape.slice(0, -1), ...x!.shape.slice(batch + depth)]);
};

const topK: Rule = ({ inputs: [x, k], attributes }) => {
  const axis = positive(int(attributes, 'axis', -1), x!.shape.length);
  const shape = x!.shape.map((n, i) => (i === axis ? needInts(k, 'k')[0]! : n));
  return [{ shape }, { shape }];
};

const argMax: Rule = ({ inputs: [x], attributes }) => {
  const axis = positive(int(attributes, 'axis', 0), x!.shape.length);
  const keep = int(attributes, 'keepdims', 1) === 1;
  return one(x!.shape.flatMap((n, i) => (i !== axis ? [n] : keep ? [1] : [])));
};

const constant: Rule = ({ attributes }) => {
  const ints = attributes.get('value_ints');
  return ints === undefined ? one([]) : one([ints.length], ints);
};

const range: Rule = ({ inputs }) => {
  const [from, to, step] = inputs.map((value) => needInts(value, 'range')[0]!);
  return one([Math.max(0, Math.ceil((to! - from!) / step!))]);
};

const rules: Readonly<Record<string, Rule>> = {
  Gemm: product,
  MatMul: product,
  Reshape: reshape,
  Transpose: ({ inputs: [x], attributes }) => one(attributes.get('perm')!.map((axis) => x!.shape[axis]!)),
  Concat: concat,
  Split: split,
  Slice: slice,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Expand: ({ inputs: [x, to] }) => {
    const shape = needInts(to, 'shape');
    return one(broadcast([x!, { shape, isConstant: true }]));
  },
  Tile: ({ inputs: [x, repeats] }) => one(x!.shape.map((n, i) => n * needInts(repeats, 'repeats')[i]!)),
  Gather: gather,
  GatherND: gatherNd,
  TopK: topK,
  ArgMax: argMax,
  Constant: constant,
  Range: range,
  Shape: ({ inputs: [x] }) => one([x!.shape.length], x!.shape),
  Add: elementwise((a, b) => a + b),
  Sub: elementwise((a, b) => a - b),
};
for (const name of ['Identity', 'Cast', 'CastLike', 'Gelu', 'Sigmoid', 'Relu', 'Softmax', 'Sqrt', 'Neg'])
  Object.assign(rules, { [name]: same });
for (const name of ['Cos', 'Sin', 'Not', 'Clip', 'LayerNormalization'])
  Object.assign(rules, { [name]: same });
for (const name of ['Mul', 'Div', 'Pow', 'Max', 'Where', 'Equal', 'GreaterOrEqual', 'And', 'Or'])
  Object.assign(rules, { [name]: elementwise() });
for (const name of ['ReduceMean', 'ReduceSum', 'ReduceL2']) Object.assign(rules, { [name]: reduce });

/** Shapes of a node's outputs. Throws a plain Error on an operator without a rule: a defect of this file. */
export function outputsOf(
  node: NodeProto,
  inputs: readonly Known[],
  attributes: Attributes,
): readonly Known[] {
  const rule = rules[node.opType];
  if (rule === undefined) throw new Error(`node ${node.name}: no shape rule for operator ${node.opType}`);
  try {
    const isConstant = inputs.every((input) => input.isConstant);
    return rule({ node, inputs, attributes }).map((known) => ({ ...known, isConstant }));
  } catch (cause) {
    throw new Error(`node ${node.name} (${node.opType}): ${(cause as Error).message}`, { cause });
  }
}
