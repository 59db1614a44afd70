/**
 * Plausible mistakes, applied to the written graphs: each takes a correct model and returns a wrong one. Names are those
 * of `sensitivity` in the golden cases, which says how far the reference's actions move under the same mistake.
 */

import type { FunctionProto, Initializer, NodeProto, OnnxModel } from '../../lib/graph/onnxModel.ts';

export interface Models {
  readonly instruction: OnnxModel;
  readonly policy: OnnxModel;
}
export type Mutation = (models: Models) => void;

/** Copies that may be changed freely: local functions are shared between models. */
export function copyModels({ instruction, policy }: Models): Models {
  return { instruction: structuredClone(instruction), policy: structuredClone(policy) };
}

function nodeOf(nodes: readonly NodeProto[], output: string): NodeProto {
  const found = nodes.find((n) => n.output.includes(output));
  if (found === undefined) throw new Error(`mutation: nothing computes ${output}`);
  return found;
}

function functionOf(model: OnnxModel, name: string): FunctionProto {
  const found = model.functions.find((f) => f.name === name);
  if (found === undefined) throw new Error(`mutation: no function ${name}`);
  return found;
}

function become(node: NodeProto, opType: string, input: string[]): void {
  node.opType = opType;
  node.input = input;
  node.attribute = [];
  node.output = node.output.slice(0, 1);
}

function insertBefore(nodes: NodeProto[], before: NodeProto, added: readonly NodeProto[]): void {
  nodes.splice(nodes.indexOf(before), 0, ...added);
}

function make(
  opType: string,
  input: string[],
  output: string[],
  attribute: NodeProto['attribute'] = [],
): NodeProto {
  return { name: output[0]!, opType, domain: '', input, output, attribute };
}

function ints(name: string, values: readonly number[]): Initializer {
  const bytes = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
  return { name, type: 'int64', dims: [values.length], source: { bytes } };
}

/** int64 values of a constant initializer. */
function intsOf(model: OnnxModel, name: string): number[] {
  const initializer = model.initializers.find((i) => i.name === name);
  if (initializer === undefined || !('bytes' in initializer.source))
    throw new Error(`mutation: no constant ${name}`);
  return Array.from(new BigInt64Array(initializer.source.bytes.slice().buffer), Number);
}

/** Adds `by` to every value of one int64 input of a node. */
function shiftInput(model: OnnxModel, node: NodeProto, index: number, by: number): void {
  const name = `mutated/${node.name}/${index}`;
  model.initializers.push(
    ints(
      name,
      intsOf(model, node.input[index]!).map((v) => v + by),
    ),
  );
  node.input[index] = name;
}

/** The selection in score order: the second TopK, which restores index order, becomes a copy. */
function scoreOrder(model: OnnxModel, name: string): void {
  become(nodeOf(functionOf(model, name).node, 'indices'), 'Identity', ['indices_best']);
}

function exchanges(model: OnnxModel): number[] {
  return model.nodes.flatMap(({ name }) => {
    const match = /^exchange(\d+)\/z$/.exec(name);
    return match ? [Number(match[1])] : [];
  });
}

export const mutations: Readonly<Record<string, Mutation>> = {
  'mask: purely causal': ({ instruction }) => {
    nodeOf(instruction.nodes, 'mask/allowed').input[1] = 'mask/causal';
  },
  'mask: fully bidirectional': ({ instruction }) => {
    const node = nodeOf(instruction.nodes, 'mask/bias');
    node.input[2] = node.input[1]!;
  },
  'mask: free block one row short (H*C instead of H*C+1)': ({ instruction }) => {
    shiftInput(instruction, nodeOf(instruction.nodes, 'mask/free_from'), 1, -1);
  },
  'GELU tanh instead of erf everywhere': ({ instruction, policy }) => {
    for (const model of [instruction, policy]) {
      for (const node of model.nodes) {
        if (node.opType === 'Gelu')
          node.attribute = [{ name: 'approximate', type: 3, s: Buffer.from('tanh') }];
      }
    }
  },
  'other RMSNorm eps (1e-5 <-> 1e-6)': ({ policy }) => {
    let changed = 0;
    for (const { input, name } of policy.nodes.filter((n) => n.name.endsWith('norm/eps'))) {
      const at = policy.initializers.findIndex((i) => i.name === input[1]);
      const { source } = policy.initializers[at]!;
      if (!('bytes' in source)) throw new Error(`mutation: the eps of ${name} is not a constant`);
      const eps = new Float32Array(source.bytes.slice().buffer)[0]!;
      if (changed++ > 0) break; // the constant is shared: it is changed once
      const other = Math.abs(eps - 1e-6) < 1e-9 ? 1e-5 : 1e-6;
      policy.initializers[at] = {
        ...policy.initializers[at]!,
        source: { bytes: new Uint8Array(Float32Array.of(other).buffer) },
      };
    }
    if (changed === 0) throw new Error('mutation: no RMSNorm found');
  },
  'kept patches in score order': ({ policy }) => scoreOrder(policy, 'instructionTopK'),
  'one wrong patch kept': ({ policy }) => {
    // the best k, with the last of them replaced by the next in rank
    const body = functionOf(policy, 'instructionTopK').node;
    const topk = nodeOf(body, 'indices_best');
    const k = policy.nodes
      .find((n) => n.opType === 'instructionTopK')!
      .attribute.find((a) => a.name === 'topk')!.ints![0]!;
    const constant = (name: string, value: number) =>
      make('Constant', [], [name], [{ name: 'value_ints', type: 7, ints: [value] }]);
    const order = nodeOf(body, 'indices');
    topk.input[1] = 'm_k1';
    insertBefore(body, topk, [constant('m_k1', k + 1)]);
    insertBefore(body, order, [
      constant('m_0', 0),
      constant('m_km1', k - 1),
      constant('m_kk', k),
      constant('m_axis', 1),
      make('Slice', ['indices_best', 'm_0', 'm_km1', 'm_axis'], ['m_head']),
      make('Slice', ['indices_best', 'm_kk', 'm_k1', 'm_axis'], ['m_next']),
      make('Concat', ['m_head', 'm_next'], ['m_chosen'], [{ name: 'axis', type: 2, i: 1 }]),
    ]);
    order.input[0] = 'm_chosen';
  },
  'pooled tokens in score order': ({ policy }) => scoreOrder(policy, 'textGuidedPooling'),
  'pooling temperature halved': ({ policy }) => {
    for (const node of policy.nodes.filter((n) => n.opType === 'textGuidedPooling')) {
      const temperature = node.attribute.find((a) => a.name === 'temperature')!;
      temperature.f = temperature.f! / 2;
    }
  },
  'text padding not masked in S': ({ policy }) => {
    become(nodeOf(functionOf(policy, 'instructionTopK').node, 'similarity'), 'Identity', ['cosine']);
  },
  'no mask inside the text tower': ({ instruction }) => {
    const node = nodeOf(instruction.nodes, 'text/bias');
    node.input[2] = node.input[1]!;
  },
  'exchange done in sequence, not from the same z': ({ policy }) => {
    for (const pair of exchanges(policy)) {
      const z = nodeOf(policy.nodes, `exchange${pair}/z`);
      const flat = nodeOf(policy.nodes, `exchange${pair}/flat`);
      const fc1 = nodeOf(policy.nodes, `exchange${pair}/siglip/fc1`);
      insertBefore(policy.nodes, fc1, [
        make(
          'Concat',
          [`exchange${pair}/dinov2/patches`, z.input[1]!],
          [`mutated/z${pair}`],
          structuredClone(z.attribute),
        ),
        make('Reshape', [`mutated/z${pair}`, flat.input[1]!], [`mutated/flat${pair}`]),
      ]);
      fc1.input[0] = `mutated/flat${pair}`;
    }
  },
  'exchange skipped': ({ policy }) => {
    for (const pair of exchanges(policy)) {
      for (const tower of ['dinov2', 'siglip']) {
        const node = nodeOf(policy.nodes, `exchange${pair}/${tower}/patches`);
        become(node, 'Identity', [node.input[0]!]);
      }
    }
  },
  'e_avg without the stop id': ({ instruction }) => {
    const node = nodeOf(instruction.nodes, 'e_avg');
    insertBefore(instruction.nodes, node, [
      make('Slice', [node.input[0]!, 'mutated/0', 'mutated/-1', 'mutated/0'], ['mutated/prompt_only']),
    ]);
    instruction.initializers.push(ints('mutated/0', [0]), ints('mutated/-1', [-1]));
    node.input[0] = 'mutated/prompt_only';
  },
};

/** Needs the graph without savings: there the window is one slice. */
export const windowOneLater: Mutation = ({ policy }) => {
  const node = nodeOf(policy.nodes, 'llama/window');
  shiftInput(policy, node, 1, 1);
  shiftInput(policy, node, 2, 1);
};
