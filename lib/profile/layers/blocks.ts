/**
 * From a node's name to the policy's own block. Names are paths that lib/graph gives (`siglip/block11/attn/qkv`); a weight
 * that is widened as it is used carries the checkpoint's own name (`language_model.model.layers.3.mlp.up_proj.weight/float32`).
 * Runtimes wrap, join and prefix them; nodeNames.ts gets them back.
 */

export type GraphName = 'instruction' | 'policy';

/** The main parts of a chunk, in the order in which they run. */
export const policyStages = ['instruction', 'vision', 'pruner', 'fuser', 'llm', 'heads', 'other'] as const;
export type PolicyStage = (typeof policyStages)[number];

/** Layers that belong to no block. */
export const otherBlock = 'other';

type Rule = readonly [pattern: RegExp, block: string | ((match: RegExpExecArray) => string)];

const tower = '(dinov2|siglip)';

/** First match wins. `$1` and so on are groups of the pattern. */
const policyRules: readonly Rule[] = [
  [
    new RegExp(`^${tower}/block(\\d+)(?:_run\\d+)?/(?:norm1|attn|ls1|attn_residual|kept)(?:/|$)`),
    '$1 block $2 attention',
  ],
  [new RegExp(`^${tower}/block(\\d+)(?:_run\\d+)?/film`), '$1 block $2 film'],
  [new RegExp(`^${tower}/block(\\d+)(?:_run\\d+)?/(?:mlp|ls2|out)(?:/|$)`), '$1 block $2 mlp'],
  [new RegExp(`^${tower}/embed/`), '$1 embedding'],
  [new RegExp(`^${tower}/(?:final|output_rows)`), '$1 output'],
  [/^patches\//, 'image patches'],
  [/^exchange(\d+)\//, 'fuser exchange $1'],
  [new RegExp(`^${tower}_(?:pruner/|kept_patches$|similarity$)`), 'pruner $1'],
  [/^(?:instructionTopK|textGuidedPooling)(?:_|$)/, 'pruner'],
  [/^channelConcat(?:_|$)/, 'fuser'],
  [new RegExp(`^fuser/${tower}_pooled/`), 'projector pooled $1'],
  [new RegExp(`^fuser/${tower}_expert/`), 'projector $1'],
  [/^fuser\/(?:fc\d|gelu\d?)$/, 'projector'],
  [/^fuser\//, 'fuser'],
  [/^proprio\//, 'proprio projector'],
  [/^sequence$/, 'llama input'],
  [/^llama\/layer(\d+)\/(?:input_norm|attn|attn_residual|window)(?:\/|$)/, 'llama layer $1 attention'],
  [/^llama\/layer(\d+)\/(?:post_norm|mlp|out)(?:\/|$)/, 'llama layer $1 mlp'],
  [/^llama\/(?:norm|window)/, 'llama norm'],
  [/^head\/model_trans\//, 'action head translation'],
  [/^head\/model_rot\//, 'action head rotation'],
  [/^head\/model_grip\//, 'action head gripper'],
  [/^head\/(?:steps|arms\d+|actions)$/, 'coupler'],
  [/^head\//, 'action head'],
  [/^actions(?:_float)?$/, 'coupler'],
  // weights under the checkpoint's names
  [/^vision_backbone\.fused_featurizer\.blocks\.(\d+)\.(?:norm1|attn|ls1)\b/, 'siglip block $1 attention'],
  [/^vision_backbone\.fused_featurizer\.blocks\.(\d+)\./, 'siglip block $1 mlp'],
  [/^vision_backbone\.(?:fused_featurizer\.|vision_queries_fused\b)/, 'siglip embedding'],
  [/^vision_backbone\.featurizer\.blocks\.(\d+)\.(?:norm1|attn|ls1)\b/, 'dinov2 block $1 attention'],
  [/^vision_backbone\.featurizer\.blocks\.(\d+)\./, 'dinov2 block $1 mlp'],
  [/^vision_backbone\.(?:featurizer\.|vision_queries\b)/, 'dinov2 embedding'],
  [
    // two projections an exchange, one a tower
    /^vision_backbone\.cross_vit_model\.aggregate_proj\.(\d+)\./,
    (match) => `fuser exchange ${Math.floor(Number(match[1]) / 2)}`,
  ],
  [/^projector\./, 'projector'],
  [/^featurizer_proj\./, 'projector dinov2'],
  [/^fused_featurizer_proj\./, 'projector siglip'],
  [/^featurizer_sampler_proj\./, 'projector pooled dinov2'],
  [/^fused_featurizer_sampler_proj\./, 'projector pooled siglip'],
  [/^proprio_projector\./, 'proprio projector'],
  [/^language_model\.model\.layers\.(\d+)\.(?:input_layernorm|self_attn)\b/, 'llama layer $1 attention'],
  [/^language_model\.model\.layers\.(\d+)\./, 'llama layer $1 mlp'],
  [/^language_model\.model\.norm\b/, 'llama norm'],
  [/^language_model\.lm_head\b/, 'action head'],
  [/^action_head\.model_trans\./, 'action head translation'],
  [/^action_head\.model_rot\./, 'action head rotation'],
  [/^action_head\.model_grip\./, 'action head gripper'],
  [/^action_head\./, 'action head'],
];

const instructionRules: readonly Rule[] = [
  [new RegExp(`^${tower}_text/layer(\\d+)/(?:mlp/|out$)`), 'instruction: $1 text tower layer $2 mlp'],
  [new RegExp(`^${tower}_text/layer(\\d+)/`), 'instruction: $1 text tower layer $2 attention'],
  [new RegExp(`^${tower}_text/post_projector/`), 'instruction: $1 text projector'],
  [new RegExp(`^${tower}_text(?:/|_tokens$)`), 'instruction: $1 text tower'],
  [/^text(?:\/|_mask$)/, 'instruction: text mask'],
  [/^(?:prompt\/|bos_embedding$|tail_embeddings$)/, 'instruction: prompt embedding'],
  [/^(?:mask\/|attention_bias$|sequence\/)/, 'instruction: attention mask'],
  [/^rotary(?:\/|_cos$|_sin$)/, 'instruction: rotary tables'],
  [new RegExp(`^film[/.]${tower}[/.]block\\d+`), 'instruction: $1 film'],
  [/^(?:e_avg|embeddings_float$)/, 'instruction: prompt mean'],
  [/^(?:router(?:\/|_weights$)|moe_router\.)/, 'instruction: router'],
  [/^vision_backbone\.fused_featurizer_mm_sampler\./, 'instruction: siglip text tower'],
  [/^vision_backbone\.featurizer_mm_sampler\./, 'instruction: dinov2 text tower'],
  [/^vision_backbone\.fused_featurizer\.blocks\.\d+\.(?:scale|shift)\b/, 'instruction: siglip film'],
  [/^vision_backbone\.featurizer\.blocks\.\d+\.(?:scale|shift)\b/, 'instruction: dinov2 film'],
  [/^language_model\.model\.embed_tokens\b/, 'instruction: prompt embedding'],
];

/** A text tower's weights by layer, for the rule that has no room for it. */
const textLayer =
  /^vision_backbone\.(fused_)?featurizer_mm_sampler\.text_encoder\.text_model\.encoder\.layers\.(\d+)\.(self_attn|layer_norm1)?/;

/**
 * @param node name as lib/graph gave it
 * @returns `siglip block 11 attention`, `llama layer 3 mlp`, `pruner siglip`, `action head`,
 *   `instruction: siglip text tower layer 2 mlp`; null for a name that lib/graph does not give
 */
export function blockOf(node: string, graph: GraphName): string | null {
  if (graph === 'instruction') {
    const layer = textLayer.exec(node);
    if (layer !== null) {
      const half = layer[3] === undefined ? 'mlp' : 'attention';
      return `instruction: ${layer[1] === undefined ? 'dinov2' : 'siglip'} text tower layer ${layer[2]} ${half}`;
    }
  }
  for (const [pattern, block] of graph === 'policy' ? policyRules : instructionRules) {
    const match = pattern.exec(node);
    if (match === null) continue;
    if (typeof block === 'function') return block(match);
    return block.replace(/\$(\d)/g, (_, group: string) => match[Number(group)]!);
  }
  return null;
}

const stageRules: readonly (readonly [RegExp, PolicyStage])[] = [
  [/^instruction: /, 'instruction'],
  [/^(?:dinov2|siglip|image) /, 'vision'],
  [/^fuser exchange /, 'vision'],
  [/^pruner/, 'pruner'],
  [/^(?:fuser|projector|proprio)/, 'fuser'],
  [/^llama /, 'llm'],
  [/^(?:action head|coupler)/, 'heads'],
];

/** The stage of a block. The dense exchange of the SH-Fuser runs between the blocks of the towers and counts as vision. */
export function stageOfBlock(block: string): PolicyStage {
  return stageRules.find(([pattern]) => pattern.test(block))?.[1] ?? 'other';
}

/** `siglip block 11 attention` -> `siglip block 11`; other blocks stay as they are. */
export function wholeBlock(block: string): string {
  return block.replace(/ (?:attention|mlp|film)$/, '');
}
