/** SigLIP's text tower and the projector behind it (spec, "Instruction-only part"): T [positions, width of the ViT]. */

import type { TextEncoderConfig } from '../checkpoint/policyConfig.ts';
import type { GraphBuilder, Value } from './graphBuilder.ts';
import type { GraphContext } from './graphContext.ts';
import { attentionCore, geluMlp, layerNorm, linear } from './layers.ts';
import { names, type TowerName } from './names.ts';
import { onnxType } from './onnxModel.ts';

/** Lowest finite float32: what the reference adds where attention is not allowed. */
export const lowestFloat32 = -3.4028234663852886e38;

/** Writes the text mask output and T for every tower that has a sampler. */
export function textTowers(ctx: GraphContext, siglipIds: Value): void {
  const { g, config } = ctx;
  const towers = (['dinov2', 'siglip'] as const).filter((name) => config[name].sampler !== null);
  if (towers.length === 0) return;
  const positions = config[towers[0]!].sampler!.textEncoder.positions;
  // the padding id is 1, and so is the end-of-sentence id: both are masked (spec, Input 2)
  const mask = g.op('Not', [g.op('Equal', [siglipIds, g.int(1)], {}, 'text/is_padding')], {}, 'text/mask');
  g.output(mask, { name: names.textMask, type: 'bool', shape: [positions] });
  const bias = g.op('Where', [mask, g.float(0), g.float(lowestFloat32)], {}, 'text/bias');
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
  const embedded = g.op('Cast', [rows], { to: onnxType.float32 }, 'embedded');
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
    type: 'float32',
    shape: [text.positions, config[name].width],
  });
}

/** Pre-LN, no causal mask, GELU in its tanh form (only here). */
function layer(g: GraphBuilder, x: Value, text: TextEncoderConfig, prefix: string, bias: Value): Value {
  const d = text.width / text.heads;
  const normed = layerNorm(g, x, `${prefix}.layer_norm1`, text.layerNormEps, 'layer_norm1');
  const heads = (part: 'q' | 'k' | 'v'): Value => {
    const projected = linear(g, normed, `${prefix}.self_attn.${part}_proj`, `${part}_proj`);
    const split = g.op('Reshape', [projected, g.ints([text.positions, text.heads, d])], {}, `${part}_heads`);
    return g.op('Transpose', [split], { perm: [1, 0, 2] }, part);
  };
  const q = g.op('Mul', [heads('q'), g.float(d ** -0.5)], {}, 'scaled');
  const context = attentionCore(g, q, heads('k'), heads('v'), bias, [0, 2, 1]);
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
