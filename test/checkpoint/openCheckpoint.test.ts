/** Opening whole checkpoints: the goldens, every variant that `synth` writes, and folders that must be refused. */

import { chmodSync, cpSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { expectedTensors } from '../../lib/checkpoint/expectedTensors.ts';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { verifyTensors } from '../../lib/checkpoint/verifyTensors.ts';
import type { SynthOverrides } from '../../lib/synth/overrides.ts';
import type { SynthPreset } from '../../lib/synth/presets.ts';
import { synthesizeCheckpoint } from '../../lib/synth/synthesize.ts';
import { goldenCheckpoint, goldenCopy, scratchFolder } from '../helpers/golden.ts';
import { at, editArchive, editJson, errorOf, fileNamed, filled, type Json } from './editCheckpoint.ts';

const test = suite('openCheckpoint');

test('libero-tiny: config from files and shapes', async () => {
  const { config, tokenizers, statistics, pixelNormalization, sources } = await openCheckpoint(
    goldenCheckpoint('libero-tiny'),
  );
  assert.is(config.family, 'semanticvla');
  assert.is(config.variant, 'SemanticVLA');
  assert.is(config.imageSize, 224);
  const { dinov2, siglip } = config;
  assert.equal(
    [dinov2.width, dinov2.depth, dinov2.heads, dinov2.mlpWidth, dinov2.patches],
    [48, 4, 4, 192, 256],
  );
  assert.equal(
    [dinov2.prefixTokens, dinov2.registerTokens, dinov2.hasClsToken, dinov2.hasLayerScale],
    [5, 4, true, true],
  );
  assert.equal([dinov2.film, dinov2.queries, dinov2.sampler, dinov2.outputBlock], [true, 32, null, 3]);
  assert.equal(
    [siglip.width, siglip.depth, siglip.heads, siglip.mlpWidth, siglip.prefixTokens],
    [72, 5, 2, 269, 0],
  );
  assert.equal([siglip.film, siglip.queries, siglip.hasLayerScale, siglip.outputBlock], [false, 0, false, 4]);
  const { textEncoder, ...sampler } = siglip.sampler!;
  assert.equal(sampler, { visionTopk: 32, textTopk: 5, temperature: 1 });
  assert.equal(
    [textEncoder.width, textEncoder.layers, textEncoder.heads, textEncoder.mlpWidth, textEncoder.vocabSize],
    [72, 2, 4, 112, 304],
  );
  assert.equal(config.exchangePairs, [
    [0, 1],
    [2, 3],
  ]);
  assert.equal(config.llama, {
    width: 56,
    layers: 3,
    heads: 4,
    kvHeads: 4,
    headDim: 14,
    mlpWidth: 144,
    vocabSize: 32064,
    rmsNormEps: 1e-6,
    ropeTheta: 10000,
    maxPositions: 2048,
  });
  assert.equal(config.head, {
    kind: 'split',
    hiddenWidth: 56,
    blocks: 2,
    translation: 3,
    rotation: 3,
    gripper: 1,
    bimanual: false,
  });
  assert.equal(
    [config.actionTokensPerStep, config.actionDim, config.proprioDim, config.aggregation],
    [3, 7, 8, 'concat'],
  );
  assert.match(tokenizers.llamaJson!, /tokenizer\.json$/);
  assert.match(tokenizers.siglipModel!, /spiece\.model$/);
  assert.equal(pixelNormalization.dinov2.mean, [0.484375, 0.455078125, 0.40625]);
  assert.equal(pixelNormalization.siglip.std, [0.5, 0.5, 0.5]);
  // The decoys of config.json (norm_stats) are other numbers.
  assert.match(sources.statistics, /dataset_statistics\.json$/);
  assert.is(statistics.size, 2);
  assert.is(statistics.get('libero_spatial_no_noops')!.action.mask.length, 7);
  assert.is(statistics.get('libero_spatial_no_noops')!.proprio!.mask[7], true);
});

test('aloha-tiny: two arms, three cameras worth of tokens', async () => {
  const { config, tensors } = await openCheckpoint(goldenCheckpoint('aloha-tiny'));
  assert.equal([config.actionTokensPerStep, config.actionDim, config.proprioDim], [6, 14, 14]);
  assert.is(config.head.kind === 'split' && config.head.bimanual, true);
  assert.not(tensors.has('language_model.lm_head.weight'));
});

test('oft-tiny: no pruning, one head, second-to-last block', async () => {
  const { config, sources, tokenizers } = await openCheckpoint(goldenCheckpoint('oft-tiny'));
  assert.equal([config.family, config.variant, config.head.kind], ['openvla-oft', 'OpenVLA-OFT', 'single']);
  assert.equal(
    [config.dinov2.outputBlock, config.siglip.outputBlock, config.exchangePairs.length],
    [2, 2, 0],
  );
  assert.equal([config.actionTokensPerStep, config.actionDim], [7, 7]);
  assert.is(sources.loraMerged, null);
  assert.is(tokenizers.siglipModel, null);
});

test('the vision archive supersedes the shards, wherever both have a tensor', async () => {
  const { tensors, sources } = await openCheckpoint(goldenCheckpoint('libero-tiny'));
  const allowed = new Set([sources.visionBackbone, sources.loraMerged!.file]);
  for (const [name, { file }] of tensors) {
    if (name.startsWith('vision_backbone.')) assert.ok(allowed.has(file), `${name} is read from ${file}`);
  }
});

test('the tensors are exactly the expected ones, in their shapes', async () => {
  for (const name of ['libero-tiny', 'oft-tiny'] as const) {
    const { config, tensors } = await openCheckpoint(goldenCheckpoint(name));
    for (const [tensor, { shape, optional }] of expectedTensors(config)) {
      if (tensors.has(tensor)) assert.equal(tensors.get(tensor)!.shape, shape, tensor);
      else assert.ok(optional, tensor);
    }
  }
});

const small: SynthOverrides = {
  llamaLayers: 2,
  llamaWidth: 48,
  llamaHeads: 4,
  llamaMlp: 96,
  dinov2Depth: 4,
  dinov2Width: 32,
  dinov2Heads: 2,
  siglipDepth: 5,
  siglipWidth: 40,
  siglipHeads: 2,
  imageSize: 56,
  loraRank: 2,
  loraAlpha: 3,
};
const smallText: SynthOverrides = {
  textLayers: 1,
  textWidth: 40,
  textHeads: 2,
  textMlp: 56,
  textVocab: 512,
  visionTokens: 4,
};

const variants: readonly {
  preset: SynthPreset;
  overrides: SynthOverrides;
  check: (opened: Awaited<ReturnType<typeof openCheckpoint>>) => void;
}[] = [
  {
    preset: 'libero',
    overrides: { ...small, ...smallText, visionTokens: 16 },
    check: ({ config }) => {
      assert.is(config.variant, 'SemanticVLA-Lite');
      assert.equal([config.imageSize, config.dinov2.patches, config.dinov2.patchSize], [56, 16, 14]);
    },
  },
  {
    preset: 'aloha',
    overrides: { ...small, ...smallText, llamaKvHeads: 2, pooledTokens: 0, exchangePairs: [] },
    check: ({ config }) => {
      assert.equal(
        [config.llama.kvHeads, config.exchangePairs.length, config.siglip.sampler?.textTopk],
        [2, 0, 0],
      );
      assert.equal([config.dinov2.outputBlock, config.siglip.outputBlock], [2, 3]);
    },
  },
  {
    preset: 'moe',
    overrides: { ...small, ...smallText },
    check: ({ config, tensors }) => {
      assert.is(config.aggregation, 'moe');
      assert.ok(tensors.has('moe_router.router.2.weight'));
      assert.not(tensors.has('projector.fc1.weight'));
    },
  },
  {
    preset: 'oft-plus',
    overrides: small,
    check: ({ config, sources, tensors }) => {
      assert.equal([config.variant, config.dinov2.film, config.siglip.film], ['OpenVLA-OFT+', true, true]);
      // Convolutions are split too.
      const file = sources.loraMerged!.file;
      for (const tower of ['featurizer', 'fused_featurizer']) {
        assert.is(tensors.get(`vision_backbone.${tower}.patch_embed.proj.weight`)!.file, file);
      }
    },
  },
];

test('variants that synth writes', async () => {
  for (const { preset, overrides, check } of variants) {
    const dir = join(scratchFolder(), `synth-${preset}`);
    await synthesizeCheckpoint(preset, dir, { overrides });
    const opened = await openCheckpoint(dir);
    check(opened);
    assert.is((await verifyTensors(opened)).tensors, opened.tensors.size);
    rmSync(dir, { recursive: true });
  }
});

test('a read-only folder, and one whose path has changed', async () => {
  const dir = goldenCopy('oft-tiny');
  chmodSync(dir, 0o500);
  await openCheckpoint(dir);
  chmodSync(dir, 0o700);
});

test('the SigLIP text folder: option, path, last component', async () => {
  const dir = goldenCopy('libero-tiny');
  const stated = (path: unknown) =>
    editJson(
      dir,
      'config.json',
      (value) => void Object.assign(at(value, 'fused_featurizer_cfg'), { text_encoder_path: path }),
    );
  const found = async (siglipText?: string) =>
    (await openCheckpoint(dir, siglipText === undefined ? {} : { siglipText })).sources.siglipTextFolder;
  const inside = join(dir, 'siglip-text-tiny');
  stated('/home/somebody/models/siglip-text-tiny');
  assert.is(await found(), inside);
  stated('/home/somebody/models/siglip-text-tiny/');
  assert.is(await found(), inside);
  const outside = join(scratchFolder(), 'siglip-elsewhere');
  cpSync(inside, outside, { recursive: true });
  stated(outside);
  assert.is(await found(), outside);
  assert.is(await found(inside), inside);
  stated('nowhere');
  const error = await errorOf(openCheckpoint(dir));
  assert.is(error.code, 'CHECKPOINT_FILE_MISSING');
  assert.match(error.message, /nowhere.*siglipText/);
  assert.is((await errorOf(found(join(dir, 'nothing')))).code, 'CHECKPOINT_FILE_MISSING');
});

test('no action head: discrete tokens, for OpenVLA-OFT only', async () => {
  const dir = goldenCopy('oft-tiny');
  rmSync(fileNamed(dir, 'action_head--'));
  const { config } = await openCheckpoint(dir);
  assert.equal(config.head, { kind: 'discrete', bins: 256, tokenVocab: 32000 });
  assert.equal([config.actionDim, config.actionTokensPerStep], [null, null]);
});

test('no proprio projector: no proprioception', async () => {
  const dir = goldenCopy('oft-tiny');
  rmSync(fileNamed(dir, 'proprio_projector--'));
  assert.is((await openCheckpoint(dir)).config.proprioDim, null);
});

test('text_config without sizes means Llama-2 7B, and the weights must agree', async () => {
  const dir = goldenCopy('oft-tiny');
  editJson(dir, 'config.json', (value) => ({
    ...value,
    text_config: { model_type: 'llama', vocab_size: 32064 },
  }));
  const error = await errorOf(openCheckpoint(dir));
  assert.match(error.message, /4096/);
});

test('verifyTensors finds a NaN that loading does not look at', async () => {
  const dir = goldenCopy('oft-tiny');
  const { tensors } = await openCheckpoint(dir);
  const view = tensors.get('language_model.model.layers.1.mlp.up_proj.weight')!;
  const { openSync, writeSync, closeSync } = await import('node:fs');
  const handle = openSync(view.file, 'r+');
  writeSync(handle, Buffer.from([0xc0, 0x7f]), 0, 2, view.offset + 20);
  closeSync(handle);
  const opened = await openCheckpoint(dir);
  const error = await errorOf(verifyTensors(opened));
  assert.is(error.code, 'TENSOR_NOT_FINITE');
  assert.match(error.message, /up_proj/);
});

type Change = (dir: string) => void | Promise<void>;
const config =
  (change: (value: Json) => Json | undefined): Change =>
  (dir) =>
    editJson(dir, 'config.json', change);
const set = (values: Json): Change => config((value) => ({ ...value, ...values }));
const tower = (key: string, values: Json): Change =>
  config((value) => void Object.assign(at(value, key), values));
const text = (values: Json): Change =>
  config((value) => void Object.assign(at(value, 'text_config'), values));
const preprocessor =
  (values: Json): Change =>
  (dir) =>
    editJson(dir, 'preprocessor_config.json', (value) => ({ ...value, ...values }));
const remove =
  (name: string): Change =>
  (dir) =>
    rmSync(fileNamed(dir, name), { recursive: true });
const archive =
  (name: string, change: Parameters<typeof editArchive>[1]): Change =>
  (dir) =>
    editArchive(fileNamed(dir, name), change);
const bias = 'module.model_rot.fc1.bias';

const refusals: readonly [string, Change, string, RegExp][] = [
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
    'exchange with negative blocks',
    set({
      cross_vit_target_pairs: [
        [1, 1],
        [-2, -2],
      ],
    }),
    'CONFIG_INVALID',
    /negative/,
  ],
  [
    'exchange pairs missing',
    set({ cross_vit_target_pairs: null }),
    'CONFIG_INVALID',
    /cross_vit_target_pairs/,
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
    /depth 4/,
  ],
  [
    'exchange descending',
    set({
      cross_vit_target_pairs: [
        [2, 3],
        [0, 1],
      ],
    }),
    'CONFIG_INVALID',
    /ascending/,
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
  ['letterbox', preprocessor({ image_resize_strategy: 'letterbox' }), 'CONFIG_UNSUPPORTED', /letterbox/],
  ['no strategy', preprocessor({ image_resize_strategy: null }), 'CONFIG_INVALID', /image_resize_strategy/],
  [
    'two input sizes',
    preprocessor({
      input_sizes: [
        [3, 224, 224],
        [3, 384, 384],
      ],
    }),
    'CONFIG_UNSUPPORTED',
    /input_sizes/,
  ],
  [
    'image that is not square',
    preprocessor({
      input_sizes: [
        [3, 224, 320],
        [3, 224, 320],
      ],
    }),
    'CONFIG_INVALID',
    /square/,
  ],
  [
    'positions of another size',
    preprocessor({
      input_sizes: [
        [3, 56, 56],
        [3, 56, 56],
      ],
    }),
    'CONFIG_INVALID',
    /image_sizes/,
  ],
  [
    'mean of two channels',
    preprocessor({
      means: [
        [0.5, 0.5],
        [0.5, 0.5, 0.5],
      ],
    }),
    'CONFIG_INVALID',
    /means/,
  ],
  [
    'deviation of 0',
    preprocessor({
      stds: [
        [0.5, 0.5, 0],
        [0.5, 0.5, 0.5],
      ],
    }),
    'CONFIG_INVALID',
    /positive/,
  ],
  ['no preprocessor', remove('preprocessor_config.json'), 'CHECKPOINT_FILE_MISSING', /preprocessor_config/],
  ['no vision archive', remove('vision_backbone--'), 'CHECKPOINT_FILE_MISSING', /vision_backbone--\*\.pt/],
  ['no action head', remove('action_head--'), 'CHECKPOINT_FILE_MISSING', /action_head--\*\.pt/],
  [
    'no Llama tokenizer',
    (dir) => [remove('tokenizer.json'), remove('tokenizer.model')].forEach((change) => void change(dir)),
    'CHECKPOINT_FILE_MISSING',
    /tokenizer\.json or tokenizer\.model/,
  ],
  [
    'no SigLIP tokenizer',
    (dir) => rmSync(join(dir, 'siglip-text-tiny', 'spiece.model')),
    'CHECKPOINT_FILE_MISSING',
    /spiece\.model/,
  ],
  [
    'no SigLIP config',
    (dir) => rmSync(join(dir, 'siglip-text-tiny', 'config.json')),
    'CHECKPOINT_FILE_MISSING',
    /siglip-text-tiny/,
  ],
  [
    'a CLIP text folder',
    (dir) =>
      editJson(join(dir, 'siglip-text-tiny'), 'config.json', (value) => ({ ...value, model_type: 'clip' })),
    'CONFIG_UNSUPPORTED',
    /"clip"/,
  ],
  [
    'two action heads',
    (dir) => cpSync(fileNamed(dir, 'action_head--'), join(dir, 'action_head--latest_checkpoint.pt')),
    'CHECKPOINT_AMBIGUOUS',
    /30000.*latest/,
  ],
  [
    'two vision archives',
    (dir) => cpSync(fileNamed(dir, 'vision_backbone--'), join(dir, 'vision_backbone--1_checkpoint.pt')),
    'CHECKPOINT_AMBIGUOUS',
    /vision_backbone--1_/,
  ],
  [
    'archive that is a folder',
    (dir) => {
      rmSync(fileNamed(dir, 'proprio_projector--'));
      mkdirSync(join(dir, 'proprio_projector--1_checkpoint.pt'));
    },
    'CHECKPOINT_FILE_MISSING',
    /regular file|EISDIR/,
  ],
  [
    'diffusion head',
    archive('action_head--', (tensors) => {
      tensors.clear();
      tensors.set('noise_predictor.mlp_resnet.fc1.weight', filled([4, 4]));
    }),
    'CONFIG_UNSUPPORTED',
    /diffusion/,
  ],
  [
    'single head in a SemanticVLA config',
    archive('action_head--', (tensors) => {
      for (const [name, value] of [...tensors]) {
        tensors.delete(name);
        if (name.includes('model_trans')) tensors.set(name.replace('model_trans', 'model'), value);
      }
    }),
    'TENSOR_UNEXPECTED',
    /different policies/,
  ],
  [
    'head of other outputs',
    archive('action_head--', (tensors) => void tensors.set('module.model_rot.fc2.weight', filled([4, 56]))),
    'CONFIG_UNSUPPORTED',
    /3, 4, 1/,
  ],
  [
    'head tensor missing',
    archive('action_head--', (tensors) => void tensors.delete(bias)),
    'TENSOR_MISSING',
    /action_head\.model_rot\.fc1\.bias \[hidden width\]/,
  ],
  [
    'head tensor misshaped',
    archive('action_head--', (tensors) => void tensors.set(bias, filled([55]))),
    'TENSOR_SHAPE',
    /\[56\], found \[55\]/,
  ],
  [
    'head tensor left over',
    archive('action_head--', (tensors) => void tensors.set('module.model_rot.fc3.bias', filled([56]))),
    'TENSOR_UNEXPECTED',
    /fc3/,
  ],
  [
    'head tensor twice',
    archive('action_head--', (tensors) => void tensors.set(bias.slice('module.'.length), filled([56]))),
    'TORCH_ARCHIVE_INVALID',
    /both mean/,
  ],
  [
    'head of NaN',
    archive('action_head--', (tensors) => void tensors.set(bias, filled([56], Number.NaN))),
    'TENSOR_NOT_FINITE',
    /model_rot\.fc1\.bias/,
  ],
  [
    'head of Infinity',
    archive('action_head--', (tensors) => void tensors.set(bias, filled([56], Number.POSITIVE_INFINITY))),
    'TENSOR_NOT_FINITE',
    /model_rot\.fc1\.bias/,
  ],
  [
    'head of integers',
    archive('action_head--', (tensors) => {
      tensors.set(bias, { ...filled([56]), dtype: 'I32' });
    }),
    'TENSOR_DTYPE',
    /I32/,
  ],
  [
    'vision archive with a stranger',
    archive('vision_backbone--', (tensors) => void tensors.set('depth_encoder.weight', filled([2]))),
    'TENSOR_UNEXPECTED',
    /depth_encoder/,
  ],
  [
    'proprio of another width',
    archive('proprio_projector--', (tensors) => void tensors.set('module.fc2.weight', filled([56, 8]))),
    'TENSOR_SHAPE',
    /proprio_projector\.fc2\.weight/,
  ],
];

test(`${refusals.length} folders are refused by name`, async () => {
  const complaints: string[] = [];
  for (const [name, change, code, says] of refusals) {
    const dir = goldenCopy('libero-tiny');
    await change(dir);
    const error = await errorOf(openCheckpoint(dir)).catch((reason: Error) => ({
      code: 'none',
      message: String(reason.cause ?? reason),
    }));
    if (error.code !== code || !says.test(error.message))
      complaints.push(`${name}: ${error.code}: ${error.message}`);
    rmSync(dir, { recursive: true });
  }
  assert.is(complaints.length, 0, complaints.join('\n'));
});

test('no folder, a file, an empty folder, misspelled options, an aborted signal', async () => {
  const dir = goldenCheckpoint('oft-tiny');
  assert.is((await errorOf(openCheckpoint(join(dir, 'nowhere')))).code, 'CHECKPOINT_NOT_FOUND');
  assert.match((await errorOf(openCheckpoint(join(dir, 'config.json')))).message, /found a file/);
  assert.is((await errorOf(openCheckpoint(''))).code, 'OPTION_INVALID');
  const empty = join(scratchFolder(), 'empty');
  mkdirSync(empty);
  assert.is((await errorOf(openCheckpoint(empty))).code, 'CHECKPOINT_NOT_A_POLICY');
  const error = await errorOf(openCheckpoint(dir, { cachedir: '/' } as never));
  assert.is(error.code, 'OPTION_UNKNOWN');
  assert.match(error.message, /did you mean cacheDir/);
  const reason: unknown = await openCheckpoint(dir, { signal: AbortSignal.abort(new Error('no')) }).catch(
    (cause: unknown) => cause,
  );
  assert.is((reason as Error).message, 'no');
});

test('the folder may move: nothing remembers its old place', async () => {
  const dir = goldenCopy('oft-tiny');
  await openCheckpoint(dir);
  renameSync(dir, `${dir}-moved`);
  assert.not(existsSync(dir));
  const { tensors } = await openCheckpoint(`${dir}-moved`);
  for (const { file } of tensors.values()) assert.ok(file.startsWith(`${dir}-moved/`));
});

test.run();
