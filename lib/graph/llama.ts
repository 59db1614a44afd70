/** The language model (docs/model.md, "LLM"): rows of embeddings [rows, D] -> hidden states that the head reads. */

import type { Value } from './graphBuilder.ts';
import type { GraphContext } from './graphContext.ts';
import { attentionCore, joinedLinear, linear, rmsNorm, rmsNormalized, scaleBy } from './layers.ts';
import { names } from './names.ts';
import { tierSwiGlu, turn } from './tierLinear.ts';
import type { StreamPlace } from './tiers.ts';

const prefix = 'language_model.model';

/** Keys (rotated) and values of one layer, each [kv heads, rows, d]. */
export interface KeysAndValues {
  readonly k: Value;
  readonly v: Value;
}

/** Rows [begin, end) of an axis; negative numbers count from its end. */
export interface RowRange {
  readonly begin: number;
  readonly end: number;
}

/** What the language model is run over. */
export interface LlamaPass {
  /** Rotary tables of these rows [2, 1, rows, d] for q and k. */
  readonly cos: Value;
  readonly sin: Value;
  /** [rows, past rows + rows]; null: every row sees all. */
  readonly bias: Value | null;
  /** Of earlier rows, by layer; empty: there are none. */
  readonly past: readonly KeysAndValues[];
  /** The rows that are read afterwards: the last layer computes no others. `none`: only keys and values are. */
  readonly reads: RowRange | 'none';
}

export interface LlamaResult {
  /** After the final RMSNorm: the rows that are read; with `stages`, all. null: none are read. */
  readonly hidden: Value | null;
  /** Of these rows, by layer, with those of the past. */
  readonly keysAndValues: readonly KeysAndValues[];
}

/** Beyond every axis: Slice takes the rest. */
export const toEnd = 2 ** 31;

export function sliceRows(
  ctx: GraphContext,
  x: Value,
  { begin, end }: RowRange,
  label: string,
  axis = 0,
): Value {
  const { g } = ctx;
  return g.op('Slice', [x, g.ints([begin]), g.ints([end]), g.ints([axis])], {}, label);
}

/**
 * Rows [L - H*C - 2, L - 2): the window starts at the last prompt token (next-token convention). Counted from the end
 * it does not depend on the prompt length.
 */
export function actionWindow({ tokens }: GraphContext): RowRange {
  return { begin: -(tokens.placeholders + 2), end: -2 };
}

export function runLayers(ctx: GraphContext, embeddings: Value, pass: LlamaPass, label: string): LlamaResult {
  const { g, config, options } = ctx;
  const { layers, width } = config.llama;
  const keysAndValues: KeysAndValues[] = [];
  let x: Value | null = turn(g, embeddings, width, `${label}/into_stream`);
  for (let n = 0; n < layers; n++) {
    const isLast = n === layers - 1;
    const reads = isLast && !options.stages ? pass.reads : null;
    const rows: Value = x!;
    x = g.scope(`${label}/layer${n}`, () => layer(ctx, rows, n, pass, reads, keysAndValues));
    if (!isLast) ctx.stage(`llm.hidden${n + 1}`, x!, ['L', width]);
  }
  if (x === null) return { hidden: null, keysAndValues };
  const last: Value = x;
  return { hidden: g.scope(label, () => lastNorm(ctx, last)), keysAndValues };
}

function lastNorm({ g, config }: GraphContext, x: Value): Value {
  const { width, rmsNormEps } = config.llama;
  const weight = `${prefix}.norm.weight`;
  if (g.tier === undefined) return rmsNorm(g, x, weight, rmsNormEps, 'norm');
  const normalized = g.narrow(rmsNormalized(g, x, rmsNormEps, 'norm'), 'norm/narrowed');
  return g.scope('norm', () => scaleBy(g, turn(g, normalized, width, 'out_of_stream'), weight));
}

/** What linear layers read: float32 and without gamma where a tier rounds it next, and gamma lies in their weights. */
function streamNorm({ g, config }: GraphContext, x: Value, weight: string, label: string): Value {
  const { rmsNormEps } = config.llama;
  return g.tier === undefined
    ? rmsNorm(g, x, weight, rmsNormEps, label)
    : rmsNormalized(g, x, rmsNormEps, label);
}

/** The whole sequence at once -> final-RMSNorm rows of the action window [H*C, D]. */
export function runLlama(ctx: GraphContext, embeddings: Value): Value {
  const bias = ctx.config.family === 'semanticvla' ? names.attentionBias : null;
  return readWindow(ctx, embeddings, {
    cos: names.rotaryCos,
    sin: names.rotarySin,
    bias,
    past: [],
    reads: actionWindow(ctx),
  });
}

/** Rows that end with the action window and what follows it -> the window after the final RMSNorm [H*C, D]. */
export function readWindow(ctx: GraphContext, embeddings: Value, pass: LlamaPass): Value {
  const { config, options } = ctx;
  const { layers, width } = config.llama;
  ctx.stage('llm.inputs_embeds', embeddings, ['L', width]);
  const hidden = runLayers(ctx, embeddings, pass, 'llama').hidden!;
  if (!options.stages) return hidden;
  ctx.stage(`llm.hidden${layers}`, hidden, ['L', width]);
  const rows = sliceRows(ctx, hidden, actionWindow(ctx), 'llama/window');
  ctx.stage('llm.window', rows, [ctx.tokens.placeholders, width]);
  return rows;
}

/** With `reads`, queries, output projection and MLP are computed only for those rows. */
function layer(
  ctx: GraphContext,
  x: Value,
  n: number,
  pass: LlamaPass,
  reads: RowRange | 'none' | null,
  keysAndValues: KeysAndValues[],
): Value | null {
  const { g } = ctx;
  const name = `${prefix}.layers.${n}`;
  const [before, after] = [`${name}.input_layernorm.weight`, `${name}.post_attention_layernorm.weight`];
  const normed = streamNorm(ctx, x, before, 'input_norm');
  const past = pass.past[n] ?? null;
  const attended = g.scope('attn', () => {
    const made = selfAttention(ctx, normed, { gamma: before }, `${name}.self_attn`, pass, reads, past);
    keysAndValues.push(made.all);
    return made.context;
  });
  if (attended === null) return null;
  const residual = reads === null || reads === 'none' ? x : sliceRows(ctx, x, reads, 'window');
  const middle = g.op('Add', [residual, attended], {}, 'attn_residual');
  const hidden = streamNorm(ctx, middle, after, 'post_norm');
  return g.op('Add', [middle, swiGlu(ctx, hidden, after, `${name}.mlp`)], {}, 'out');
}

/** down(silu(gate(x)) * up(x)) */
function swiGlu(ctx: GraphContext, x: Value, gamma: string, name: string): Value {
  const { g } = ctx;
  const place: StreamPlace = { gamma };
  return g.scope('mlp', () => {
    let gate: Value;
    let up: Value;
    const parts = ['gate', 'up'].map((part) => `${name}.${part}_proj`);
    const down = `${name}.down_proj.weight`;
    const whole = tierSwiGlu(
      g,
      x,
      { name: `${name}.gate_up.weight`, tensors: parts.map((part) => `${part}.weight`), gamma },
      { name: down, tensors: [down] },
    );
    if (whole !== null) return whole;
    if (joins(ctx, parts)) {
      const both = joinedLinear(g, x, parts, `${name}.gate_up`, 'gate_up', place);
      [gate, up] = g.ops('Split', [both], { axis: -1, num_outputs: 2 }, 'split', ['gate', 'up']) as [
        Value,
        Value,
      ];
    } else {
      gate = linear(g, x, `${name}.gate_proj`, 'gate', { bias: false });
      up = linear(g, x, `${name}.up_proj`, 'up', { bias: false });
    }
    const silu = g.op('Mul', [gate, g.op('Sigmoid', [gate], {}, 'sigmoid')], {}, 'silu');
    const gated = g.op('Mul', [silu, up], {}, 'gated');
    return linear(g, gated, `${name}.down_proj`, 'down', {
      bias: false,
      place: { writes: true, turns: true },
    });
  });
}

/** Whether layers that share their input are one product: in 8 bits or fewer they are stacked when they are quantized. */
function joins({ g, options }: GraphContext, prefixes: readonly string[]): boolean {
  return (
    options.mergeWeights || g.tier !== undefined || g.isInt8(prefixes.map((prefix) => `${prefix}.weight`))
  );
}

/** @returns `context` null: only keys and values are wanted */
function selfAttention(
  ctx: GraphContext,
  x: Value,
  place: StreamPlace,
  name: string,
  pass: LlamaPass,
  reads: RowRange | 'none' | null,
  past: KeysAndValues | null,
): { readonly context: Value | null; readonly all: KeysAndValues } {
  const { g, config } = ctx;
  const { heads, kvHeads, headDim: d } = config.llama;
  const { q, k, v } =
    reads !== null || heads !== kvHeads
      ? separateHeads(ctx, x, place, name, pass, reads)
      : stackedHeads(ctx, x, place, name, pass);
  const all =
    past === null
      ? { k, v }
      : {
          k: g.op('Concat', [past.k, k], { axis: 1 }, 'all_keys'),
          v: g.op('Concat', [past.v, v], { axis: 1 }, 'all_values'),
        };
  if (q === null) return { context: null, all };
  const bias = attentionBias(ctx, pass, reads);
  const repeated =
    heads === kvHeads
      ? all
      : { k: repeatHeads(ctx, all.k, 'k_repeated'), v: repeatHeads(ctx, all.v, 'v_repeated') };
  const context = attentionCore(g, q, repeated.k, repeated.v, bias, [0, 2, 1]);
  const ordered = g.op('Transpose', [context], { perm: [1, 0, 2] }, 'ordered');
  const merged = g.op('Reshape', [ordered, g.ints([-1, heads * d])], {}, 'merged');
  const written = { bias: false, place: { writes: true } };
  return { context: linear(g, merged, `${name}.o_proj`, 'o_proj', written), all };
}

/** The bias for all rows, or for those that are read (one slice, made only in the last layer). */
function attentionBias(
  ctx: GraphContext,
  { bias }: LlamaPass,
  reads: RowRange | 'none' | null,
): Value | null {
  if (bias === null || reads === null || reads === 'none') return bias;
  return sliceRows(ctx, bias, reads, 'bias_window');
}

interface Heads {
  /** [h, rows, d], rotated and scaled; null: not wanted. */
  readonly q: Value | null;
  /** [kv heads, rows, d], rotated */
  readonly k: Value;
  readonly v: Value;
}

/** q, k, v through one tensor [3, h, L, d]: one split, and one rotation for q and k together. */
function stackedHeads(
  ctx: GraphContext,
  x: Value,
  place: StreamPlace,
  name: string,
  { cos, sin }: LlamaPass,
): Heads {
  const { g, config } = ctx;
  const { heads, headDim: d } = config.llama;
  const parts = ['q', 'k', 'v'] as const;
  const prefixes = parts.map((part) => `${name}.${part}_proj`);
  let qkv: Value;
  if (joins(ctx, prefixes)) {
    qkv = joinedLinear(g, x, prefixes, `${name}.qkv`, 'qkv', place);
  } else {
    const projected = parts.map((p) => linear(g, x, `${name}.${p}_proj`, `${p}_proj`, { bias: false }));
    qkv = g.op('Concat', projected, { axis: -1 }, 'qkv');
  }
  const split = g.op('Reshape', [qkv, g.ints([-1, 3, heads, d])], {}, 'heads');
  const stacked = g.op('Transpose', [split], { perm: [1, 2, 0, 3] }, 'stacked');
  const [qk, v] = g.ops('Split', [stacked, g.ints([2, 1])], { axis: 0 }, 'split', ['qk', 'v']);
  const rotated = rotate(ctx, qk!, cos, sin, 'rotary');
  const [q, k] = g.ops('Split', [rotated], { axis: 0, num_outputs: 2 }, 'rotated', ['q', 'k']);
  const squeeze = (value: Value, label: string) => g.op('Squeeze', [value, g.ints([0])], {}, label);
  return { q: squeeze(q!, 'q'), k: squeeze(k!, 'k'), v: squeeze(v!, 'v') };
}

/** q for only some rows, or fewer key heads than query heads. */
function separateHeads(
  ctx: GraphContext,
  x: Value,
  place: StreamPlace,
  name: string,
  { cos, sin }: LlamaPass,
  reads: RowRange | 'none' | null,
): Heads {
  const { g, config } = ctx;
  const { heads, kvHeads, headDim: d } = config.llama;
  const project = (rows: Value, part: 'q' | 'k' | 'v', count: number): Value => {
    const projected = linear(g, rows, `${name}.${part}_proj`, `${part}_proj`, { bias: false, place });
    const split = g.op('Reshape', [projected, g.ints([-1, count, d])], {}, `${part}_heads`);
    return g.op('Transpose', [split], { perm: [1, 0, 2] }, `${part}_stacked`);
  };
  const table = (source: Value, index: 0 | 1, label: string): Value => {
    const one = g.op('Gather', [source, g.int(index)], { axis: 0 }, `${label}_table`);
    if (index === 1 || reads === null || reads === 'none') return one;
    return sliceRows(ctx, one, reads, `${label}_window`, 1);
  };
  const queries = (): Value => {
    const rows = reads === null || reads === 'none' ? x : sliceRows(ctx, x, reads, 'query_rows');
    const projected = project(rows, 'q', heads);
    return rotate(ctx, projected, table(cos, 0, 'q_cos'), table(sin, 0, 'q_sin'), 'q_rotary');
  };
  const q = reads === 'none' ? null : queries();
  const keysAndValues = ['k', 'v'].map((part) => `${name}.${part}_proj.weight`);
  const joins = g.bindsWeights || g.tier !== undefined || g.isInt8(keysAndValues);
  const joined = joins ? joinedKeysAndValues(ctx, x, place, name) : null;
  const projected = joined?.k ?? project(x, 'k', kvHeads);
  const k = rotate(ctx, projected, table(cos, 1, 'k_cos'), table(sin, 1, 'k_sin'), 'k_rotary');
  return { q, k, v: joined?.v ?? project(x, 'v', kvHeads) };
}

/** k and v [kvHeads, L, d] from one GEMM. */
function joinedKeysAndValues(
  ctx: GraphContext,
  x: Value,
  place: StreamPlace,
  name: string,
): { k: Value; v: Value } {
  const { g, config } = ctx;
  const { kvHeads, headDim: d } = config.llama;
  const prefixes = ['k', 'v'].map((part) => `${name}.${part}_proj`);
  const projected = joinedLinear(g, x, prefixes, `${name}.kv`, 'kv', place);
  const split = g.op('Reshape', [projected, g.ints([-1, 2, kvHeads, d])], {}, 'kv_heads');
  const stacked = g.op('Transpose', [split], { perm: [1, 2, 0, 3] }, 'kv_stacked');
  const [k, v] = g.ops('Split', [stacked], { axis: 0, num_outputs: 2 }, 'kv_split', ['k', 'v']);
  const squeeze = (value: Value, label: string) => g.op('Squeeze', [value, g.ints([0])], {}, label);
  return { k: squeeze(k!, 'k'), v: squeeze(v!, 'v') };
}

/** Grouped-query attention: each key head serves heads / kvHeads query heads. */
function repeatHeads(ctx: GraphContext, x: Value, label: string): Value {
  const { g, config } = ctx;
  const { heads, kvHeads, headDim: d } = config.llama;
  const group = heads / kvHeads;
  return g.scope(label, () => {
    const grouped = g.op('Unsqueeze', [x, g.ints([1])], {}, 'grouped');
    const tiled = g.op('Tile', [grouped, g.ints([1, group, 1, 1])], {}, 'tiled');
    return g.op('Reshape', [tiled, g.ints([heads, -1, d])], {}, 'heads');
  });
}

/** x * cos + swap(x) * sin, where swap exchanges the halves and the table carries the sign. */
function rotate(ctx: GraphContext, x: Value, cos: Value, sin: Value, label: string): Value {
  const { g } = ctx;
  return g.scope(label, () => {
    const [first, second] = g.ops('Split', [x], { axis: -1, num_outputs: 2 }, 'halves', ['first', 'second']);
    const swapped = g.op('Concat', [second!, first!], { axis: -1 }, 'swapped');
    const straight = g.op('Mul', [x, cos], {}, 'straight');
    return g.op('Add', [straight, g.op('Mul', [swapped, sin], {}, 'crossed')], {}, 'out');
  });
}
