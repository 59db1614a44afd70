/** Checkpoints whose config.json is broken, of another model, or does not fit the weights. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import { at, type Json } from './editCheckpoint.ts';
import { config, type Refusal, remove, requireRefused, set, text, tower } from './refusals.ts';

const test = suite('refused configs');

const refusals: readonly Refusal[] = [
  ['no config.json', remove('config.json'), 'CHECKPOINT_NOT_A_POLICY', /config\.json/],
  ['broken config.json', (dir) => writeFileSync(join(dir, 'config.json'), '{'), 'CONFIG_INVALID', /JSON/],
  [
    'repeated key',
    (dir) => writeFileSync(join(dir, 'config.json'), '{"model_type":"openvla","model_type":"x"}'),
    'CONFIG_INVALID',
    /second time/,
  ],
  [
    'the other SemanticVLA',
    set({ model_type: 'qwen2_5_vl', architectures: ['Qwen2_5_VLForConditionalGeneration'] }),
    'CHECKPOINT_NOT_A_POLICY',
    /Qwen2\.5-VL.*flow head/,
  ],
  ['a Prismatic model', set({ model_type: 'prismatic' }), 'CHECKPOINT_NOT_A_POLICY', /before it was trained/],
  ['a Llama', set({ model_type: 'llama' }), 'CHECKPOINT_NOT_A_POLICY', /"llama"/],
  [
    'inherited property as model_type',
    set({ model_type: 'constructor' }),
    'CHECKPOINT_NOT_A_POLICY',
    /not a SemanticVLA/,
  ],
  ['one tower', set({ use_fused_vision_backbone: false }), 'CONFIG_UNSUPPORTED', /use_fused_vision_backbone/],
  [
    'CLIP tower',
    set({ timm_model_ids: ['vit_large_patch14_reg4_dinov2.lvd142m', 'vit_large_patch14_clip_336.openai'] }),
    'CONFIG_UNSUPPORTED',
    /clip_336/,
  ],
  [
    'towers swapped',
    set({ timm_model_ids: ['vit_so400m_patch14_siglip_224', 'vit_large_patch14_reg4_dinov2.lvd142m'] }),
    'CONFIG_UNSUPPORTED',
    /timm_model_ids\[0\]/,
  ],
  ['quick_gelu', set({ timm_override_act_layers: [null, 'quick_gelu'] }), 'CONFIG_UNSUPPORTED', /quick_gelu/],
  [
    'override of the activation',
    config((value) => void Object.assign((value.timm_override_args as Json[])[0]!, { act_layer: 'silu' })),
    'CONFIG_UNSUPPORTED',
    /act_layer/,
  ],
  ['no override, so no heads', set({ timm_override_args: null }), 'CONFIG_INVALID', /48 wide.*1024/],
  [
    'heads that do not divide',
    set({ timm_override_args: [{ depth: 4, embed_dim: 48, num_heads: 5 }, null] }),
    'CONFIG_INVALID',
    /divisible/,
  ],
  [
    'depth too large',
    set({
      timm_override_args: [
        { depth: 6, embed_dim: 48, num_heads: 4 },
        { depth: 5, embed_dim: 72, num_heads: 2 },
      ],
    }),
    'TENSOR_MISSING',
    /blocks\.4/,
  ],
  [
    'depth too small',
    set({
      timm_override_args: [
        { depth: 4, embed_dim: 48, num_heads: 4 },
        { depth: 4, embed_dim: 72, num_heads: 2 },
      ],
    }),
    'TENSOR_UNEXPECTED',
    /blocks\.4/,
  ],
  [
    'exchange before the first block',
    set({
      cross_vit_target_pairs: [
        [1, 1],
        [-6, -2],
      ],
    }),
    'CONFIG_INVALID',
    /dinov2 has no block -5/,
  ],
  [
    'exchange past the depth',
    set({
      cross_vit_target_pairs: [
        [0, 1],
        [4, 3],
      ],
    }),
    'CONFIG_INVALID',
    /dinov2 has no block 4/,
  ],
  ['exchange at half a block', set({ cross_vit_target_pairs: [[0.5, 1]] }), 'CONFIG_INVALID', /pairs/],
  ['exchange pairs in words', set({ cross_vit_target_pairs: 'default' }), 'CONFIG_INVALID', /a list/],
  ['aggregation null', set({ vision_aggregate_type: null }), 'CONFIG_INVALID', /fails on null/],
  ['action tokens null', set({ num_action_tokens: null }), 'CONFIG_INVALID', /fails on null/],
  [
    'one tower by name',
    set({ use_fused_vision_backbone: null, vision_backbone_id: 'siglip-vit-so400m' }),
    'CONFIG_UNSUPPORTED',
    /use_fused_vision_backbone/,
  ],
  ['exchange pair of three', set({ cross_vit_target_pairs: [[0, 1, 2]] }), 'CONFIG_INVALID', /pairs/],
  ['exchange type', set({ cross_vit_type: 'attention' }), 'CONFIG_UNSUPPORTED', /cross_vit_type/],
  [
    'exchange disabled, weights there',
    set({ enable_cross_vit_interact: false }),
    'TENSOR_UNEXPECTED',
    /cross_vit_model/,
  ],
  [
    'a third pair without weights',
    set({
      cross_vit_target_pairs: [
        [0, 1],
        [1, 2],
        [2, 3],
      ],
    }),
    'TENSOR_MISSING',
    /aggregate_proj\.4/,
  ],
  ['unknown aggregation', set({ vision_aggregate_type: 'sum' }), 'CONFIG_UNSUPPORTED', /"sum"/],
  ['moe without its weights', set({ vision_aggregate_type: 'moe' }), 'TENSOR_MISSING', /moe_router/],
  ['action tokens of another head', set({ num_action_tokens: 4 }), 'TENSOR_SHAPE', /num_action_tokens/],
  [
    'action tokens of -1 with a head of 3',
    set({ num_action_tokens: -1 }),
    'TENSOR_SHAPE',
    /7 action dimensions/,
  ],
  ['action tokens of 0', set({ num_action_tokens: 0 }), 'CONFIG_INVALID', /num_action_tokens/],
  [
    'another number of queries',
    tower('featurizer_cfg', { num_vision_queries: 16 }),
    'CONFIG_INVALID',
    /same number of tokens/,
  ],
  [
    'queries and top-k differ from the weights',
    config((value) => {
      at(value, 'featurizer_cfg').num_vision_queries = 16;
      at(value, 'fused_featurizer_cfg').vision_topk = 16;
      return undefined;
    }),
    'TENSOR_SHAPE',
    /vision_queries.*queries, width\] = \[1, 16, 48\], found \[1, 32, 48\]/,
  ],
  [
    'top-k past the patches',
    tower('fused_featurizer_cfg', { vision_topk: 257 }),
    'CONFIG_INVALID',
    /vision_topk/,
  ],
  ['top-k of 0', tower('fused_featurizer_cfg', { vision_topk: 0 }), 'CONFIG_INVALID', /vision_topk/],
  [
    'text top-k past the text',
    tower('fused_featurizer_cfg', { text_topk: 65 }),
    'CONFIG_INVALID',
    /text_topk/,
  ],
  [
    'text top-k of -1',
    tower('fused_featurizer_cfg', { text_topk: -1 }),
    'CONFIG_INVALID',
    /Write 0 for no pooled tokens/,
  ],
  ['patch top-k of -1', tower('fused_featurizer_cfg', { vision_topk: -1 }), 'CONFIG_INVALID', /vision_topk/],
  ['temperature null', tower('fused_featurizer_cfg', { temp: null }), 'CONFIG_INVALID', /temp/],
  ['temperature of 0', tower('fused_featurizer_cfg', { temp: 0 }), 'CONFIG_INVALID', /temp/],
  ['FiLM off, weights there', tower('featurizer_cfg', { use_film: false }), 'TENSOR_UNEXPECTED', /scale/],
  [
    'FiLM on, weights missing',
    tower('fused_featurizer_cfg', { use_film: true }),
    'TENSOR_MISSING',
    /fused_featurizer\.blocks\.0\.scale/,
  ],
  [
    'sampler off, weights there',
    tower('fused_featurizer_cfg', { use_mm_sampler: false, use_reg: true, num_vision_queries: 32 }),
    'TENSOR_MISSING',
    /vision_queries_fused/,
  ],
  [
    'sampler without a text encoder',
    tower('fused_featurizer_cfg', { text_encoder_path: null }),
    'CONFIG_INVALID',
    /text_encoder_path/,
  ],
  [
    'scaled rotary embedding',
    text({ rope_scaling: { type: 'linear', factor: 2 } }),
    'CONFIG_UNSUPPORTED',
    /rope_scaling/,
  ],
  ['a Mistral', text({ model_type: 'mistral' }), 'CONFIG_UNSUPPORTED', /mistral/],
  ['another activation', text({ hidden_act: 'gelu' }), 'CONFIG_UNSUPPORTED', /hidden_act/],
  ['biases in attention', text({ attention_bias: true }), 'CONFIG_UNSUPPORTED', /attention_bias/],
  [
    'odd head size',
    text({ num_attention_heads: 8, num_key_value_heads: 8 }),
    'CONFIG_INVALID',
    /even head size/,
  ],
  ['kv heads that do not divide', text({ num_key_value_heads: 3 }), 'CONFIG_INVALID', /num_key_value_heads/],
  ['fewer layers', text({ num_hidden_layers: 2 }), 'TENSOR_UNEXPECTED', /layers\.2/],
  ['more layers', text({ num_hidden_layers: 4 }), 'TENSOR_MISSING', /layers\.3/],
  [
    'another MLP width',
    text({ intermediate_size: 145 }),
    'TENSOR_SHAPE',
    /\[mlp width, width\] = \[145, 56\], found \[144, 56\]/,
  ],
  ['another image size', set({ image_sizes: [384, 384] }), 'CONFIG_INVALID', /image_sizes/],
  ['two image sizes', set({ image_sizes: [224, 384] }), 'CONFIG_UNSUPPORTED', /image_sizes/],
];

test(`${refusals.length} folders are refused by name`, () => requireRefused(refusals));

test.run();
