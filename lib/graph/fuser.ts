/** Sparse fusion and projection into the language model (docs/model.md, "Sparse fusion / projection"): vision tokens [n, D]. */

import { channelConcat } from './functions.ts';
import type { Value } from './graphBuilder.ts';
import type { GraphContext } from './graphContext.ts';
import { geluMlp, linear } from './layers.ts';
import { names, type TowerName } from './names.ts';
import type { Pruned } from './pruner.ts';

/** [I * perImage, D]: per image SigLIP pooled, DINOv2 pooled, fused. */
export function fuse(ctx: GraphContext, dinov2: Pruned, siglip: Pruned): Value {
  const { g, config, options, tokens } = ctx;
  const d = config.llama.width;
  return g.scope('fuser', () => {
    const parts: Value[] = [];
    for (const [name, pruned] of [
      ['siglip', siglip],
      ['dinov2', dinov2],
    ] as const) {
      if (pruned.pooled === null) continue;
      parts.push(projectPooled(ctx, name, pruned.pooled));
    }
    const kept = tokens.fused;
    const fused =
      config.aggregation === 'moe'
        ? mixture(ctx, dinov2, siglip, kept)
        : concatenated(ctx, dinov2, siglip, kept);
    const shaped = g.op('Reshape', [fused, g.ints([options.images, kept, d])], {}, 'fused');
    // OpenVLA-OFT's reference has one tensor for all images instead, which policyGraph.ts publishes
    if (config.family === 'semanticvla') ctx.stage('fused_tokens', shaped, [options.images, kept, d]);
    parts.push(shaped);
    const all = parts.length === 1 ? shaped : g.op('Concat', parts, { axis: 1 }, 'tokens');
    return g.op('Reshape', [all, g.ints([options.images * tokens.perImage, d])], {}, 'rows');
  });
}

function projectPooled(ctx: GraphContext, name: TowerName, pooled: Value): Value {
  const { g, config, options } = ctx;
  const vit = config[name];
  const count = vit.sampler!.textTopk;
  const prefix = name === 'siglip' ? 'fused_featurizer_sampler_proj' : 'featurizer_sampler_proj';
  return g.scope(`${name}_pooled`, () => {
    const flat = g.op('Reshape', [pooled, g.ints([options.images * count, vit.width])], {}, 'flat');
    const projected = geluMlp(g, flat, `${prefix}.fc1`, `${prefix}.fc2`);
    const shaped = g.op(
      'Reshape',
      [projected, g.ints([options.images, count, config.llama.width])],
      {},
      'tokens',
    );
    const stage =
      name === 'dinov2' && config.siglip.sampler !== null ? 'dinov2.pooled_tokens' : 'pooled_tokens';
    ctx.stage(stage, shaped, [options.images, count, config.llama.width]);
    return shaped;
  });
}

/** Channel-wise concatenation, then fc1 - GELU - fc2 - GELU - fc3. */
function concatenated(ctx: GraphContext, dinov2: Pruned, siglip: Pruned, kept: number): Value {
  const { g, config, options } = ctx;
  const [joined] = g.call(channelConcat, [dinov2.tokens, siglip.tokens], {}, 'channelConcat');
  const width = config.dinov2.width + config.siglip.width;
  const flat = g.op('Reshape', [joined!, g.ints([options.images * kept, width])], {}, 'flat');
  const hidden = geluMlp(g, flat, 'projector.fc1', 'projector.fc2');
  return linear(g, g.op('Gelu', [hidden], {}, 'gelu2'), 'projector.fc3', 'fc3');
}

/** `moe`: r[0] * featurizer_proj(DINOv2) + r[1] * fused_featurizer_proj(SigLIP). */
function mixture(ctx: GraphContext, dinov2: Pruned, siglip: Pruned, kept: number): Value {
  const { g, config, options } = ctx;
  const experts = (['dinov2', 'siglip'] as const).map((name) =>
    g.scope(`${name}_expert`, () => {
      const { tokens } = name === 'dinov2' ? dinov2 : siglip;
      const prefix = name === 'dinov2' ? 'featurizer_proj' : 'fused_featurizer_proj';
      const flat = g.op('Reshape', [tokens, g.ints([options.images * kept, config[name].width])], {}, 'flat');
      return geluMlp(g, flat, `${prefix}.fc1`, `${prefix}.fc2`);
    }),
  );
  const shares = g.ops('Split', [names.routerWeights], { axis: 1, num_outputs: 2 }, 'shares', [
    'dinov2',
    'siglip',
  ]);
  const weighted = experts.map((expert, i) => g.op('Mul', [expert, shares[i]!], {}, `weighted${i}`));
  return g.op('Add', weighted, {}, 'mixed');
}
