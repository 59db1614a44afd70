/** SigLIP's text tower and the projector behind it (docs/model.md, "Instruction-only part"): T [positions, width of the ViT]. */

import type { TextEncoderConfig } from '../checkpoint/policyConfig.ts';
import type { GraphBuilder, Value } from './graphBuilder.ts';
import type { GraphContext } from './graphContext.ts';
import { lowestFinite } from './halfFloats.ts';
import { attentionCore, geluMlp, layerNorm, linear } from './layers.ts';
import { names, type TowerName } from './names.ts';
import { onnxType } from './onnxModel.ts';

/** Writes the text mask output and T for every tower that has a sampler. */
export function textTowers(ctx: GraphContext, siglipIds: Value): void {
  const { g, config } = ctx;
  const towers = (['dinov2', 'siglip'] as const).filter((name) => config[name].sampler !== null);
  if (towers.length === 0) return;
  const positions = config[towers[0]!].sampler!.textEncoder.positions;
  // the padding id is 1, and so is the end-of-sentence id: both are masked (docs/model.md, Input 2)
  const mask = g.op('Not', [g.op('Equal', [siglipIds, g.int(1)], {}, 'text/is_padding')], {}, 'text/mask');
  g.output(mask, { name: names.textMask, type: 'bool', shape: [positions] });
  const bias = g.op('Where', [mask, g.float(0), g.float(lowestFinite[g.precision])], {}, 'text/bias');
  for (const name of towers) g.scope(`${name}_text`, () => textTower(ctx, name, siglipIds, bias));
}

function textTower(ctx: GraphContext, name: TowerName, ids: Value, bias: Value): void {
  const { g, config } = ctx;
  const text = config[name].sampler!.textEncoder;
  const sampler = `vision_backbone.${name === 'dinov2' ? 'featurizer' : 'fused_featurizer'}_mm_sampler`;
  const model = `${sampler}.text_encoder.text_model`;
  const rows = g.op(
    'Gather',
    [g.rawWeight(`${model}.embeddings.token_embedding.weight`), ids],
    { axis: 0 },
    'gathered',
  );
  const embedded = g.op('Cast', [rows], { to: onnxType[g.precision] }, 'embedded');
  let x = g.op(
    'Add',
    [embedded, g.weight(`${model}.embeddings.position_embedding.weight`)],
    {},
    'positioned',
  );
  for (let n = 0; n < text.layers; n++) {
    x = g.scope(`layer${n}`, () => layer(g, x, text, `${model}.encoder.layers.${n}`, bias));
  }
  const hidden = layerNorm(g, x, `${model}.final_layer_norm`, text.layerNormEps, 'final_layer_norm');
  const stage = name === 'dinov2' && config.siglip.sampler !== null ? 'dinov2.siglip_text' : 'siglip_text';
  ctx.stage(`${stage}.hidden`, hidden, [text.positions, text.width]);
  const projector = `${sampler}.text_post_projector`;
  const projected = g.scope('post_projector', () => geluMlp(g, hidden, `${projector}.0`, `${projector}.2`));
  ctx.stage(`${stage}.projected`, projected, [text.positions, config[name].width]);
  g.output(projected, {
    name: names.textTokens(name),
    type: g.precision,
    shape: [text.positions, config[name].width],
  });
}

/** Pre-LN, no causal mask, GELU in its tanh form (only here). */
function layer(g: GraphBuilder, x: Value, text: TextEncoderConfig, prefix: string, bias: Value): Value {
  const d = text.width / text.heads;
  const normed = layerNorm(g, x, `${prefix}.layer_norm1`, text.layerNormEps, 'layer_norm1');
  const { q, k, v } = g.bindsWeights
    ? joinedHeads(g, normed, text, prefix)
    : separateHeads(g, normed, text, prefix);
  const scaled = g.op('Mul', [q, g.float(d ** -0.5)], {}, 'scaled');
  const context = attentionCore(g, scaled, k(), v(), bias, [0, 2, 1]);
  const ordered = g.op('Transpose', [context], { perm: [1, 0, 2] }, 'ordered');
  const merged = g.op('Reshape', [ordered, g.ints([text.positions, text.width])], {}, 'merged');
  const attended = g.op(
    'Add',
    [x, linear(g, merged, `${prefix}.self_attn.out_proj`, 'out_proj')],
    {},
    'attn_residual',
  );
  const hidden = g.scope('mlp', () =>
    geluMlp(
      g,
      layerNorm(g, attended, `${prefix}.layer_norm2`, text.layerNormEps, 'layer_norm2'),
      `${prefix}.mlp.fc1`,
      `${prefix}.mlp.fc2`,
      'tanh',
    ),
  );
  return g.op('Add', [attended, hidden], {}, 'out');
}

/** [heads, positions, d] each; k and v are written where they are used. */
interface Heads {
  readonly q: Value;
  readonly k: () => Value;
  readonly v: () => Value;
}

function separateHeads(g: GraphBuilder, normed: Value, text: TextEncoderConfig, prefix: string): Heads {
  const heads = (part: 'q' | 'k' | 'v'): Value => {
    const projected = linear(g, normed, `${prefix}.self_attn.${part}_proj`, `${part}_proj`);
    const dims = [text.positions, text.heads, text.width / text.heads];
    const split = g.op('Reshape', [projected, g.ints(dims)], {}, `${part}_heads`);
    return g.op('Transpose', [split], { perm: [1, 0, 2] }, part);
  };
  return { q: heads('q'), k: () => heads('k'), v: () => heads('v') };
}

/** One GEMM for q, k and v, whose weights and biases are bound joined. */
function joinedHeads(g: GraphBuilder, normed: Value, text: TextEncoderConfig, prefix: string): Heads {
  const joined = (kind: 'weight' | 'bias'): Value =>
    g.joinedWeight(
      ['q', 'k', 'v'].map((part) => `${prefix}.self_attn.${part}_proj.${kind}`),
      `${prefix}.self_attn.qkv.${kind}`,
      `qkv_${kind}`,
    );
  const qkv = g.op('Gemm', [normed, joined('weight'), joined('bias')], { transB: 1 }, 'qkv');
  const dims = [text.positions, 3, text.heads, text.width / text.heads];
  const split = g.op('Reshape', [qkv, g.ints(dims)], {}, 'heads');
  const stacked = g.op('Transpose', [split], { perm: [1, 2, 0, 3] }, 'stacked');
  const parts = g.ops('Split', [stacked], { axis: 0, num_outputs: 3 }, 'split', ['q', 'k', 'v']);
  const [q, k, v] = parts.map((value, i) => g.op('Squeeze', [value, g.ints([0])], {}, 'qkv'[i]!));
  return { q: q!, k: () => k!, v: () => v! };
}
