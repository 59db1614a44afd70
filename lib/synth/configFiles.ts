/**
 * The JSON files of a policy, with the keys that training writes. As in real files, a size is left out if it equals the default
 * of the library that reads it (transformers' LlamaConfig and SiglipTextConfig, timm's model of that name);
 * `timm_override_args` appears only if a tower differs from its timm model.
 */

import type { SynthSpec, SynthText, SynthVit } from './presets.ts';
import { synthPresets } from './presets.ts';
import { datasetEntry } from './statistics.ts';

/** Defaults of transformers 4.40 LlamaConfig. */
const llamaDefaults = {
  hidden_size: 4096,
  intermediate_size: 11008,
  num_attention_heads: 32,
  num_hidden_layers: 32,
  max_position_embeddings: 2048,
};

/** Defaults of transformers 4.40 SiglipTextConfig. */
const siglipTextDefaults = {
  hidden_size: 768,
  intermediate_size: 3072,
  num_attention_heads: 12,
  num_hidden_layers: 12,
  vocab_size: 32000,
  max_position_embeddings: 64,
};

function withoutDefaults(
  values: Record<string, number>,
  defaults: Record<string, number>,
): Record<string, number> {
  return Object.fromEntries(Object.entries(values).filter(([key, value]) => defaults[key] !== value));
}

function textConfig({ llama }: SynthSpec): object {
  const sizes = {
    hidden_size: llama.width,
    intermediate_size: llama.mlpWidth,
    num_attention_heads: llama.heads,
    num_hidden_layers: llama.layers,
    max_position_embeddings: llama.maxPositions,
  };
  return {
    ...withoutDefaults(sizes, llamaDefaults),
    ...(llama.kvHeads === llama.heads && llama.heads === llamaDefaults.num_attention_heads
      ? {}
      : { num_key_value_heads: llama.kvHeads }),
    model_type: 'llama',
    pad_token_id: 32000,
    torch_dtype: 'bfloat16',
    vocab_size: llama.vocabSize,
  };
}

/** The full-size towers are unmodified timm models. */
function timmOverrides({ dinov2, siglip }: SynthSpec): object {
  const { libero } = synthPresets;
  const same = (a: SynthVit, b: SynthVit) =>
    a.width === b.width && a.depth === b.depth && a.heads === b.heads;
  if (same(dinov2, libero.dinov2) && same(siglip, libero.siglip)) return {};
  const args = (vit: SynthVit) => ({ depth: vit.depth, embed_dim: vit.width, num_heads: vit.heads });
  return { timm_override_args: [args(dinov2), args(siglip)] };
}

function pruningConfig({ dinov2, siglip, pruning, actionTokens, head }: SynthSpec): object {
  if (pruning === null) return {};
  return {
    action_token_type: 'empty',
    cross_vit_target_pairs: pruning.exchangePairs.length > 0 ? pruning.exchangePairs : null,
    cross_vit_type: 'default',
    enable_cross_vit_interact: pruning.exchangePairs.length > 0,
    featurizer_cfg: {
      freeze: false,
      num_vision_queries: pruning.queries,
      text_encoder_path: null,
      text_topk: -1,
      use_film: dinov2.film,
      use_mm_sampler: false,
      use_reg: true,
      vision_topk: -1,
    },
    fused_featurizer_cfg: {
      freeze: false,
      num_vision_queries: -1,
      text_encoder_path: pruning.text.folder,
      text_topk: pruning.textTopk,
      use_film: siglip.film,
      use_mm_sampler: true,
      use_reg: false,
      vision_topk: pruning.visionTopk,
    },
    // diffusion takes a token a dimension, which -1 says
    num_action_tokens: head === 'diffusion' ? -1 : actionTokens,
    vision_aggregate_type: pruning.aggregation,
  };
}

/** `config.json`. Its `norm_stats` are those of the pre-trained model, which dataset_statistics.json supersedes. */
export function policyConfigJson(spec: SynthSpec, seed: number): object {
  const config: Record<string, unknown> = {
    arch_specifier: 'no-align+fused-gelu-mlp',
    architectures: ['OpenVLAForActionPrediction'],
    auto_map: {
      AutoConfig: 'configuration_prismatic.OpenVLAConfig',
      AutoModelForVision2Seq: 'modeling_prismatic.OpenVLAForActionPrediction',
    },
    hf_llm_id: 'meta-llama/Llama-2-7b-hf',
    image_resize_strategy: 'resize-naive',
    image_sizes: [spec.imageSize, spec.imageSize],
    llm_backbone_id: 'llama2-7b-pure',
    llm_max_length: spec.llama.maxPositions,
    model_type: 'openvla',
    n_action_bins: 256,
    norm_stats: { [spec.datasetKey]: datasetEntry(seed, 'pre-training', spec.actionDim, spec.proprioDim) },
    output_projector_states: false,
    pad_to_multiple_of: 64,
    pad_token_id: 32000,
    text_config: textConfig(spec),
    timm_model_ids: [spec.dinov2.timmName, spec.siglip.timmName],
    timm_override_act_layers: [null, null],
    torch_dtype: 'bfloat16',
    transformers_version: '4.40.1',
    use_fused_vision_backbone: true,
    vision_backbone_id: 'dinosiglip-vit-so-224px',
    ...timmOverrides(spec),
    ...pruningConfig(spec),
  };
  return Object.fromEntries(Object.entries(config).sort(([a], [b]) => (a < b ? -1 : 1)));
}

export function datasetStatisticsJson(spec: SynthSpec, seed: number): object {
  return { [spec.datasetKey]: datasetEntry(seed, 'training', spec.actionDim, spec.proprioDim) };
}

/** `preprocessor_config.json`; DINOv2's means and stds are rounded to bf16, as in most trained checkpoints. */
export function preprocessorJson({ imageSize }: SynthSpec): object {
  const means = [
    [0.484375, 0.455078125, 0.40625],
    [0.5, 0.5, 0.5],
  ];
  const stds = [
    [0.228515625, 0.2236328125, 0.224609375],
    [0.5, 0.5, 0.5],
  ];
  const size = [imageSize, imageSize];
  return {
    auto_map: {
      AutoImageProcessor: 'processing_prismatic.PrismaticImageProcessor',
      AutoProcessor: 'processing_prismatic.PrismaticProcessor',
    },
    image_processor_type: 'PrismaticImageProcessor',
    image_resize_strategy: 'resize-naive',
    input_sizes: [
      [3, ...size],
      [3, ...size],
    ],
    interpolations: ['bicubic', 'bicubic'],
    means,
    stds,
    processor_class: 'PrismaticProcessor',
    tvf_crop_params: [{ output_size: size }, { output_size: size }],
    tvf_do_letterbox: false,
    tvf_letterbox_fill: null,
    tvf_normalize_params: means.map((mean, i) => ({ inplace: false, mean, std: stds[i] })),
    tvf_resize_params: means.map(() => ({ antialias: true, interpolation: 3, max_size: null, size })),
    use_fused_vision_backbone: true,
  };
}

/** `lora_adapter/adapter_config.json`. */
export function adapterConfigJson({ lora, pruning }: SynthSpec): object {
  return {
    alpha_pattern: {},
    auto_mapping: {
      base_model_class: 'OpenVLAForActionPrediction',
      parent_library: 'prismatic.extern.hf.modeling_prismatic',
    },
    base_model_name_or_path: 'openvla-7b',
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: 'gaussian',
    layer_replication: null,
    layers_pattern: null,
    layers_to_transform: null,
    loftq_config: {},
    lora_alpha: lora.alpha,
    lora_dropout: 0,
    megatron_config: null,
    megatron_core: 'megatron.core',
    modules_to_save: null,
    peft_type: 'LORA',
    r: lora.rank,
    rank_pattern: {},
    revision: null,
    target_modules: [
      ...['q', 'kv', 'qkv', 'proj', 'fc1', 'fc2', 'q_proj', 'k_proj', 'v_proj', 'o_proj'],
      ...['gate_proj', 'up_proj', 'down_proj', 'lm_head', ...(pruning === null ? ['fc3'] : [])],
    ],
    task_type: null,
    use_dora: false,
    use_rslora: false,
  };
}

/** `config.json` of the SigLIP text folder. */
export function siglipTextConfigJson(text: SynthText): object {
  const sizes = {
    hidden_size: text.width,
    intermediate_size: text.mlpWidth,
    num_attention_heads: text.heads,
    num_hidden_layers: text.layers,
    vocab_size: text.vocabSize,
    max_position_embeddings: text.positions,
  };
  return {
    architectures: ['SiglipModel'],
    model_type: 'siglip',
    text_config: { ...withoutDefaults(sizes, siglipTextDefaults), model_type: 'siglip_text_model' },
    torch_dtype: 'float32',
    transformers_version: '4.37.0.dev0',
  };
}
