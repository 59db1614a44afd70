/** The language model (docs/model.md, "LLM"): [L, D] embeddings -> final-RMSNorm rows of the action window [H*C, D]. */

import type { Value } from './graphBuilder.ts';
import type { GraphContext } from './graphContext.ts';
import { attentionCore, joinedLinear, linear, rmsNorm } from './layers.ts';
import { names } from './names.ts';

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
  const { layers, width, rmsNormEps } = config.llama;
  ctx.stage('llm.inputs_embeds', embeddings, ['L', width]);
  let x = embeddings;
  for (let n = 0; n < layers; n++) {
    const last = n === layers - 1;
    x = g.scope(`llama/layer${n}`, () => layer(ctx, x, n, last && !options.stages));
    if (!last) ctx.stage(`llm.hidden${n + 1}`, x, ['L', width]);
  }
  const normed = g.scope('llama', () => rmsNorm(g, x, `${prefix}.norm.weight`, rmsNormEps, 'norm'));
  if (!options.stages) return normed;
  ctx.stage(`llm.hidden${layers}`, normed, ['L', width]);
  const rows = window(ctx, normed, 'llama/window');
  ctx.stage('llm.window', rows, [ctx.tokens.placeholders, width]);
  return rows;
}

/** With `trim`, queries, output projection and MLP are computed only for the rows that the head reads. */
function layer(ctx: GraphContext, x: Value, n: number, trim: boolean): Value {
  const { g, config } = ctx;
  const { rmsNormEps } = config.llama;
  const name = `${prefix}.layers.${n}`;
  const normed = rmsNorm(g, x, `${name}.input_layernorm.weight`, rmsNormEps, 'input_norm');
  const attended = g.scope('attn', () => selfAttention(ctx, normed, `${name}.self_attn`, trim));
  const residual = trim ? window(ctx, x, 'window') : x;
  const middle = g.op('Add', [residual, attended], {}, 'attn_residual');
  const hidden = rmsNorm(g, middle, `${name}.post_attention_layernorm.weight`, rmsNormEps, 'post_norm');
  return g.op('Add', [middle, swiGlu(ctx, hidden, `${name}.mlp`)], {}, 'out');
}

/** down(silu(gate(x)) * up(x)) */
function swiGlu(ctx: GraphContext, x: Value, name: string): Value {
  const { g } = ctx;
  return g.scope('mlp', () => {
    let gate: Value;
    let up: Value;
    const parts = ['gate', 'up'].map((part) => `${name}.${part}_proj`);
    if (joins(ctx, parts)) {
      const both = joinedLinear(g, x, parts, `${name}.gate_up`, 'gate_up');
      [gate, up] = g.ops('Split', [both], { axis: -1, num_outputs: 2 }, 'split', ['gate', 'up']) as [
        Value,
        Value,
      ];
    } else {
      gate = linear(g, x, `${name}.gate_proj`, 'gate', { bias: false });
      up = linear(g, x, `${name}.up_proj`, 'up', { bias: false });
    }
    const silu = g.op('Mul', [gate, g.op('Sigmoid', [gate], {}, 'sigmoid')], {}, 'silu');
    return linear(g, g.op('Mul', [silu, up], {}, 'gated'), `${name}.down_proj`, 'down', { bias: false });
  });
}

/** Whether layers that share their input are one product: in 8 bits they are stacked when they are quantized. */
function joins({ g, options }: GraphContext, prefixes: readonly string[]): boolean {
  return options.mergeWeights || g.isInt8(prefixes.map((prefix) => `${prefix}.weight`));
}

function selfAttention(ctx: GraphContext, x: Value, name: string, trim: boolean): Value {
  const { g, config } = ctx;
  const { heads, kvHeads, headDim: d } = config.llama;
  const bias = config.family === 'semanticvla' ? attentionBias(ctx, trim) : null;
  const { q, k, v } =
    trim || heads !== kvHeads ? separateHeads(ctx, x, name, trim) : stackedHeads(ctx, x, name);
  const context = attentionCore(g, q, k, v, bias, [0, 2, 1]);
  const ordered = g.op('Transpose', [context], { perm: [1, 0, 2] }, 'ordered');
  const merged = g.op('Reshape', [ordered, g.ints([-1, heads * d])], {}, 'merged');
  return linear(g, merged, `${name}.o_proj`, 'o_proj', { bias: false });
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
function stackedHeads(ctx: GraphContext, x: Value, name: string): Heads {
  const { g, config } = ctx;
  const { heads, headDim: d } = config.llama;
  const parts = ['q', 'k', 'v'] as const;
  const prefixes = parts.map((part) => `${name}.${part}_proj`);
  let qkv: Value;
  if (joins(ctx, prefixes)) {
    qkv = joinedLinear(g, x, prefixes, `${name}.qkv`, 'qkv');
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
function separateHeads(ctx: GraphContext, x: Value, name: string, trim: boolean): Heads {
  const { g, config } = ctx;
  const { heads, kvHeads, headDim: d } = config.llama;
  const project = (rows: Value, part: 'q' | 'k' | 'v', count: number): Value => {
    const projected = linear(g, rows, `${name}.${part}_proj`, `${part}_proj`, { bias: false });
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
  const joined = g.bindsWeights || g.isInt8(keysAndValues) ? joinedKeysAndValues(ctx, x, name) : null;
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
function joinedKeysAndValues(ctx: GraphContext, x: Value, name: string): { k: Value; v: Value } {
  const { g, config } = ctx;
  const { kvHeads, headDim: d } = config.llama;
  const prefixes = ['k', 'v'].map((part) => `${name}.${part}_proj`);
  const projected = joinedLinear(g, x, prefixes, `${name}.kv`, 'kv');
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
