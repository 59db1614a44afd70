/**
 * TensorRT's own description of a plan: the verbose message that begins with "Layers:", one line a layer, then "I/O Tensors:".
 * On a machine without a GPU it is the only way to look into a plan. Wording differs a little between versions, so fields
 * are found by their names, not by their places.
 */

export interface PlanTensor {
  readonly name: string;
  /** -1: dynamic. */
  readonly dims: readonly number[];
  /** In the project's words: `float32`, `bfloat16`; TensorRT's own where there is none. */
  readonly type: string;
}

export interface PlanLayer {
  readonly name: string;
  /** TensorRT's word: `kgen`, `gemm`, `runtime_fusion`, `custom_layer`, `shape_call`, `signal`, `wait`... */
  readonly kind: string;
  readonly inputs: readonly PlanTensor[];
  readonly constants: readonly PlanTensor[];
  readonly outputs: readonly PlanTensor[];
  /** Empty where the kernel is chosen or compiled when the engine is loaded. */
  readonly tactic: string;
  readonly stream: number;
  /** ONNX nodes that it computes, wholly or in part. */
  readonly nodes: readonly string[];
}

export interface PlanAccount {
  /** In the order in which they run. */
  readonly layers: readonly PlanLayer[];
  /** Inputs and outputs of the plan; empty where this version does not list them. */
  readonly io: readonly (PlanTensor & { readonly isInput: boolean })[];
  /** Lines that look like layers and were not understood. */
  readonly unread: readonly string[];
}

/** TensorRT's words, old and new. */
const typeNames: Readonly<Record<string, string>> = {
  Float: 'float32',
  FP32: 'float32',
  Half: 'float16',
  FP16: 'float16',
  BFloat16: 'bfloat16',
  BF16: 'bfloat16',
  Int32: 'int32',
  INT32: 'int32',
  Int64: 'int64',
  INT64: 'int64',
  Int8: 'int8',
  INT8: 'int8',
  UInt8: 'uint8',
  Bool: 'bool',
  BOOL: 'bool',
  FP8: 'float8',
  FP4E2M1: 'float4',
};

/** @param text one message */
export function parsePlan(text: string): PlanAccount {
  const layers: PlanLayer[] = [];
  const io: (PlanTensor & { isInput: boolean })[] = [];
  const unread: string[] = [];
  for (const raw of text.split('\n')) {
    const row = raw.trim();
    if (!row.startsWith('Name: ')) continue;
    const layer = row.includes(', IOMode: ') ? null : parseLayer(row);
    const tensor = layer === null ? parseIo(row) : null;
    if (layer !== null) layers.push(layer);
    else if (tensor !== null) io.push(tensor);
    else unread.push(row);
  }
  return { layers, io, unread };
}

const tensor = /\{ Name: (.*?), (?:Location: \w+, )?Dimensions: \[([-\d,\s]*)\](.*?)\}/g;
// TensorRT-RTX puts a separator between them, which is no printable character
const node = /\[ONNX Layer: (.*?)\](?=[^\w/]?\[ONNX Layer: |\s*$|[^\]]*$)/g;

function parseLayer(row: string): PlanLayer | null {
  const head = /^Name: (.*?), LayerType: (\w+)/.exec(row);
  if (head === null) return null;
  return {
    name: head[1]!,
    kind: head[2]!,
    inputs: tensors(field(row, 'Inputs')),
    constants: tensors(field(row, 'Constants')),
    outputs: tensors(field(row, 'Outputs')),
    tactic: /, TacticName: (.*?), /.exec(row)?.[1] ?? '',
    stream: Number(/, StreamId: (\d+)/.exec(row)?.[1] ?? 0),
    nodes: [...(/, Metadata: (.*)$/.exec(row)?.[1] ?? '').matchAll(node)].map((found) => found[1]!),
  };
}

/** The list after `, name: [`, up to the bracket that closes it. */
function field(row: string, name: string): string {
  const start = row.indexOf(`, ${name}: [`);
  if (start < 0) return '';
  const from = start + name.length + 5;
  let depth = 1;
  for (let i = from; i < row.length; i++) {
    if (row[i] === '[') depth += 1;
    if (row[i] === ']') depth -= 1;
    if (depth === 0) return row.slice(from, i);
  }
  return row.slice(from);
}

function tensors(text: string): PlanTensor[] {
  return [...text.matchAll(tensor)].map(([, name, dims, rest]) => ({
    name: name!,
    dims: numbers(dims!),
    type: typeOf(rest!),
  }));
}

function parseIo(row: string): (PlanTensor & { isInput: boolean }) | null {
  const match = /^Name: (.*?), IOMode: (\w+), DataType: (\w+), Dimensions: \[([-\d,\s]*)\]/.exec(row);
  if (match === null) return null;
  const [, name, mode, type, dims] = match;
  return { name: name!, isInput: mode === 'Input', type: typeNames[type!] ?? type!, dims: numbers(dims!) };
}

/** `Datatype: BFloat16`, or `Format/Datatype: Row major linear FP16 format` of older versions. */
function typeOf(text: string): string {
  const stated = /Datatype: (\w+)/.exec(text)?.[1];
  if (stated !== undefined && typeNames[stated] !== undefined) return typeNames[stated];
  const word = text.split(/\W+/).find((part) => typeNames[part] !== undefined);
  return word === undefined ? (stated ?? 'unknown') : typeNames[word]!;
}

function numbers(text: string): number[] {
  return text.trim() === '' ? [] : text.split(',').map(Number);
}
