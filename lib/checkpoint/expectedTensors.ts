/**
 * Every tensor a policy of a given config is made of, with its shape: what openCheckpoint checks a folder against, what
 * `synth` writes, and the list of names the graph may ask for. Names: policyTensors.ts.
 */

import {
  type HeadConfig,
  isTokenHead,
  type PolicyConfig,
  type TextEncoderConfig,
  type VitConfig,
} from './policyConfig.ts';
import { dinov2Prefix, siglipPrefix } from './policyTensors.ts';

export interface ExpectedTensor {
  readonly shape: readonly number[];
  /** The shape in words, e.g. `[3*width, width]`. */
  readonly words: string;
  /** In a trained checkpoint, but not used by the policy (last norms, attention pooling, lm_head): may be missing. */
  readonly optional: boolean;
}

/** One dimension: its words and its size. */
type Dim = readonly [string, number];
type Add = (name: string, dims: readonly Dim[], optional?: boolean) => void;

const one: Dim = ['1', 1];

export function expectedTensors(config: PolicyConfig): Map<string, ExpectedTensor> {
  const out = new Map<string, ExpectedTensor>();
  const add: Add = (name, dims, optional = false) => {
    out.set(name, {
      shape: dims.map(([, size]) => size),
      words: `[${dims.map(([words]) => words).join(', ')}]`,
      optional,
    });
  };
  const llm: Dim = ['llm width', config.llama.width];
  vit(add, dinov2Prefix, config.dinov2, llm);
  vit(add, siglipPrefix, config.siglip, llm);
  queries(add, 'vision_backbone.vision_queries', config.dinov2);
  queries(add, 'vision_backbone.vision_queries_fused', config.siglip);
  sampler(add, dinov2Prefix, 'featurizer', config.dinov2, llm);
  sampler(add, siglipPrefix, 'fused_featurizer', config.siglip, llm);
  exchange(add, config);
  aggregation(add, config, llm);
  llama(add, config);
  head(add, config, llm);
  if (config.proprioDim !== null) {
    linear(add, 'proprio_projector.fc1', llm, ['proprio', config.proprioDim]);
    linear(add, 'proprio_projector.fc2', llm, llm);
  }
  return out;
}

function linear(add: Add, name: string, outputs: Dim, inputs: Dim, optional = false): void {
  add(`${name}.weight`, [outputs, inputs], optional);
  add(`${name}.bias`, [outputs], optional);
}

function norm(add: Add, name: string, width: Dim, optional = false): void {
  add(`${name}.weight`, [width], optional);
  add(`${name}.bias`, [width], optional);
}

function times(factor: number, [words, size]: Dim): Dim {
  return [`${factor}*${words}`, factor * size];
}

function vit(add: Add, prefix: string, vit: VitConfig, llm: Dim): void {
  const width: Dim = ['width', vit.width];
  const mlp: Dim = ['mlp width', vit.mlpWidth];
  const patch: Dim = ['patch', vit.patchSize];
  const positions: Dim = vit.positionsCoverPrefix
    ? ['prefix + patches', vit.prefixTokens + vit.patches]
    : ['patches', vit.patches];
  if (vit.hasClsToken) add(`${prefix}.cls_token`, [one, one, width]);
  if (vit.registerTokens > 0) add(`${prefix}.reg_token`, [one, ['registers', vit.registerTokens], width]);
  add(`${prefix}.pos_embed`, [one, positions, width]);
  add(`${prefix}.patch_embed.proj.weight`, [width, ['3', 3], patch, patch]);
  add(`${prefix}.patch_embed.proj.bias`, [width]);
  for (let i = 0; i < vit.depth; i++) {
    const block = `${prefix}.blocks.${i}`;
    const isUnused = i > vit.outputBlock;
    norm(add, `${block}.norm1`, width, isUnused);
    linear(add, `${block}.attn.qkv`, times(3, width), width, isUnused);
    linear(add, `${block}.attn.proj`, width, width, isUnused);
    if (vit.hasLayerScale) add(`${block}.ls1.scale_factor`, [width], isUnused);
    norm(add, `${block}.norm2`, width, isUnused);
    linear(add, `${block}.mlp.fc1`, mlp, width, isUnused);
    linear(add, `${block}.mlp.fc2`, width, mlp, isUnused);
    if (vit.hasLayerScale) add(`${block}.ls2.scale_factor`, [width], isUnused);
    if (vit.film) {
      linear(add, `${block}.scale`, width, llm, isUnused);
      linear(add, `${block}.shift`, width, llm, isUnused);
    }
  }
  norm(add, `${prefix}.norm`, width, true);
  if (vit.hasAttentionPool) attentionPool(add, `${prefix}.attn_pool`, width, mlp);
}

/** timm's pooling head of SigLIP; the policy takes patches before it. */
function attentionPool(add: Add, pool: string, width: Dim, mlp: Dim): void {
  add(`${pool}.latent`, [one, one, width], true);
  linear(add, `${pool}.q`, width, width, true);
  linear(add, `${pool}.kv`, times(2, width), width, true);
  linear(add, `${pool}.proj`, width, width, true);
  norm(add, `${pool}.norm`, width, true);
  linear(add, `${pool}.mlp.fc1`, mlp, width, true);
  linear(add, `${pool}.mlp.fc2`, width, mlp, true);
}

function queries(add: Add, name: string, vit: VitConfig): void {
  if (vit.queries > 0) add(name, [one, ['queries', vit.queries], ['width', vit.width]]);
}

function sampler(add: Add, prefix: string, projector: string, vit: VitConfig, llm: Dim): void {
  if (vit.sampler === null) return;
  const width: Dim = ['vision width', vit.width];
  const text = vit.sampler.textEncoder;
  const textWidth: Dim = ['text width', text.width];
  textTower(add, `${prefix}_mm_sampler.text_encoder.text_model`, text);
  linear(add, `${prefix}_mm_sampler.text_post_projector.0`, width, textWidth);
  linear(add, `${prefix}_mm_sampler.text_post_projector.2`, width, width);
  // The reference makes the projector for every sampler, also one without pooled tokens.
  const isUnused = vit.sampler.textTopk === 0;
  linear(add, `${projector}_sampler_proj.fc1`, llm, width, isUnused);
  linear(add, `${projector}_sampler_proj.fc2`, llm, llm, isUnused);
}

function textTower(add: Add, model: string, text: TextEncoderConfig): void {
  const width: Dim = ['text width', text.width];
  const mlp: Dim = ['text mlp width', text.mlpWidth];
  add(`${model}.embeddings.token_embedding.weight`, [['vocabulary', text.vocabSize], width]);
  add(`${model}.embeddings.position_embedding.weight`, [['positions', text.positions], width]);
  for (let i = 0; i < text.layers; i++) {
    const layer = `${model}.encoder.layers.${i}`;
    norm(add, `${layer}.layer_norm1`, width);
    for (const name of ['q_proj', 'k_proj', 'v_proj', 'out_proj'])
      linear(add, `${layer}.self_attn.${name}`, width, width);
    norm(add, `${layer}.layer_norm2`, width);
    linear(add, `${layer}.mlp.fc1`, mlp, width);
    linear(add, `${layer}.mlp.fc2`, width, mlp);
  }
  norm(add, `${model}.final_layer_norm`, width);
  linear(add, `${model}.head`, width, width, true);
}

/** Weights of pair k and tower v are number 2k + v (v: 0 DINOv2, 1 SigLIP). */
function exchange(add: Add, config: PolicyConfig): void {
  const both: Dim = ['both widths', config.dinov2.width + config.siglip.width];
  config.exchangePairs.forEach((_, pair) => {
    for (const [v, vit] of [config.dinov2, config.siglip].entries()) {
      const mlp = `vision_backbone.cross_vit_model.aggregate_proj.${2 * pair + v}`;
      linear(add, `${mlp}.0`, both, both);
      linear(add, `${mlp}.2`, ['width', vit.width], both);
    }
  });
}

function aggregation(add: Add, config: PolicyConfig, llm: Dim): void {
  if (config.aggregation === 'moe') {
    linear(add, 'moe_router.router.0', llm, llm);
    linear(add, 'moe_router.router.2', ['2', 2], llm);
    linear(add, 'featurizer_proj.fc1', llm, ['dinov2 width', config.dinov2.width]);
    linear(add, 'featurizer_proj.fc2', llm, llm);
    linear(add, 'fused_featurizer_proj.fc1', llm, ['siglip width', config.siglip.width]);
    linear(add, 'fused_featurizer_proj.fc2', llm, llm);
    return;
  }
  const both: Dim = ['both widths', config.dinov2.width + config.siglip.width];
  linear(add, 'projector.fc1', times(4, both), both);
  linear(add, 'projector.fc2', llm, times(4, both));
  linear(add, 'projector.fc3', llm, llm);
}

function llama(add: Add, config: PolicyConfig): void {
  const { llama } = config;
  const width: Dim = ['width', llama.width];
  const queryWidth: Dim = ['heads*head dim', llama.heads * llama.headDim];
  const keyWidth: Dim = ['kv heads*head dim', llama.kvHeads * llama.headDim];
  const mlp: Dim = ['mlp width', llama.mlpWidth];
  const vocabulary: Dim = ['vocabulary', llama.vocabSize];
  add('language_model.model.embed_tokens.weight', [vocabulary, width]);
  for (let i = 0; i < llama.layers; i++) {
    const layer = `language_model.model.layers.${i}`;
    add(`${layer}.input_layernorm.weight`, [width]);
    add(`${layer}.self_attn.q_proj.weight`, [queryWidth, width]);
    add(`${layer}.self_attn.k_proj.weight`, [keyWidth, width]);
    add(`${layer}.self_attn.v_proj.weight`, [keyWidth, width]);
    add(`${layer}.self_attn.o_proj.weight`, [width, queryWidth]);
    add(`${layer}.post_attention_layernorm.weight`, [width]);
    add(`${layer}.mlp.gate_proj.weight`, [mlp, width]);
    add(`${layer}.mlp.up_proj.weight`, [mlp, width]);
    add(`${layer}.mlp.down_proj.weight`, [width, mlp]);
  }
  add('language_model.model.norm.weight', [width]);
  add('language_model.lm_head.weight', [vocabulary, width], !isTokenHead(config.head));
}

/** The MLP of a diffusion head. */
export const noisePredictor = 'noise_predictor.mlp_resnet';

/** Names and output widths of the MLPs of an action head, in the order the reference computes them. */
export function headOutputs(head: HeadConfig): readonly (readonly [string, number])[] {
  if (isTokenHead(head)) return [];
  if (head.kind !== 'split') return [[head.kind === 'diffusion' ? noisePredictor : 'model', head.outputs]];
  return [
    ['model_trans', head.translation],
    ['model_rot', head.rotation],
    ['model_grip', head.gripper],
  ];
}

function head(add: Add, config: PolicyConfig, llm: Dim): void {
  const { head } = config;
  if (isTokenHead(head)) return;
  const tokens = config.actionTokensPerStep ?? 0;
  const inputs: Dim = ['action tokens*llm width', tokens * llm[1]];
  const hidden: Dim = ['hidden width', head.hiddenWidth];
  for (const [name, outputs] of headOutputs(head)) {
    const mlp = `action_head.${name}`;
    norm(add, `${mlp}.layer_norm1`, inputs);
    linear(add, `${mlp}.fc1`, hidden, inputs);
    for (let i = 0; i < head.blocks; i++) {
      norm(add, `${mlp}.mlp_resnet_blocks.${i}.ffn.0`, hidden);
      linear(add, `${mlp}.mlp_resnet_blocks.${i}.ffn.1`, hidden, hidden);
    }
    norm(add, `${mlp}.layer_norm2`, hidden);
    linear(add, `${mlp}.fc2`, ['outputs', outputs], hidden);
  }
  if (head.kind === 'diffusion') {
    linear(add, 'noisy_action_projector.fc1', llm, one);
    linear(add, 'noisy_action_projector.fc2', llm, llm);
  }
}
