/** ID-Pruner: the text-guided sampler on one tower's output (docs/model.md, "ID-Pruner"). */

import { instructionTopK, textGuidedPooling } from './functions.ts';
import type { Value } from './graphBuilder.ts';
import type { GraphContext } from './graphContext.ts';
import { names, type TowerName } from './names.ts';
import { FloatAttribute } from './onnxModel.ts';
import { towerTokens } from './tokenCounts.ts';

export interface Pruned {
  /** [I, K, width]: the tokens that are kept. */
  readonly tokens: Value;
  /** [I, textTopk, width], or null without pooled tokens. */
  readonly pooled: Value | null;
}

/** Applies the tower's sampler, if it has one, and publishes kept indices and similarity as graph outputs. */
export function prune(ctx: GraphContext, name: TowerName, tokens: Value): Pruned {
  const { g, config, options } = ctx;
  const vit = config[name];
  const { sampler } = vit;
  if (sampler === null) return { tokens, pooled: null };
  const n = towerTokens(vit);
  const positions = sampler.textEncoder.positions;
  const topk = sampler.visionTopk;
  return g.scope(`${name}_pruner`, () => {
    const [kept, indices, similarity] = g.call(
      instructionTopK,
      [tokens, names.textTokens(name), names.textMask],
      { topk: [topk] },
      'instructionTopK',
    );
    g.output(indices!, { name: names.keptPatches(name), type: 'int64', shape: [options.images, topk] });
    g.output(similarity!, {
      name: names.similarity(name),
      type: 'float32',
      shape: [options.images, n, positions],
    });
    if (options.stages) publishScores(ctx, name, similarity!, n, positions);
    let pooled: Value | null = null;
    if (sampler.textTopk > 0) {
      const [rows, textIndices] = g.call(
        textGuidedPooling,
        [tokens, similarity!],
        { topk: [sampler.textTopk], temperature: new FloatAttribute(sampler.temperature) },
        'textGuidedPooling',
      );
      pooled = rows!;
      ctx.stage(stageName(ctx, name, 'kept_text'), textIndices!, [options.images, sampler.textTopk], 'int64');
    }
    ctx.stage(stageName(ctx, name, 'kept_patches'), indices!, [options.images, topk], 'int64');
    ctx.stage(stageName(ctx, name, 'similarity'), similarity!, [options.images, n, positions]);
    if (options.stages) {
      const all = pooled === null ? kept! : g.op('Concat', [pooled, kept!], { axis: 1 }, 'sampler_output');
      ctx.stage(stageName(ctx, name, 'sampler.output'), all, [
        options.images,
        topk + sampler.textTopk,
        vit.width,
      ]);
    }
    return { tokens: kept!, pooled };
  });
}

/** The reference's stage names do not mention the tower for SigLIP; those of a sampler on DINOv2 are marked. */
function stageName(ctx: GraphContext, name: TowerName, stage: string): string {
  return name === 'dinov2' && ctx.config.siglip.sampler !== null ? `dinov2.${stage}` : stage;
}

function publishScores(
  ctx: GraphContext,
  name: TowerName,
  similarity: Value,
  n: number,
  positions: number,
): void {
  const { g, options } = ctx;
  for (const [label, axis, size] of [
    ['patches_scores_sorted', 2, n],
    ['text_scores_sorted', 1, positions],
  ] as const) {
    const scores = g.op('ReduceMean', [similarity, g.ints([axis])], { keepdims: 0 }, `${label}_scores`);
    const [sorted] = g.ops('TopK', [scores, g.ints([size])], { axis: -1 }, `${label}_topk`, [
      'values',
      'order',
    ]);
    ctx.stage(stageName(ctx, name, label), sorted!, [options.images, size]);
  }
}
