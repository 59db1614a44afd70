/** Which part of the policy a tensor belongs to, and whether the policy reads it at all. */

import { isTokenHead, type PolicyConfig } from '../checkpoint/policyConfig.ts';

/** In the order that `inspect` prints them. */
export const partNames = [
  'DINOv2',
  'SigLIP',
  'FiLM',
  'visual queries',
  'SigLIP text tower',
  'exchange',
  'projectors',
  'LLM layers',
  'LLM embeddings',
  'LLM output head',
  'action head',
  'proprio projector',
  'noisy action projector',
  'unused',
] as const;

export type PartName = (typeof partNames)[number];

/** Parameters and bytes of one part of the policy. */
export interface PartSize {
  readonly part: PartName;
  readonly parameters: number;
  readonly bytes: number;
}

const patterns: readonly (readonly [RegExp, PartName])[] = [
  [/_mm_sampler\./, 'SigLIP text tower'],
  [/^vision_backbone\.vision_queries/, 'visual queries'],
  [/^vision_backbone\.cross_vit_model\./, 'exchange'],
  [/\.blocks\.\d+\.(scale|shift)\./, 'FiLM'],
  [/^vision_backbone\.featurizer\./, 'DINOv2'],
  [/^vision_backbone\.fused_featurizer\./, 'SigLIP'],
  [/^language_model\.lm_head\./, 'LLM output head'],
  [/^language_model\.model\.embed_tokens\./, 'LLM embeddings'],
  [/^language_model\./, 'LLM layers'],
  [/^action_head\./, 'action head'],
  [/^proprio_projector\./, 'proprio projector'],
  [/^noisy_action_projector\./, 'noisy action projector'],
  [/^(projector|featurizer_proj|fused_featurizer_proj|moe_router|\w+_sampler_proj)\./, 'projectors'],
];

/** Present in every checkpoint, but read by no policy: pooling heads, final norms of the ViTs, blocks after the output. */
function isUnused(name: string, config: PolicyConfig): boolean {
  if (/^vision_backbone\.(fused_)?featurizer\.(norm|attn_pool|fc_norm)\./.test(name)) return true;
  if (/\.text_encoder\.(text_model\.)?head\./.test(name)) return true;
  if (/^language_model\.lm_head\./.test(name)) return !isTokenHead(config.head);
  const block = /^vision_backbone\.(fused_)?featurizer\.blocks\.(\d+)\./.exec(name);
  if (block === null) return false;
  const tower = block[1] === undefined ? config.dinov2 : config.siglip;
  return Number(block[2]) > tower.outputBlock;
}

/** The part of the policy that the canonical tensor `name` belongs to. */
export function partOf(name: string, config: PolicyConfig): PartName {
  if (isUnused(name, config)) return 'unused';
  return patterns.find(([pattern]) => pattern.test(name))?.[1] ?? 'unused';
}
