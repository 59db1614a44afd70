/** Output shapes of ONNX nodes, for the operators that lib/graph writes. Pure. */

import type { NodeProto } from './onnxModel.ts';

/** What is known of a value before anything runs. */
export interface Known {
  readonly shape: readonly number[];
  /** Elements of a small integer tensor, if they are known: sizes, axes, counts. */
  readonly ints?: readonly number[] | undefined;
  /** Made of weights and constants alone: a runtime can prepare it once. */
  readonly isConstant: boolean;
}

export type Attributes = ReadonlyMap<string, readonly number[]>;

/** Numbers of a node's attributes; `given` resolves references inside a local function. */
export function attributesOf(node: NodeProto, given: Attributes = new Map()): Attributes {
  return new Map(
    node.attribute.map(({ name, i, f, ints, floats, refAttrName }) => {
      const single = [i, f].filter((value) => value !== undefined).slice(0, 1);
      return [name, given.get(refAttrName ?? '') ?? ints ?? floats ?? single];
    }),
  );
}

export function elements(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** numpy's rule: right-aligned, 1 stretches. */
function broadcast(shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(...shapes.map(({ length }) => length));
  return Array.from({ length: rank }, (_, i) => {
    const sizes = shapes.map((shape) => shape[i - rank + shape.length] ?? 1);
    const size = sizes.find((n) => n !== 1) ?? 1;
    if (sizes.some((n) => n !== 1 && n !== size))
      throw new Error(`cannot broadcast ${shapes.map((shape) => `[${shape}]`).join(' and ')}`);
    return size;
  });
}

interface Call {
  readonly node: NodeProto;
  readonly inputs: readonly Known[];
  readonly attributes: Attributes;
}

type Output = Omit<Known, 'isConstant'>;
type Rule = (call: Call) => readonly Output[];

const one = (shape: readonly number[], ints?: readonly number[]): readonly Output[] => [{ shape, ints }];

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
    const [a, b] = inputs.map(({ ints }) => ints);
    const shape = broadcast(inputs.map((input) => input.shape));
    if (compute === undefined || a === undefined || b === undefined) return one(shape);
    const at = (values: readonly number[], i: number): number => values[values.length === 1 ? 0 : i]!;
    return one(
      shape,
      Array.from({ length: elements(shape) }, (_, i) => compute(at(a, i), at(b, i))),
    );
  };

/** Without some axes, or with 1 in their place. */
const reduced = ({ shape }: Known, axes: readonly number[], attributes: Attributes): readonly Output[] => {
  const keep = int(attributes, 'keepdims', 1) === 1 ? [1] : [];
  const gone = axes.map((axis) => positive(axis, shape.length));
  return one(shape.flatMap((n, i) => (gone.includes(i) ? keep : [n])));
};

/** Axes as an input; none: all. */
const reduce: Rule = ({ inputs: [x, given], attributes }) =>
  reduced(x!, given === undefined ? [...x!.shape.keys()] : needInts(given, 'axes'), attributes);

/** [m, n] of the last two axes after transposition. */
function matrix({ shape }: Known, transposed: boolean): readonly [number, number] {
  const [m, n] = shape.slice(-2) as [number, number];
  return transposed ? [n, m] : [m, n];
}

/** The stack, rows, inner size and columns of a matrix product; null for another operator. */
export function productOf(
  { opType }: NodeProto,
  [a, b]: readonly Known[],
  attributes: Attributes,
): { readonly stack: readonly number[]; readonly m: number; readonly k: number; readonly n: number } | null {
  if (opType !== 'Gemm' && opType !== 'MatMul') return null;
  const [m, k] = matrix(a!, int(attributes, 'transA', 0) === 1);
  const [inner, n] = matrix(b!, int(attributes, 'transB', 0) === 1);
  if (inner !== k) throw new Error(`[${a!.shape}] times [${b!.shape}]: inner sizes differ`);
  return { stack: broadcast([a!.shape.slice(0, -2), b!.shape.slice(0, -2)]), m, k, n };
}

const product: Rule = ({ node, inputs, attributes }) => {
  const { stack, m, n } = productOf(node, inputs, attributes)!;
  return one([...stack, m, n]);
};

const reshape: Rule = ({ inputs: [x, to] }) => {
  const wanted = needInts(to, 'shape').map((n, i) => (n === 0 ? x!.shape[i]! : n));
  const rest = elements(x!.shape) / elements(wanted.filter((n) => n !== -1));
  const shape = wanted.map((n) => (n === -1 ? rest : n));
  if (elements(shape) !== elements(x!.shape)) throw new Error(`[${x!.shape}] does not fit [${shape}]`);
  return one(shape, x!.ints);
};

const axisOf = ({ inputs: [x], attributes }: Call, usual = 0): number =>
  positive(int(attributes, 'axis', usual), x!.shape.length);

/** With another size on one axis. */
const resized = ({ shape }: Known, axis: number, size: number): number[] =>
  shape.map((n, i) => (i === axis ? size : n));

const concat: Rule = (call) => {
  const axis = axisOf(call);
  const total = call.inputs.reduce((sum, { shape }) => sum + shape[axis]!, 0);
  return one(resized(call.inputs[0]!, axis, total));
};

const split: Rule = (call) => {
  const [x, sizes] = call.inputs;
  const axis = axisOf(call);
  const count = call.node.output.length;
  const parts = sizes?.ints ?? new Array<number>(count).fill(x!.shape[axis]! / count);
  return parts.map((part) => ({ shape: resized(x!, axis, part) }));
};

const slice: Rule = ({ inputs: [x, starts, ends, axes, steps] }) => {
  const shape = [...x!.shape];
  for (const [i, start] of needInts(starts, 'starts').entries()) {
    const axis = positive(axes?.ints?.[i] ?? i, shape.length);
    const size = shape[axis]!;
    const clamp = (n: number): number => Math.min(Math.max(n < 0 ? n + size : n, 0), size);
    const length = clamp(needInts(ends, 'ends')[i]!) - clamp(start);
    shape[axis] = Math.max(0, Math.ceil(length / (steps?.ints?.[i] ?? 1)));
  }
  return one(shape);
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

const topK: Rule = (call) => {
  const [x, k] = call.inputs;
  const shape = resized(x!, axisOf(call, -1), needInts(k, 'k')[0]!);
  return [{ shape }, { shape }];
};

const rules: Readonly<Record<string, Rule>> = {
  Gemm: product,
  MatMul: product,
  Reshape: reshape,
  Transpose: ({ inputs: [x], attributes }) => one(attributes.get('perm')!.map((axis) => x!.shape[axis]!)),
  Concat: concat,
  Split: split,
  Slice: slice,
  Squeeze: ({ inputs: [x, axes] }) => {
    const [{ shape }] = reduced(x!, needInts(axes, 'axes'), new Map([['keepdims', [0]]])) as [Output];
    return one(shape, x!.ints);
  },
  Unsqueeze: unsqueeze,
  Expand: ({ inputs: [x, to] }) => one(broadcast([x!.shape, needInts(to, 'shape')])),
  Tile: ({ inputs: [x, repeats] }) => one(x!.shape.map((n, i) => n * needInts(repeats, 'repeats')[i]!)),
  Gather: (call) => {
    const [{ shape }, indices] = call.inputs as [Known, Known];
    const axis = axisOf(call);
    return one([...shape.slice(0, axis), ...indices.shape, ...shape.slice(axis + 1)]);
  },
  GatherND: ({ inputs: [x, indices], attributes }) => {
    const gone = int(attributes, 'batch_dims', 0) + indices!.shape.at(-1)!;
    return one([...indices!.shape.slice(0, -1), ...x!.shape.slice(gone)]);
  },
  TopK: topK,
  ArgMax: (call) => reduced(call.inputs[0]!, [axisOf(call)], call.attributes),
  Constant: ({ attributes }) => {
    const ints = attributes.get('value_ints');
    return one(ints === undefined ? [] : [ints.length], ints);
  },
  Range: ({ inputs }) => {
    const [from, to, step] = inputs.map((value) => needInts(value, 'range')[0]!);
    return one([Math.max(0, Math.ceil((to! - from!) / step!))]);
  },
  Shape: ({ inputs: [x] }) => one([x!.shape.length], x!.shape),
  Add: elementwise((a, b) => a + b),
  Sub: elementwise((a, b) => a - b),
};
const others: readonly (readonly [Rule, string])[] = [
  [same, 'Identity Cast CastLike Gelu Sigmoid Relu Softmax Sqrt Neg Cos Sin Not Clip LayerNormalization'],
  [elementwise(), 'Mul Div Pow Max Where Equal GreaterOrEqual And Or'],
  [reduce, 'ReduceMean ReduceSum ReduceL2'],
];
for (const [rule, names] of others)
  for (const name of names.split(' ')) Object.assign(rules, { [name]: rule });

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
