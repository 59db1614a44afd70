/** All tensors of a policy by file, in the order of the modules that saved them (docs/model.md, Checkpoint on disk). */

import { noisePredictor } from '../checkpoint/expectedTensors.ts';
import { linear, norm, normal } from './layers.ts';
import type { SynthLlama, SynthSpec, SynthText } from './presets.ts';
import type { PlannedTensor } from './tensorPlan.ts';
import { vitTensors } from './vitTensors.ts';

export interface PolicyPlan {
  /** bf16, LoRA merged; if there is a `visionBackbone`, the vision towers as they were before training. */
  readonly shards: readonly PlannedTensor[];
  /** `vision_backbone--<step>_checkpoint.pt`; null for a policy without FiLM, queries and sampler. */
  readonly visionBackbone: readonly PlannedTensor[] | null;
  /** null: actions are tokens of the language model. */
  readonly actionHead: readonly PlannedTensor[] | null;
  /** null: without proprioception. */
  readonly proprioProjector: readonly PlannedTensor[] | null;
  /** Of a diffusion policy. */
  readonly noisyActionProjector: readonly PlannedTensor[] | null;
}

const featurizer = 'vision_backbone.featurizer';
const fusedFeaturizer = 'vision_backbone.fused_featurizer';

export function planPolicy(spec: SynthSpec): PolicyPlan {
  return {
    shards: shardTensors(spec),
    visionBackbone: visionBackboneTensors(spec),
    actionHead: actionHeadTensors(spec),
    proprioProjector: proprioTensors(spec),
    noisyActionProjector: spec.head === 'diffusion' ? projectorTensors(1, spec.llama.width) : null,
  };
}

function shardTensors(spec: SynthSpec): PlannedTensor[] {
  const { dinov2, siglip, llama, pruning } = spec;
  const d = llama.width;
  const visionWidth = dinov2.width + siglip.width;
  const out = [
    ...vitTensors(featurizer, dinov2, spec, { wrapped: null }),
    ...vitTensors(fusedFeaturizer, siglip, spec, { wrapped: null }),
  ];
  if (pruning?.aggregation === 'moe')
    out.push(
      ...linear('moe_router.router.0', { shape: [d, d] }),
      ...linear('moe_router.router.2', { shape: [2, d] }),
      ...projector2('featurizer_proj', dinov2.width, d),
      ...projector2('fused_featurizer_proj', siglip.width, d),
    );
  else
    out.push(
      ...linear('projector.fc1', { shape: [4 * visionWidth, visionWidth] }),
      ...linear('projector.fc2', { shape: [d, 4 * visionWidth] }),
      ...linear('projector.fc3', { shape: [d, d] }),
    );
  if (pruning !== null) out.push(...projector2('fused_featurizer_sampler_proj', siglip.width, d));
  return [...out, ...llamaTensors(llama)];
}

/** width -> D -> D */
function projector2(name: string, width: number, d: number): PlannedTensor[] {
  return [...linear(`${name}.fc1`, { shape: [d, width] }), ...linear(`${name}.fc2`, { shape: [d, d] })];
}

function llamaTensors(llama: SynthLlama): PlannedTensor[] {
  const { width, layers, heads, kvHeads, mlpWidth, vocabSize } = llama;
  const kvWidth = (width / heads) * kvHeads;
  const residual = 1 / Math.sqrt(2 * layers);
  const model = 'language_model.model';
  const out = [normal(`${model}.embed_tokens.weight`, [vocabSize, width], 0.02)];
  for (let i = 0; i < layers; i += 1) {
    const layer = `${model}.layers.${i}`;
    const dense = (name: string, rows: number, columns: number, gain = 1) =>
      linear(`${layer}.${name}`, { shape: [rows, columns], gain, bias: false });
    out.push(
      ...dense('self_attn.q_proj', width, width),
      ...dense('self_attn.k_proj', kvWidth, width),
      ...dense('self_attn.v_proj', kvWidth, width),
      ...dense('self_attn.o_proj', width, width, residual),
      ...dense('mlp.gate_proj', mlpWidth, width),
      ...dense('mlp.up_proj', mlpWidth, width),
      ...dense('mlp.down_proj', width, mlpWidth, residual),
      normal(`${layer}.input_layernorm.weight`, [width], 0.05, 1),
      normal(`${layer}.post_attention_layernorm.weight`, [width], 0.05, 1),
    );
  }
  out.push(normal(`${model}.norm.weight`, [width], 0.05, 1));
  out.push(...linear('language_model.lm_head', { shape: [vocabSize, width], bias: false }));
  return out;
}

function visionBackboneTensors(spec: SynthSpec): PlannedTensor[] | null {
  const { dinov2, siglip, pruning, lora, llama } = spec;
  if (pruning === null && !dinov2.film && !siglip.film) return null;
  // OFT+ selects its LoRA targets by the last component of their name, and `proj` also matches the patch convolution.
  const wrapped = { lora, splitPatchEmbed: pruning === null, languageWidth: llama.width };
  const towers = [
    ...vitTensors(featurizer, dinov2, spec, { wrapped }),
    ...vitTensors(fusedFeaturizer, siglip, spec, { wrapped }),
  ];
  if (pruning === null) return towers;
  const { queries, exchangePairs, text } = pruning;
  const sampler = 'fused_featurizer_mm_sampler';
  const visionWidth = dinov2.width + siglip.width;
  return [
    { ...normal('vision_queries', [1, queries, dinov2.width], 1), dtype: 'F32' },
    ...towers,
    ...textTensors(`${sampler}.text_encoder.text_model`, text),
    ...linear(`${sampler}.text_post_projector.0`, { shape: [siglip.width, text.width], dtype: 'F32' }),
    ...linear(`${sampler}.text_post_projector.2`, {
      shape: [siglip.width, siglip.width],
      dtype: 'F32',
      gain: 2,
    }),
    ...exchangePairs.flatMap((_, pair) =>
      [dinov2.width, siglip.width].flatMap((width, vit) => {
        const mlp = `cross_vit_model.aggregate_proj.${2 * pair + vit}`;
        return [
          ...linear(`${mlp}.0`, { shape: [visionWidth, visionWidth], dtype: 'F32' }),
          ...linear(`${mlp}.2`, { shape: [width, visionWidth], dtype: 'F32' }),
        ];
      }),
    ),
  ];
}

/** SigLIP text tower, float32, including the unused `head`. */
function textTensors(prefix: string, text: SynthText): PlannedTensor[] {
  const { width, layers, mlpWidth, vocabSize, positions } = text;
  const residual = 1 / Math.sqrt(layers);
  const float = (tensor: PlannedTensor): PlannedTensor => ({ ...tensor, dtype: 'F32' });
  const dense = (name: string, rows: number, columns: number, gain = 1) =>
    linear(`${prefix}.${name}`, { shape: [rows, columns], gain, dtype: 'F32' });
  const out = [
    float(normal(`${prefix}.embeddings.token_embedding.weight`, [vocabSize, width], 1)),
    float(normal(`${prefix}.embeddings.position_embedding.weight`, [positions, width], 0.5)),
  ];
  for (let i = 0; i < layers; i += 1) {
    const layer = `encoder.layers.${i}`;
    out.push(
      ...dense(`${layer}.self_attn.k_proj`, width, width),
      ...dense(`${layer}.self_attn.v_proj`, width, width),
      ...dense(`${layer}.self_attn.q_proj`, width, width),
      ...dense(`${layer}.self_attn.out_proj`, width, width, residual),
      ...norm(`${prefix}.${layer}.layer_norm1`, width, 'F32'),
      ...dense(`${layer}.mlp.fc1`, mlpWidth, width),
      ...dense(`${layer}.mlp.fc2`, width, mlpWidth, residual),
      ...norm(`${prefix}.${layer}.layer_norm2`, width, 'F32'),
    );
  }
  return [...out, ...norm(`${prefix}.final_layer_norm`, width, 'F32'), ...dense('head', width, width)];
}

/**
 * One head (`model`) for all action dimensions, or three for translation, rotation and gripper of each arm (docs/model.md,
 * SA-Coupler).
 */
function actionHeadTensors(spec: SynthSpec): PlannedTensor[] | null {
  const { actionDim, actionTokens, llama, head } = spec;
  if (head === 'discrete' || head === 'autoregressive') return null;
  if (head === 'diffusion')
    return mlpResNet(`module.${noisePredictor}`, actionDim * llama.width, llama.width, actionDim);
  if (spec.family !== 'semanticvla')
    return mlpResNet('module.model', actionTokens * llama.width, llama.width, actionDim);
  const arms = actionDim / 7;
  return (
    [
      ['trans', 3],
      ['rot', 3],
      ['grip', 1],
    ] as const
  ).flatMap(([part, n]) =>
    mlpResNet(`module.model_${part}`, actionTokens * llama.width, llama.width, n * arms),
  );
}

function mlpResNet(name: string, input: number, hidden: number, outputs: number): PlannedTensor[] {
  return [
    ...norm(`${name}.layer_norm1`, input),
    ...linear(`${name}.fc1`, { shape: [hidden, input] }),
    ...[0, 1].flatMap((i) => [
      ...norm(`${name}.mlp_resnet_blocks.${i}.ffn.0`, hidden),
      ...linear(`${name}.mlp_resnet_blocks.${i}.ffn.1`, { shape: [hidden, hidden] }),
    ]),
    ...norm(`${name}.layer_norm2`, hidden),
    ...linear(`${name}.fc2`, { shape: [outputs, hidden], gain: 0.5 }),
  ];
}

function proprioTensors({ proprioDim, llama }: SynthSpec): PlannedTensor[] | null {
  return proprioDim === 0 ? null : projectorTensors(proprioDim, llama.width);
}

function projectorTensors(inputs: number, width: number): PlannedTensor[] {
  return [
    ...linear('module.fc1', { shape: [width, inputs], dtype: 'F32' }),
    ...linear('module.fc2', { shape: [width, width], dtype: 'F32' }),
  ];
}
