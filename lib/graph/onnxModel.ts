/** Plain objects of the ONNX messages we write, and their encoding. Field spelling is protobufjs' camelCase. */

import type { QuantizedWeight } from '../checkpoint/int8Weights.ts';
import type { TensorDtype, TensorView } from '../checkpoint/tensorView.ts';
import { modelProto } from './onnxSchema.ts';

/** TensorProto.DataType numbers. */
export const onnxType = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  bfloat16: 16,
  float8: 17,
  float4: 23,
} as const;
export type OnnxTypeName = keyof typeof onnxType;

/** Type of a graph's activations. Scores, statistics and pixel arithmetic are float32 in every one. */
export type Precision = 'float32' | 'bfloat16' | 'float16';

/** AttributeProto.AttributeType numbers. */
const attributeType = { float: 1, int: 2, string: 3, tensor: 4, floats: 6, ints: 7 } as const;

export interface AttributeProto {
  name: string;
  type: number;
  f?: number;
  i?: number;
  s?: Uint8Array;
  floats?: number[];
  ints?: number[];
  refAttrName?: string;
}

export interface NodeProto {
  name: string;
  opType: string;
  domain: string;
  input: string[];
  output: string[];
  attribute: AttributeProto[];
}

/** An initializer: inline bytes, a tensor that stays where it lies on disk, or one that is made first (`placeQuantized`). */
export interface Initializer {
  readonly name: string;
  readonly type: OnnxTypeName;
  readonly dims: readonly number[];
  readonly source: { readonly bytes: Uint8Array } | { readonly view: TensorView } | { readonly made: string };
}

export interface ValueInfo {
  readonly name: string;
  readonly type: OnnxTypeName;
  /** Numbers are fixed, strings are symbols (dynamic dimensions). */
  readonly shape: readonly (number | string)[];
  readonly doc?: string;
}

/**
 * A weight that is a graph input: whoever runs the graph puts `parts` there, stacked along axis 0 and converted to `type`. Weights
 * that share an input are joined this way, since no builder can join them.
 */
export interface WeightBinding {
  readonly name: string;
  readonly type: Precision | 'int8' | 'float8';
  readonly dims: readonly number[];
  /** Empty: it is made first, under its own name (`placeQuantized`). */
  readonly parts: readonly TensorView[];
}

export interface FunctionProto {
  name: string;
  domain: string;
  input: string[];
  output: string[];
  attribute: string[];
  node: NodeProto[];
  docString: string;
  opsetImport: { domain: string; version: number }[];
}

export interface OnnxModel {
  readonly name: string;
  readonly doc: string;
  readonly opset: number;
  readonly nodes: NodeProto[];
  readonly initializers: Initializer[];
  readonly inputs: ValueInfo[];
  readonly outputs: ValueInfo[];
  readonly functions: FunctionProto[];
  /** Those of `inputs` that carry weights; empty when weights are initializers. */
  readonly bindings: readonly WeightBinding[];
  /** Weights that must be quantized before the model is opened; empty unless it computes in 8 bits. */
  readonly quantized: readonly QuantizedWeight[];
}

/** Domain of our local functions and, on TensorRT, of the plugins that replace them. */
export const functionDomain = 'semanticvla';

const dtypeToOnnx: Partial<Record<TensorDtype, OnnxTypeName>> = {
  F64: 'float64',
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
};

/** ONNX type of a floating-point tensor on disk; null for the others. */
export function floatTypeOf(dtype: TensorDtype): OnnxTypeName | null {
  return dtypeToOnnx[dtype] ?? null;
}

/** Marks a number as a float attribute (a bare number is an int). */
export class FloatAttribute {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}
/** The same for a list of floats. */
export class FloatsAttribute {
  readonly values: readonly number[];
  constructor(values: Iterable<number>) {
    this.values = [...values];
  }
}
/** Inside a function body: the value comes from the function's attribute of this name. */
export class AttributeReference {
  readonly attribute: string;
  readonly type: keyof typeof attributeType;
  constructor(attribute: string, type: keyof typeof attributeType) {
    this.attribute = attribute;
    this.type = type;
  }
}
export type AttributeValue =
  | number
  | readonly number[]
  | string
  | FloatAttribute
  | FloatsAttribute
  | AttributeReference;

export function attributeProto(name: string, value: AttributeValue): AttributeProto {
  if (value instanceof FloatAttribute) return { name, type: attributeType.float, f: value.value };
  if (value instanceof FloatsAttribute) {
    return { name, type: attributeType.floats, floats: [...value.values] };
  }
  if (value instanceof AttributeReference) {
    return { name, type: attributeType[value.type], refAttrName: value.attribute };
  }
  if (typeof value === 'number') return { name, type: attributeType.int, i: value };
  if (typeof value === 'string') return { name, type: attributeType.string, s: Buffer.from(value, 'utf8') };
  return { name, type: attributeType.ints, ints: [...value] };
}

/** Where an external file is found from the model: `location` of the external data entry. */
export type Locate = (file: string) => string;

function tensorProto(initializer: Initializer, locate: Locate): object {
  const head = {
    name: initializer.name,
    dims: [...initializer.dims],
    dataType: onnxType[initializer.type],
  };
  if ('bytes' in initializer.source) return { ...head, rawData: initializer.source.bytes };
  if ('made' in initializer.source) throw new Error(`${initializer.name} is still to be quantized`);
  const { file, offset, byteLength } = initializer.source.view;
  return {
    ...head,
    dataLocation: 1,
    externalData: [
      { key: 'location', value: locate(file) },
      { key: 'offset', value: String(offset) },
      { key: 'length', value: String(byteLength) },
    ],
  };
}

function valueInfoProto(value: ValueInfo): object {
  return {
    name: value.name,
    docString: value.doc ?? '',
    type: {
      tensorType: {
        elemType: onnxType[value.type],
        shape: { dim: value.shape.map((d) => (typeof d === 'number' ? { dimValue: d } : { dimParam: d })) },
      },
    },
  };
}

/**
 * Serializes the model. IR version 10 has functions, bfloat16 and opset 21; older readers refuse it by number.
 * `functions: 'calls'` omits the bodies of local functions: such a model can be read only where each is a plugin, and no reader
 * can fall back to the bodies (TensorRT before 10.7 always would).
 */
export function encodeModel(
  model: OnnxModel,
  locate: Locate,
  options: { readonly functions?: 'bodies' | 'calls' } = {},
): Uint8Array {
  const message = {
    irVersion: 10,
    producerName: 'semanticvla',
    docString: model.doc,
    opsetImport: [
      { domain: '', version: model.opset },
      ...(model.functions.length > 0 ? [{ domain: functionDomain, version: 1 }] : []),
    ],
    graph: {
      name: model.name,
      node: model.nodes,
      initializer: model.initializers.map((initializer) => tensorProto(initializer, locate)),
      input: model.inputs.map(valueInfoProto),
      output: model.outputs.map(valueInfoProto),
    },
    functions: options.functions === 'calls' ? [] : model.functions,
  };
  return modelProto.encode(modelProto.fromObject(message)).finish();
}

/** The model with its quantized weights where they were put. @param made levels and scales by name (int8Weights.ts) */
export function placeQuantized(model: OnnxModel, made: ReadonlyMap<string, TensorView>): OnnxModel {
  const initializers = model.initializers.map((initializer) => {
    const { source } = initializer;
    return 'made' in source ? { ...initializer, source: { view: made.get(source.made)! } } : initializer;
  });
  return { ...model, initializers, bindings: placeBindings(model.bindings, made) };
}

/** Bound weights with the quantized ones among them where they were put. */
export function placeBindings(
  bindings: readonly WeightBinding[],
  made: ReadonlyMap<string, TensorView>,
): WeightBinding[] {
  return bindings.map((binding) =>
    binding.parts.length > 0 ? binding : { ...binding, parts: [made.get(binding.name)!] },
  );
}

/** Files that hold the model's weights, without repetition. */
export function externalFiles(model: OnnxModel): string[] {
  const files = new Set<string>();
  for (const { source } of model.initializers) if ('view' in source) files.add(source.view.file);
  return [...files];
}
