/**
 * Compares what an engine was compiled to with what was asked for: types of every layer (a matrix product that silently
 * runs in float32 is the costliest accident), our plugins as custom layers, kernels per block, inputs and outputs.
 */

import type { NativeBuildResult } from '../addon/binding.ts';
import type { NodeProto, OnnxModel, Precision } from '../graph/onnxModel.ts';
import { type Tier, tierFormats } from '../graph/tiers.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { type PlanLayer, type PlanTensor, parsePlan } from './planLayers.ts';

export interface BlockKernels {
  /** `llama/layer5`, `dinov2/block3`, `head`; `glue`: layers of no ONNX node. */
  readonly block: string;
  readonly kernels: number;
  /** Only some of its rows are computed (the last block of a tower, the last layer of the language model). */
  readonly trimmed: boolean;
}

export interface PlanAudit {
  readonly engine: string;
  readonly precision: Precision;
  readonly tier: Tier | null;
  readonly layers: number;
  /** Layers that launch something on the device: no shape arithmetic, no signals between streams. */
  readonly kernels: number;
  /** Layers by TensorRT's kind. */
  readonly kinds: Readonly<Record<string, number>>;
  /** Kernels by the type of their first output. */
  readonly types: Readonly<Record<string, number>>;
  /** Our plugins, by name. */
  readonly plugins: Readonly<Record<string, number>>;
  readonly blocks: readonly BlockKernels[];
  /** Layers with a matrix product of float32 operands. */
  readonly float32Products: readonly string[];
  /** Products of the language model's layers whose two operands have the tier's levels, of all that the graph has. */
  readonly tierProducts: { readonly found: number; readonly lost: readonly string[] } | null;
  readonly streams: number;
  readonly inputs: number;
  readonly boundWeights: number;
  readonly outputs: readonly {
    readonly name: string;
    readonly type: string;
    readonly dims: readonly number[];
  }[];
  /** What is wrong; empty when nothing is. */
  readonly problems: readonly string[];
}

const notKernels = new Set(['shape_call', 'ShapeHostToDevice', 'signal', 'wait', 'NoOp']);
const pluginKinds = new Set(['custom_layer', 'PluginV3']);
const productTypes = new Set(['Gemm', 'MatMul', 'Conv']);

export interface AuditedEngine {
  readonly name: string;
  readonly model: OnnxModel;
  readonly precision: Precision;
  readonly tier?: Tier;
  readonly plugins: Readonly<Record<string, number>>;
  readonly result: Pick<NativeBuildResult, 'layers' | 'tensors'>;
}

export function auditPlan(engine: AuditedEngine): PlanAudit {
  const { name, model, precision, tier, result } = engine;
  const accounts = result.layers.map(parsePlan);
  const layers = accounts.flatMap((one) => one.layers);
  const operators = new Map(model.nodes.map((node) => [node.name, node.opType]));
  const kernels = layers.filter(({ kind }) => !notKernels.has(kind));
  const isFloat32 = precision === 'float32';
  const products = new Map(
    model.nodes.filter(({ opType }) => productTypes.has(opType)).map((node) => [node.name, node]),
  );
  const float32Products = isFloat32 ? [] : kernels.filter((layer) => isFloat32Product(layer, products));
  // the plan's own list where this version gives one, else the network as the parser built it
  const told = accounts.flatMap((one) => one.io);
  const io = told.length > 0 ? told : result.tensors;
  const audit = {
    engine: name,
    precision,
    tier: tier ?? null,
    layers: layers.length,
    kernels: kernels.length,
    kinds: count(layers.map(({ kind }) => kind)),
    types: count(kernels.map(({ outputs }) => outputs[0]?.type ?? 'none')),
    plugins: countPlugins(kernels, operators),
    blocks: countBlocks(kernels),
    float32Products: float32Products.map(describe),
    tierProducts: tier === undefined ? null : tierProducts(model, kernels, tier),
    streams: new Set(layers.map(({ stream }) => stream)).size,
    inputs: io.filter(({ isInput }) => isInput).length,
    boundWeights: model.bindings.length,
    outputs: io
      .filter(({ isInput }) => !isInput)
      .map(({ name: output, type, dims }) => ({ name: output, type, dims })),
  };
  const unread = accounts.flatMap((one) => one.unread);
  return { ...audit, problems: problemsOf(engine, audit, io, unread) };
}

function problemsOf(
  { model, plugins }: AuditedEngine,
  audit: Omit<PlanAudit, 'problems'>,
  io: readonly PlanTensor[],
  unread: readonly string[],
): string[] {
  const problems: string[] = [];
  if (audit.layers === 0) problems.push('TensorRT listed no layers, so nothing about the plan is known');
  if (unread.length > 0)
    problems.push(`${unread.length} layers could not be read, first: ${unread[0]!.slice(0, 200)}`);
  for (const layer of audit.float32Products) {
    problems.push(`expected ${audit.precision}, found a float32 matrix product: ${layer}`);
  }
  for (const node of audit.tierProducts?.lost ?? []) {
    const { product } = tierFormats[audit.tier!];
    problems.push(`${node}: expected a kernel that computes ${product}, found none`);
  }
  for (const [plugin, wanted] of Object.entries(plugins)) {
    const found = audit.plugins[plugin] ?? 0;
    if (found !== wanted) problems.push(`expected ${wanted} layer(s) of plugin ${plugin}, found ${found}`);
  }
  const types = new Map(io.map(({ name, type }) => [name, type]));
  for (const { name, type } of [...model.inputs, ...model.outputs]) {
    const found = types.get(name);
    if (found !== type) problems.push(`${name}: expected ${type}, found ${found ?? 'no such tensor'}`);
  }
  return problems;
}

/** @throws ENGINE_AUDIT_FAILED with every problem */
export function requireSound(audit: PlanAudit): void {
  if (audit.problems.length === 0) return;
  throw new SemanticVlaError(
    'ENGINE_AUDIT_FAILED',
    `Engine ${audit.engine} was built, but is not what was asked for:\n- ${audit.problems.slice(0, 10).join('\n- ')}\n` +
      'It is not kept. Report this with the version of TensorRT; another precision may build as asked.',
  );
}

/**
 * Scalars (alpha, beta) and statistics may be float32; the operands of a product may not. A generated kernel can hold a
 * product of one row, or of one column, beside the norm before it, whose residual stream is float32: there the weights decide,
 * which it reads in the type that they have.
 */
function isFloat32Product(layer: PlanLayer, products: ReadonlyMap<string, NodeProto>): boolean {
  if (pluginKinds.has(layer.kind)) return false;
  const own = layer.nodes.flatMap((node) => products.get(node) ?? []);
  if (layer.kind !== 'gemm' && own.length === 0) return false;
  const read = [...layer.inputs, ...layer.constants];
  if (!read.some((one) => isMatrix(one) && one.type === 'float32')) return false;
  const readsNarrow = ({ input }: NodeProto): boolean =>
    read.some(({ name, type }) => type !== 'float32' && input.includes(name));
  return !(layer.kind === 'kgen' && own.every(readsNarrow));
}

const languageLayer = /^llama\/layer\d+\//;

/** Each Gemm of the language model's layers must be computed by a kernel that reads two matrices of levels. */
function tierProducts(
  model: OnnxModel,
  kernels: readonly PlanLayer[],
  tier: Tier,
): PlanAudit['tierProducts'] {
  const { levels } = tierFormats[tier];
  const inLevels = new Set(
    kernels
      .filter(({ inputs, constants }) => {
        const matrices = [...inputs, ...constants].filter(isMatrix);
        return matrices.filter(({ type }) => type === levels).length >= 2;
      })
      .flatMap(({ nodes }) => nodes),
  );
  const wanted = model.nodes
    .filter(({ name, opType }) => opType === 'Gemm' && languageLayer.test(name))
    .map(({ name }) => name);
  const lost = wanted.filter((name) => !inLevels.has(name));
  return { found: wanted.length - lost.length, lost };
}

function isMatrix({ dims }: PlanTensor): boolean {
  // [rows, 1] are statistics of rows
  return dims.length >= 2 && dims.at(-1) !== 1 && dims.filter((n) => n !== 1).length >= 2;
}

function countPlugins(
  kernels: readonly PlanLayer[],
  operators: ReadonlyMap<string, string>,
): Record<string, number> {
  const custom = kernels.filter(({ kind }) => pluginKinds.has(kind));
  return count(custom.map(({ nodes, name }) => operators.get(nodes[0] ?? '') ?? name));
}

/** `llama/layer5/mlp/down` -> `llama/layer5`; `head/model_trans/fc1` -> `head`. */
function blockOf(node: string): string {
  const match = /^(?:film\/)?[^/]+\/(?:layer|block)\d+(?=\/)/.exec(node) ?? /^[^/]+/.exec(node);
  return match![0];
}

/** A kernel that spans two blocks counts for the one of which it computes more nodes. */
function countBlocks(kernels: readonly PlanLayer[]): BlockKernels[] {
  const blocks = new Map<string, { kernels: number; trimmed: boolean }>();
  for (const { nodes } of kernels) {
    const shares = Object.entries(count(nodes.map(blockOf))).sort(([, a], [, b]) => b - a);
    const block = shares[0]?.[0] ?? 'glue';
    const entry = blocks.get(block) ?? { kernels: 0, trimmed: false };
    entry.kernels += 1;
    entry.trimmed ||= nodes.some(
      (node) => node.startsWith(block) && /\/attn\/(query_rows$|queries\/)/.test(node),
    );
    blocks.set(block, entry);
  }
  return [...blocks].map(([block, entry]) => ({ block, ...entry }));
}

function describe({ name, nodes }: PlanLayer): string {
  return `${name} (${nodes.slice(0, 4).join(', ')})`;
}

function count(keys: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const key of keys) counts[key] = (counts[key] ?? 0) + 1;
  return counts;
}

/** Kernels of the largest whole block of each kind: `llama/layer` -> 9. Trimmed blocks, which do less, stay out. */
export function kernelsPerBlock(audit: PlanAudit): Record<string, number> {
  const most: Record<string, number> = {};
  for (const { block, kernels, trimmed } of audit.blocks) {
    if (trimmed || !/(layer|block|exchange)\d+$/.test(block)) continue;
    const kind = block.replace(/\d+$/, '');
    most[kind] = Math.max(most[kind] ?? 0, kernels);
  }
  return most;
}
