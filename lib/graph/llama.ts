/** The language model (docs/model.md, "LLM"): [L, D] embeddings -> final-RMSNorm rows of the action window [H*C, D]. */

import type { Value } from './graphBuilder.ts';
import type { GraphContext } from './graphContext.ts';
import { attentionCore, joinedLinear, linear, rmsNorm, rmsNormalized, scaleBy } from './layers.ts';
import { names } from './names.ts';
import { turn } from './tierLinear.ts';
import type { StreamPlace } from './tiers.ts';

const prefix = 'language_model.model';

/**
 * Rows [L - H*C - 2, L - 2): the window starts at the last prompt token (next-token convention). Counted from the end
 * it does not depend on the prompt length.
 */
function window(ctx: GraphContext, x: Value, label: string): Value {
  const { g, tokens } = ctx;
  return g.op('Slice', [x, g.ints([-(tokens.placeholders + 2)]), g.ints([-2]), g.ints([0])], {}, label);
}

export function runLlama(ctx: GraphContext, embeddings: Value): Value {
  const { g, config, options } = ctx;
  const { layers, width } = config.llama;
  ctx.stage('llm.inputs_embeds', embeddings, ['L', width]);
  let x = turn(g, embeddings, width, 'llama/into_stream');
  for (let n = 0; n < layers; n++) {
    const last = n === layers - 1;
    x = g.scope(`llama/layer${n}`, () => layer(ctx, x, n, last && !options.stages));
    if (!last) ctx.stage(`llm.hidden${n + 1}`, x, ['L', width]);
  }
  const normed = g.scope('llama', () => lastNorm(ctx, x));
  if (!options.stages) return normed;
  ctx.stage(`llm.hidden${layers}`, normed, ['L', width]);
  const rows = window(ctx, normed, 'llama/window');
  ctx.stage('llm.window', rows, [ctx.tokens.placeholders, width]);
  return rows;
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

/** With `trim`, queries, output projection and MLP are computed only for the rows that the head reads. */
function layer(ctx: GraphContext, x: Value, n: number, trim: boolean): Value {
  const { g } = ctx;
  const name = `${prefix}.layers.${n}`;
  const [before, after] = [`${name}.input_layernorm.weight`, `${name}.post_attention_layernorm.weight`];
  const normed = streamNorm(ctx, x, before, 'input_norm');
  const attended = g.scope('attn', () => selfAttention(ctx, normed, before, `${name}.self_attn`, trim));
  const residual = trim ? window(ctx, x, 'window') : x;
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

function selfAttention(ctx: GraphContext, x: Value, gamma: string, name: string, trim: boolean): Value {
  const { g, config } = ctx;
  const { heads, kvHeads, headDim: d } = config.llama;
  const bias = config.family === 'semanticvla' ? attentionBias(ctx, trim) : null;
  const { q, k, v } =
    trim || heads !== kvHeads
      ? separateHeads(ctx, x, { gamma }, name, trim)
      : stackedHeads(ctx, x, { gamma }, name);
  const context = attentionCore(g, q, k, v, bias, [0, 2, 1]);
  const ordered = g.op('Transpose', [context], { perm: [1, 0, 2] }, 'ordered');
  const merged = g.op('Reshape', [ordered, g.ints([-1, heads * d])], {}, 'merged');
  return linear(g, merged, `${name}.o_proj`, 'o_proj', { bias: false, place: { writes: true } });
}

/** The bias for all rows, or for those of the window (one slice, made only in the last layer). */
function attentionBias(ctx: GraphContext, trim: boolean): Value {
  return trim ? window(ctx, names.attentionBias, 'bias_window') : names.attentionBias;
}

interface Heads {
  /** [h, rows, d], rotated and scaled */
  readonly q: Value;
  /** [h, L, d], rotated */
  readonly k: Value;
  readonly v: Value;
}

/** q, k, v through one tensor [3, h, L, d]: one split, and one rotation for q and k together. */
function stackedHeads(ctx: GraphContext, x: Value, place: StreamPlace, name: string): Heads {
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
  const rotated = rotate(ctx, qk!, names.rotaryCos, names.rotarySin, 'rotary');
  const [q, k] = g.ops('Split', [rotated], { axis: 0, num_outputs: 2 }, 'rotated', ['q', 'k']);
  const squeeze = (value: Value, label: string) => g.op('Squeeze', [value, g.ints([0])], {}, label);
  return { q: squeeze(q!, 'q'), k: squeeze(k!, 'k'), v: squeeze(v!, 'v') };
}

/** q for only some rows, or fewer key heads than query heads. */
function separateHeads(ctx: GraphContext, x: Value, place: StreamPlace, name: string, trim: boolean): Heads {
  const { g, config } = ctx;
  const { heads, kvHeads, headDim: d } = config.llama;
  const project = (rows: Value, part: 'q' | 'k' | 'v', count: number): Value => {
    const projected = linear(g, rows, `${name}.${part}_proj`, `${part}_proj`, { bias: false, place });
    const split = g.op('Reshape', [projected, g.ints([-1, count, d])], {}, `${part}_heads`);
    return g.op('Transpose', [split], { perm: [1, 0, 2] }, `${part}_stacked`);
  };
  const table = (source: Value, index: 0 | 1, label: string): Value => {
    const one = g.op('Gather', [source, g.int(index)], { axis: 0 }, `${label}_table`);
    if (index === 1 || !trim) return one;
    const { placeholders } = ctx.tokens;
    return g.op(
      'Slice',
      [one, g.ints([-(placeholders + 2)]), g.ints([-2]), g.ints([1])],
      {},
      `${label}_window`,
    );
  };
  const rows = trim ? window(ctx, x, 'query_rows') : x;
  const q = rotate(
    ctx,
    project(rows, 'q', heads),
    table(names.rotaryCos, 0, 'q_cos'),
    table(names.rotarySin, 0, 'q_sin'),
    'q_rotary',
  );
  const keysAndValues = ['k', 'v'].map((part) => `${name}.${part}_proj.weight`);
  const joins = g.bindsWeights || g.tier !== undefined || g.isInt8(keysAndValues);
  const joined = joins ? joinedKeysAndValues(ctx, x, place, name) : null;
  const k = rotate(
    ctx,
    joined?.k ?? project(x, 'k', kvHeads),
    table(names.rotaryCos, 1, 'k_cos'),
    table(names.rotarySin, 1, 'k_sin'),
    'k_rotary',
  );
  const v = joined?.v ?? project(x, 'v', kvHeads);
  if (heads === kvHeads) return { q, k, v };
  return { q, k: repeatHeads(ctx, k, 'k_repeated'), v: repeatHeads(ctx, v, 'v_repeated') };
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
