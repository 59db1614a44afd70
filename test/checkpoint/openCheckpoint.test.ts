/** Opening whole checkpoints: the goldens, every variant that `synth` writes, and folders that must be refused. */

import { chmodSync, cpSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
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
import { addShard, at, editArchive, editJson, errorOf, fileNamed, filled } from './editCheckpoint.ts';

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
  // The decoys of config.json (norm_stats) have different numbers.
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
  // proprioception is float32 on disk
  assert.equal([sources.madeWeights?.merged, sources.madeWeights?.rounded], [0, 4]);
  assert.is(tokenizers.siglipModel, null);
});

test('the vision archive supersedes the shards, wherever both have a tensor', async () => {
  const { tensors, sources } = await openCheckpoint(goldenCheckpoint('libero-tiny'));
  const allowed = new Set([sources.visionBackbone, sources.madeWeights!.file]);
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
      const file = sources.madeWeights!.file;
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

test('a sampler on DINOv2 and queries in SigLIP', async () => {
  const dir = goldenCopy('libero-tiny');
  editJson(dir, 'config.json', (value) => {
    const sampler = { use_mm_sampler: true, text_encoder_path: 'siglip-text-tiny', text_topk: 3, temp: 0.5 };
    Object.assign(at(value, 'featurizer_cfg'), sampler, { vision_topk: 8 });
    Object.assign(at(value, 'fused_featurizer_cfg'), {
      use_reg: true,
      num_vision_queries: 8,
      vision_topk: 8,
    });
    return undefined;
  });
  await editArchive(fileNamed(dir, 'vision_backbone--'), (tensors) => {
    for (const [name, value] of [...tensors]) {
      const own = name.replace('fused_featurizer_mm_sampler', 'featurizer_mm_sampler');
      if (name.includes('text_encoder') && own !== name) tensors.set(own, value);
    }
    const projector = 'featurizer_mm_sampler.text_post_projector';
    for (const [layer, shape] of [
      ['0', [48, 72]],
      ['2', [48, 48]],
    ] as const) {
      tensors.set(`${projector}.${layer}.weight`, filled(shape));
      tensors.set(`${projector}.${layer}.bias`, filled([48]));
    }
    tensors.set('vision_queries_fused', filled([1, 8, 72]));
  });
  const projector = 'featurizer_sampler_proj';
  addShard(dir, {
    [`${projector}.fc1.weight`]: [56, 48],
    [`${projector}.fc1.bias`]: [56],
    [`${projector}.fc2.weight`]: [56, 56],
    [`${projector}.fc2.bias`]: [56],
  });
  const { config } = await openCheckpoint(dir);
  assert.equal([config.dinov2.queries, config.siglip.queries], [32, 8]);
  assert.equal([config.dinov2.sampler?.visionTopk, config.dinov2.sampler?.textTopk], [8, 3]);
  assert.equal([config.dinov2.sampler?.temperature, config.siglip.sampler?.visionTopk], [0.5, 8]);
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
  stated('/data/of/another/machine/siglip-text-tiny');
  assert.is(await found(), inside);
  stated('/data/of/another/machine/siglip-text-tiny/');
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

test('no action head and stated so: discrete tokens', async () => {
  const dir = goldenCopy('oft-tiny');
  rmSync(fileNamed(dir, 'action_head--'));
  rmSync(fileNamed(dir, 'proprio_projector--'));
  const { config } = await openCheckpoint(dir, { head: 'discrete' });
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
  const { tensors, sources } = await openCheckpoint(`${dir}-moved`);
  for (const { file } of tensors.values())
    assert.ok(file.startsWith(`${dir}-moved/`) || file === sources.madeWeights?.file);
});

test.run();
