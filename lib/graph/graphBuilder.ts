/**
 * Writes one ONNX graph node by node. A value is its name. Names are paths of the model's own blocks
 * (`dinov2/block3/attn/qkv`), so that viewers and profilers read like the paper.
 */

import { levelsOf, type QuantizedWeight, scalesOf } from '../checkpoint/int8Weights.ts';
import type { TensorView } from '../checkpoint/tensorView.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { floatBytes, scalarBytes } from './halfFloats.ts';
import { type Int8Options, isInt8 } from './int8Layers.ts';
import {
  type AttributeValue,
  attributeProto,
  type FunctionProto,
  floatTypeOf,
  functionDomain,
  type Initializer,
  type NodeProto,
  type OnnxModel,
  type OnnxTypeName,
  onnxType,
  type Precision,
  type ValueInfo,
  type WeightBinding,
} from './onnxModel.ts';
import type { LevelType, Tier } from './tiers.ts';

/** Name of a value in the graph. */
export type Value = string;

export interface BuilderOptions {
  readonly name: string;
  readonly doc: string;
  readonly tensors: ReadonlyMap<string, TensorView>;
  /** Type of activations and weights; default float32. */
  readonly precision?: Precision | undefined;
  /** Where weights come from (GraphOptions.weights); default `initializers`. */
  readonly weights?: 'initializers' | 'inputs' | undefined;
  /** Linear layers in 8 bits; default: none. */
  readonly int8?: Int8Options | undefined;
  /** The language model's linear layers in fewer bits; default: none. */
  readonly tier?: Tier | undefined;
  readonly comparesTier?: boolean | undefined;
}

/** ONNX operator set of every graph: the first with the Gelu op that TensorRT 10.3 also reads. */
export const opset = 21;

export class GraphBuilder {
  readonly #options: BuilderOptions;
  readonly #nodes: NodeProto[] = [];
  readonly #casts: NodeProto[] = [];
  readonly #initializers: Initializer[] = [];
  readonly #inputs: ValueInfo[] = [];
  readonly #outputs: ValueInfo[] = [];
  readonly #functions = new Map<string, FunctionProto>();
  readonly #names = new Set<string>();
  readonly #scope: string[] = [];
  readonly #windows = new Map<string, TensorView>();
  readonly #bindings: WeightBinding[] = [];
  readonly #quantized: QuantizedWeight[] = [];
  readonly #joined = new Map<string, Value>();
  #reuse = '';
  readonly precision: Precision;
  readonly bindsWeights: boolean;
  readonly int8: Int8Options | undefined;
  readonly tier: Tier | undefined;
  readonly comparesTier: boolean;

  constructor(options: BuilderOptions) {
    this.#options = options;
    this.precision = options.precision ?? 'float32';
    this.bindsWeights = options.weights === 'inputs';
    this.int8 = options.int8;
    this.tier = options.tier;
    this.comparesTier = options.comparesTier ?? false;
  }

  /** Runs `body` with names below `label/`. */
  scope<T>(label: string, body: () => T): T {
    this.#scope.push(label);
    try {
      return body();
    } finally {
      this.#scope.pop();
    }
  }

  /**
   * Runs `body`, which reads weights that were read before, with conversions of its own: one that all readers share would keep
   * every widened weight in memory from the first to the last of them.
   */
  reusing<T>(label: string, body: () => T): T {
    this.#reuse = `@${label}`;
    try {
      return body();
    } finally {
      this.#reuse = '';
    }
  }

  get isReusing(): boolean {
    return this.#reuse !== '';
  }

  input(value: ValueInfo): Value {
    this.#claim(value.name);
    this.#inputs.push(value);
    return value.name;
  }

  /** Makes `source` a graph output called `value.name`. */
  output(source: Value, value: ValueInfo): void {
    this.#claim(value.name);
    this.#nodes.push(node('Identity', '', [source], [value.name], {}, value.name));
    this.#outputs.push(value);
  }

  /** One node with one output, named after the scope and `label`. An empty input name is ONNX's "not given". */
  op(
    type: string,
    inputs: readonly Value[],
    attributes: Record<string, AttributeValue>,
    label: string,
    domain = '',
  ): Value {
    return this.ops(type, inputs, attributes, label, [''], domain)[0]!;
  }

  /** One node with several outputs `label/output`. */
  ops(
    type: string,
    inputs: readonly Value[],
    attributes: Record<string, AttributeValue>,
    label: string,
    outputs: readonly string[],
    domain = '',
  ): Value[] {
    const name = this.#path(label);
    const names = outputs.map((output) => this.#claim(output === '' ? name : `${name}/${output}`));
    this.#nodes.push(node(type, domain, inputs, names, attributes, name));
    return names;
  }

  /** Calls a local function; its body is added to the model once. */
  call(
    definition: FunctionProto,
    inputs: readonly Value[],
    attributes: Record<string, AttributeValue>,
    label: string,
  ): Value[] {
    this.#functions.set(definition.name, definition);
    return this.ops(definition.name, inputs, attributes, label, definition.output, functionDomain);
  }

  has(tensor: string): boolean {
    return this.#options.tensors.has(tensor);
  }

  /**
   * A weight of the checkpoint, left where it lies on disk, in the graph's precision. `dims` may reinterpret its shape
   * (same bytes). Another type on disk is converted by a Cast: folded at load, or at each use (session option
   * `weights`); a bound weight is converted by whoever binds it.
   */
  weight(tensor: string, dims?: readonly number[]): Value {
    const raw = this.rawWeight(tensor, dims);
    if (this.bindsWeights || floatTypeOf(this.#view(tensor).dtype) === this.precision) return raw;
    const name = `${raw}/${this.precision}${this.#reuse}`;
    if (!this.#names.has(name)) {
      this.#claim(name);
      this.#casts.push(node('Cast', '', [raw], [name], { to: onnxType[this.precision] }, name));
    }
    return name;
  }

  /** The same without conversion, for Gather: only the gathered rows are then cast. */
  rawWeight(tensor: string, dims?: readonly number[]): Value {
    const view = this.#view(tensor);
    if (this.bindsWeights) return this.#bind(tensor, dims ?? view.shape, [view]);
    const shape = dims ?? view.shape;
    const name = dims === undefined ? tensor : `${tensor}[${dims.join('x')}]`;
    if (!this.#names.has(name)) {
      const type = requireFloat(view);
      this.#claim(name);
      this.#initializers.push({ name, type, dims: shape, source: { view } });
    }
    return name;
  }

  /**
   * Matrices of equal width as one [sum of rows, columns] weight: one bound input, or joined inside the graph.
   * @param name of the joined weight
   */
  joinedWeight(tensors: readonly string[], name: string, label: string): Value {
    if (!this.bindsWeights) {
      const before = this.#joined.get(name + this.#reuse);
      if (before !== undefined) return before;
      const parts = tensors.map((tensor) => this.weight(tensor));
      const joined = this.op('Concat', parts, { axis: 0 }, label);
      this.#joined.set(name + this.#reuse, joined);
      return joined;
    }
    const views = tensors.map((tensor) => this.#view(tensor));
    const rows = views.reduce((sum, view) => sum + view.shape[0]!, 0);
    return this.#bind(name, [rows, ...views[0]!.shape.slice(1)], views);
  }

  /** Rows [start, end) of a [rows, columns] weight as a tensor that the other methods take by name: a window into the same bytes. */
  windowOf(tensor: string, start: number, end: number): string {
    const view = this.#view(tensor);
    const [rows, ...rest] = view.shape;
    const rowBytes = view.byteLength / rows!;
    const window: TensorView = {
      ...view,
      name: `${tensor}[${start}:${end}]`,
      shape: [end - start, ...rest],
      offset: view.offset + start * rowBytes,
      byteLength: (end - start) * rowBytes,
    };
    this.#windows.set(window.name, window);
    return window.name;
  }

  /** Whether a layer of these weights, stacked, is computed in 8 bits. */
  isInt8(tensors: readonly string[]): boolean {
    if (this.int8 === undefined) return false;
    return isInt8(this.int8, tensors[0]!, ...this.stackedShape(tensors));
  }

  /**
   * Matrices of equal width, one below the other, as levels and their scales [1, rows]: made by whoever opens the model.
   *
   * @param name of the joined weight  @param plan `gamma`: name of a tensor
   */
  quantizedWeight(
    name: string,
    tensors: readonly string[],
    {
      gamma,
      ...plan
    }: Omit<QuantizedWeight, 'name' | 'parts' | 'rows' | 'columns' | 'gamma'> & {
      readonly gamma?: string;
    },
  ): { readonly levels: Value; readonly scales: Value } {
    const parts = tensors.map((tensor) => this.#view(tensor));
    for (const view of parts) requireFloat(view);
    const [rows, columns] = this.stackedShape(tensors);
    const [levels, scales] = [levelsOf(name), scalesOf(name)];
    if (!this.#names.has(levels)) {
      const scaled = gamma === undefined ? {} : { gamma: this.#view(gamma) };
      this.#quantized.push({ name, parts, rows, columns, ...plan, ...scaled });
      this.#made(levels, plan.levels, plan.byRow ? [rows, columns] : [columns, rows]);
      this.#made(scales, 'float32', [1, rows]);
    }
    return { levels, scales };
  }

  #made(name: string, type: LevelType | 'float32', dims: readonly number[]): void {
    if (this.bindsWeights) {
      this.input({ name, type, shape: dims });
      this.#bindings.push({ name, type, dims, parts: [] });
    } else {
      this.#claim(name);
      this.#initializers.push({ name, type, dims, source: { made: name } });
    }
  }

  /** [rows, columns] of matrices of equal width, one below the other. */
  stackedShape(tensors: readonly string[]): readonly [number, number] {
    const shapes = tensors.map((tensor) => this.shapeOf(tensor));
    return [shapes.reduce((sum, [rows]) => sum + rows!, 0), shapes[0]![1]!];
  }

  /** Shape of a weight on disk. */
  shapeOf(tensor: string): readonly number[] {
    return this.#view(tensor).shape;
  }

  /** int64 vector constant; equal ones are shared. */
  ints(values: readonly number[]): Value {
    return this.#constant(`int64[${values.join(',')}]`, 'int64', [values.length], () => {
      const data = new BigInt64Array(values.length);
      for (const [i, value] of values.entries()) data[i] = BigInt(value);
      return new Uint8Array(data.buffer);
    });
  }

  /** int64 scalar constant. */
  int(value: number): Value {
    return this.#constant(
      `int64(${value})`,
      'int64',
      [],
      () => new Uint8Array(BigInt64Array.of(BigInt(value)).buffer),
    );
  }

  /** float32 scalar constant, whatever the precision. */
  float32(value: number): Value {
    return this.#constant(
      `float32(${value})`,
      'float32',
      [],
      () => new Uint8Array(Float32Array.of(value).buffer),
    );
  }

  /** Scalar constant in the graph's precision. */
  float(value: number): Value {
    if (this.precision === 'float32') return this.float32(value);
    return this.#constant(`${this.precision}(${value})`, this.precision, [], () =>
      scalarBytes(value, this.precision),
    );
  }

  /** uint8 vector of one number. */
  byte(value: number): Value {
    return this.#constant(`uint8[${value}]`, 'uint8', [1], () => Uint8Array.of(value));
  }

  /** The zero point of symmetric levels. */
  zeroLevel(type: LevelType): Value {
    return this.#constant(`${type}(0)`, type, [], () => new Uint8Array(1));
  }

  /** Constant of the graph's type under a name of its own, whatever the scope: the same numbers wherever it is asked for. */
  shared(name: string, dims: readonly number[], values: () => Float32Array): Value {
    return this.#constant(name, this.precision, dims, () => floatBytes(values(), this.precision));
  }

  /** Named constant of zeros in the graph's precision. */
  zeros(label: string, dims: readonly number[]): Value {
    const bytes = dims.reduce((product, n) => product * n, this.precision === 'float32' ? 4 : 2);
    return this.#constant(this.#path(label), this.precision, dims, () => new Uint8Array(bytes));
  }

  /** float32 -> the graph's precision; no node when it is float32. */
  narrow(value: Value, label: string): Value {
    if (this.precision === 'float32') return value;
    return this.op('Cast', [value], { to: onnxType[this.precision] }, label);
  }

  /** The graph's precision -> float32; no node when it is float32. */
  widen(value: Value, label: string): Value {
    if (this.precision === 'float32') return value;
    return this.op('Cast', [value], { to: onnxType.float32 }, label);
  }

  /** Named float32 constant. */
  floats(label: string, dims: readonly number[], values: Float32Array): Value {
    return this.#constant(this.#path(label), 'float32', dims, () => new Uint8Array(values.slice().buffer));
  }

  build(): OnnxModel {
    return {
      name: this.#options.name,
      doc: this.#options.doc,
      opset,
      // ONNX Runtime walks back from the outputs and takes the input with the highest node number first. With the Casts in front,
      // each runs right before its use; if they came after other inputs of their users, all weights would be widened at the start.
      nodes: [...this.#casts, ...this.#nodes],
      initializers: this.#initializers,
      inputs: this.#inputs,
      outputs: this.#outputs,
      functions: [...this.#functions.values()],
      bindings: this.#bindings,
      quantized: this.#quantized,
    };
  }

  #view(tensor: string): TensorView {
    const view = this.#options.tensors.get(tensor) ?? this.#windows.get(tensor);
    if (view === undefined) {
      throw new SemanticVlaError(
        'TENSOR_MISSING',
        `${tensor}: the ${this.#options.name} graph needs it and the checkpoint does not hold it. ` +
          'Check that every shard and .pt file was copied.',
      );
    }
    return view;
  }

  /** Vectors become [1, n]: binding one of rank 1 would cost a copy kernel. */
  #bind(name: string, shape: readonly number[], parts: readonly TensorView[]): Value {
    const dims = shape.length === 1 ? [1, ...shape] : shape;
    const bound =
      dims.length === parts[0]!.shape.length || shape.length === 1 ? name : `${name}[${dims.join('x')}]`;
    if (!this.#names.has(bound)) {
      for (const view of parts) requireFloat(view);
      this.input({ name: bound, type: this.precision, shape: dims });
      this.#bindings.push({ name: bound, type: this.precision, dims, parts });
    }
    return bound;
  }

  #constant(name: string, type: OnnxTypeName, dims: readonly number[], bytes: () => Uint8Array): Value {
    if (!this.#names.has(name)) {
      this.#claim(name);
      this.#initializers.push({ name, type, dims, source: { bytes: bytes() } });
    }
    return name;
  }

  #path(label: string): string {
    return [...this.#scope, label].join('/');
  }

  #claim(name: string): string {
    if (this.#names.has(name)) throw new Error(`graph ${this.#options.name}: the name ${name} is taken`);
    this.#names.add(name);
    return name;
  }
}

/** @throws TENSOR_DTYPE */
function requireFloat(view: TensorView): OnnxTypeName {
  const type = floatTypeOf(view.dtype);
  if (type !== null) return type;
  throw new SemanticVlaError(
    'TENSOR_DTYPE',
    `${view.name} in ${view.file}: expected a floating-point weight, found ${view.dtype}. ` +
      'Convert the checkpoint to bfloat16 or float32.',
  );
}

function node(
  opType: string,
  domain: string,
  input: readonly Value[],
  output: readonly Value[],
  attributes: Record<string, AttributeValue>,
  name: string,
): NodeProto {
  return {
    name,
    opType,
    domain,
    input: [...input],
    output: [...output],
    attribute: Object.entries(attributes).map(([key, value]) => attributeProto(key, value)),
  };
}

/** Builds the node list of a local function body: the same calls, with names local to the function. */
export class FunctionBody {
  readonly nodes: NodeProto[] = [];

  op(
    type: string,
    inputs: readonly Value[],
    attributes: Record<string, AttributeValue>,
    output: string,
  ): Value {
    this.nodes.push(node(type, '', inputs, [output], attributes, output));
    return output;
  }

  ops(
    type: string,
    inputs: readonly Value[],
    attributes: Record<string, AttributeValue>,
    outputs: readonly string[],
  ): Value[] {
    this.nodes.push(node(type, '', inputs, outputs, attributes, outputs[0]!));
    return [...outputs];
  }
}
