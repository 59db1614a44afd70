/**
 * The work of a graph, node by node, from its shapes: operations of the matrix products (a multiply-add counts as two),
 * elements of the weights that are read, and of the activations that must pass through memory. Pure; nothing runs.
 *
 * Counted as operations are Gemm and MatMul alone, attention's two products among them. What lies between (norms, GELU,
 * softmax, rotation) is a fraction of a percent here and takes no time that a roofline could show.
 *
 * Activations: each product reads its operands and writes its result once, all between them is taken as fused, and
 * attention's scores as never leaving the chip. On a large cache much of this never reaches memory either, so it is
 * stated beside the weights and no limit is made of it.
 */

import type { NodeProto, OnnxModel } from '../../graph/onnxModel.ts';
import {
  type Attributes,
  attributesOf,
  elements,
  type Known,
  outputsOf,
  productOf,
} from '../../graph/shapeRules.ts';

/** One node that computes or reads weights. */
export interface NodeWork {
  /** Its path in the graph: `llama/layer3/mlp/gate`. */
  readonly name: string;
  readonly flops: number;
  /** Elements of weights that this node is the first to read; of an embedding table the gathered rows. */
  readonly weightElements: number;
  /** Bytes of the same as the checkpoint holds them; 2 an element where a graph input carries them. */
  readonly storedBytes: number;
  /** Elements of activations read and written. */
  readonly activationElements: number;
}

/** Sizes of a graph's symbolic dimensions: `{ L: 130, T: 54, P1: 31 }`. */
export type SymbolSizes = Readonly<Record<string, number>>;

/** A weight, by every name it goes by; read once. */
interface Weight {
  readonly elements: number;
  readonly bytes: number;
  /** Passes that have read it. */
  readonly read: Set<string>;
}

/** Every node that computes or reads weights, in the graph's order. */
export function graphWork(model: OnnxModel, sizes: SymbolSizes): NodeWork[] {
  const weights = new Map<string, Weight>();
  const known = new Map<string, Known>();
  const work: NodeWork[] = [];
  for (const { name, dims, type, source } of model.initializers) {
    const isWeight = 'view' in source;
    if (isWeight)
      weights.set(name, { elements: elements(dims), bytes: source.view.byteLength, read: new Set() });
    const ints = 'bytes' in source && type === 'int64' ? int64s(source.bytes) : undefined;
    known.set(name, { shape: dims, isConstant: true, ints });
  }
  const bound = new Set(model.bindings.map(({ name }) => name));
  for (const { name, shape } of model.inputs) {
    const fixed = shape.map((n) => (typeof n === 'number' ? n : sizeOf(n, sizes)));
    known.set(name, { shape: fixed, isConstant: bound.has(name) });
  }
  for (const { name, dims, parts } of model.bindings) {
    const bytes = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
    weights.set(name, { elements: elements(dims), bytes, read: new Set() });
  }

  /** @param caller name of the function call that these nodes are the body of */
  const walk = (
    nodes: readonly NodeProto[],
    values: Map<string, Known>,
    given: Attributes,
    caller: string | null,
  ): void => {
    for (const node of nodes) {
      const names = node.input.filter((name) => name !== '');
      const inputs = names.map((name) => {
        const value = values.get(name);
        if (value === undefined) throw new Error(`node ${node.name}: nothing is known of its input ${name}`);
        return value;
      });
      const attributes = attributesOf(node, given);
      const body = model.functions.find(
        ({ name, domain }) => name === node.opType && domain === node.domain && domain !== '',
      );
      if (body !== undefined) {
        const inner = new Map(body.input.map((name, i) => [name, inputs[i]!]));
        walk(body.node, inner, attributes, node.name);
        for (const [i, name] of node.output.entries()) values.set(name, inner.get(body.output[i]!)!);
        continue;
      }
      const outputs = outputsOf(node, inputs, attributes);
      for (const [i, name] of node.output.entries()) if (outputs[i]) values.set(name, outputs[i]);
      const cast = caller === null && node.opType === 'Cast' ? weights.get(names[0]!) : undefined;
      // a cast weight is the same under another name; it is counted where that name is used
      if (cast !== undefined) weights.set(node.output[0]!, cast);
      else
        count(
          node,
          caller === null ? node.name : `${caller}/${node.name}`,
          names,
          inputs,
          outputs[0]!,
          attributes,
        );
    }
  };

  const count = (
    node: NodeProto,
    name: string,
    names: readonly string[],
    inputs: readonly Known[],
    output: Known,
    attributes: Attributes,
  ): void => {
    // a pass for one more token reads its weights again: no cache holds a language model
    const pass = /^token\d+(?=\/)/.exec(node.name)?.[0] ?? '';
    let [weightElements, storedBytes] = [0, 0];
    for (const input of names) {
      const weight = weights.get(input);
      if (weight === undefined || weight.read.has(pass)) continue;
      weight.read.add(pass);
      const share = node.opType === 'Gather' ? elements(output.shape) / weight.elements : 1;
      weightElements += weight.elements * share;
      storedBytes += weight.bytes * share;
    }
    const product = productOf(node, inputs, attributes);
    if (product === null && weightElements === 0) return;
    const flops = product === null ? 0 : 2 * elements(product.stack) * product.m * product.k * product.n;
    const activationElements = product === null ? 0 : activations(node.name, inputs, output);
    work.push({ name, flops, weightElements, storedBytes, activationElements });
  };

  walk(model.nodes, known, new Map(), null);
  return work;
}

/** Operands that are no weights, and the result. */
function activations(name: string, inputs: readonly Known[], output: Known): number {
  const [a, b] = inputs.map(({ isConstant, shape }) => (isConstant ? 0 : elements(shape))) as [
    number,
    number,
  ];
  // attentionCore's two products (lib/graph/layers.ts): the scores stay on the chip between them
  if (name.endsWith('/scores')) return a + b;
  if (name.endsWith('/context')) return b + elements(output.shape);
  return a + b + elements(output.shape);
}

function sizeOf(symbol: string, sizes: SymbolSizes): number {
  const size = sizes[symbol];
  if (size === undefined) throw new Error(`nobody says how long ${symbol} is`);
  return size;
}

function int64s(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.byteLength / 8 }, (_, i) => Number(view.getBigInt64(8 * i, true)));
}
