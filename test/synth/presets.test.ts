import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { resolveSpec, scalePairs, synthOverrideOptions } from '../../lib/synth/overrides.ts';
import { planPolicy } from '../../lib/synth/policyPlan.ts';
import { type SynthPreset, synthPresetDescriptions, synthPresets } from '../../lib/synth/presets.ts';
import { planShards } from '../../lib/synth/safetensorsWriter.ts';
import { elementCount, type PlannedTensor, totalBytes } from '../../lib/synth/tensorPlan.ts';

const test = suite('synth presets');

const count = (tensors: readonly PlannedTensor[], prefix = '') =>
  tensors
    .filter(({ name }) => name.startsWith(prefix))
    .reduce((sum, tensor) => sum + elementCount(tensor), 0);

const shape = (tensors: readonly PlannedTensor[], name: string) =>
  tensors.find((tensor) => tensor.name === name)?.shape;

test('the full size has the published parameter counts', () => {
  const { shards } = planPolicy(synthPresets.libero);
  // Llama-2-7B has 6,738,415,616 parameters with 32000 pieces; OpenVLA adds 64 rows to both embeddings.
  assert.is(count(shards, 'language_model.'), 6_738_415_616 + 2 * 64 * 4096);
  // Computed by hand from the layer sizes: 24 blocks of 12 w^2 + 15 w, prefix, positions, patches, norm.
  const w = 1024;
  assert.is(
    count(shards, 'vision_backbone.featurizer.'),
    24 * (12 * w * w + 15 * w) + 5 * w + 256 * w + 3 * 14 * 14 * w + w + 2 * w,
  );
  // Google gives 428 M for the so400m image tower.
  assert.is(Math.round(count(shards, 'vision_backbone.fused_featurizer.') / 1e6), 428);
  assert.is(shape(shards, 'projector.fc1.weight')?.join(), '8704,2176');
  assert.is(Math.round(count(shards) / 1e8), 76);
});

test('shards stay below 5 GB and hold every tensor once, sorted', () => {
  const { shards } = planPolicy(synthPresets.libero);
  const planned = planShards(shards, synthPresets.libero.shardBytes);
  assert.ok(planned.length > 1);
  for (const { tensors } of planned) {
    assert.ok(totalBytes(tensors) <= 5e9);
    const names = tensors.map(({ name }) => name);
    assert.equal(names, names.toSorted());
  }
  assert.equal(
    planned.flatMap(({ tensors }) => tensors.map(({ name }) => name)).sort(),
    shards.map(({ name }) => name).sort(),
  );
  assert.is(planned[0]!.file, `model-00001-of-0000${planned.length}.safetensors`);
});

test('each preset is what its name says', () => {
  const plans = Object.fromEntries(
    Object.entries(synthPresets).map(([name, spec]) => [name, planPolicy(resolveSpec(spec))]),
  ) as Record<SynthPreset, ReturnType<typeof planPolicy>>;
  assert.equal(Object.keys(synthPresetDescriptions).sort(), Object.keys(synthPresets).sort());
  for (const [name, spec] of Object.entries(synthPresets)) assert.is(spec.name, name);
  assert.equal(shape(plans.libero.visionBackbone!, 'vision_queries'), [1, 32, 1024]);
  assert.equal(shape(plans.lite.visionBackbone!, 'vision_queries'), [1, 16, 1024]);
  assert.equal(shape(plans.libero.actionHead!, 'module.model_trans.fc1.weight'), [4096, 3 * 4096]);
  assert.equal(shape(plans.aloha.actionHead!, 'module.model_grip.fc2.weight'), [2, 4096]);
  assert.equal(shape(plans.aloha.actionHead!, 'module.model_rot.fc1.weight'), [4096, 6 * 4096]);
  assert.equal(shape(plans.aloha.proprioProjector!, 'module.fc1.weight'), [4096, 14]);
  assert.equal(shape(plans.bridge.proprioProjector!, 'module.fc1.weight'), [4096, 7]);
  assert.is(plans.oft.visionBackbone, null);
  assert.equal(shape(plans.oft.actionHead!, 'module.model.fc1.weight'), [4096, 7 * 4096]);
  assert.equal(shape(plans.oft.actionHead!, 'module.model.fc2.weight'), [7, 4096]);
  assert.equal(shape(plans.diffusion.actionHead!, 'module.noise_predictor.mlp_resnet.fc1.weight'), [
    4096,
    7 * 4096,
  ]);
  assert.equal(shape(plans['oft-diffusion'].noisyActionProjector!, 'module.fc1.weight'), [4096, 1]);
  for (const name of ['openvla', 'oft-discrete'] as const) {
    const { actionHead, proprioProjector, noisyActionProjector, visionBackbone } = plans[name];
    assert.equal(
      [actionHead, proprioProjector, noisyActionProjector, visionBackbone],
      [null, null, null, null],
    );
  }
  const plus = plans['oft-plus'].visionBackbone!;
  assert.equal(shape(plus, 'vision_backbone.fused_featurizer.blocks.26.scale.weight'), [1152, 4096]);
  assert.equal(
    shape(plus, 'vision_backbone.featurizer.patch_embed.proj.lora_A.default.weight'),
    [32, 3, 14, 14],
  );
  assert.equal(
    shape(plus, 'vision_backbone.featurizer.patch_embed.proj.lora_B.default.weight'),
    [1024, 32, 1, 1],
  );
  assert.is(shape(plus, 'vision_queries'), undefined);
  assert.equal(shape(plans.moe.shards, 'moe_router.router.2.weight'), [2, 4096]);
  assert.equal(shape(plans.moe.shards, 'fused_featurizer_proj.fc1.weight'), [4096, 1152]);
  assert.is(shape(plans.moe.shards, 'projector.fc1.weight'), undefined);
});

test('a quarter of the depth keeps the exchange, moved to blocks that exist', () => {
  const spec = resolveSpec(synthPresets.libero, {
    llamaLayers: 8,
    dinov2Depth: 6,
    siglipDepth: 7,
    textLayers: 7,
  });
  assert.equal(spec.pruning?.exchangePairs, [
    [0, 0],
    [2, 3],
    [4, 5],
  ]);
  assert.equal(
    [spec.llama.layers, spec.dinov2.depth, spec.siglip.depth, spec.pruning?.text.layers],
    [8, 6, 7, 7],
  );
  assert.is(spec.llama.width, 4096);
  const depths = [24, 24] as const;
  assert.equal(
    scalePairs(
      [
        [2, 3],
        [11, 13],
      ],
      depths,
      [27, 27],
    ),
    [
      [2, 3],
      [11, 13],
    ],
  );
  assert.equal(
    scalePairs(
      [
        [2, 3],
        [11, 13],
        [20, 23],
      ],
      [24, 1],
      [27, 1],
    ),
    [[0, 0]],
  );
  assert.equal(resolveSpec(synthPresets.libero, { exchangePairs: [] }).pruning?.exchangePairs, []);
});

test('sizes that make no policy are refused by name', () => {
  const cases: [SynthPreset, Record<string, unknown>, string, RegExp][] = [
    ['libero', { lamaLayers: 8 }, 'OPTION_UNKNOWN', /"lamaLayers"/],
    ['libero', { llamaLayers: 0 }, 'OPTION_INVALID', /llamaLayers: expected a positive integer, found 0/],
    ['libero', { llamaLayers: 1.5 }, 'OPTION_INVALID', /llamaLayers/],
    ['libero', { llamaHeads: 33 }, 'OPTION_INVALID', /divisor of the width 4096, found 33/],
    ['tiny', { llamaWidth: 60 }, 'OPTION_INVALID', /even head width/],
    ['libero', { llamaKvHeads: 5 }, 'OPTION_INVALID', /llamaKvHeads/],
    ['libero', { visionTokens: 257 }, 'OPTION_INVALID', /at most the 256 patches/],
    ['libero', { imageSize: 13 }, 'OPTION_INVALID', /at least one patch of 14/],
    ['libero', { actionDim: 8 }, 'OPTION_INVALID', /multiple of 7/],
    ['libero', { textVocab: 100 }, 'OPTION_INVALID', /spiece\.model/],
    ['libero', { exchangePairs: [[24, 0]] }, 'OPTION_INVALID', /\[24, 0\]/],
    ['oft', { visionTokens: 16 }, 'OPTION_INVALID', /SemanticVLA family/],
    ['oft', { siglipDepth: 1 }, 'OPTION_INVALID', /at least 2 blocks/],
  ];
  for (const [preset, overrides, code, message] of cases)
    assert.throws(
      () => resolveSpec(synthPresets[preset], overrides),
      (error: unknown) =>
        error instanceof SemanticVlaError && error.code === code && message.test(error.message),
      `${preset} ${JSON.stringify(overrides)}`,
    );
});

test('every override changes the spec', () => {
  const before = JSON.stringify(resolveSpec(synthPresets.tiny));
  const values: Readonly<Record<string, number>> = {
    ...{ llamaWidth: 128, llamaHeads: 8, llamaKvHeads: 2, textHeads: 8, textVocab: 2048 },
    ...{ visionTokens: 8, imageSize: 28 * 14, actionDim: 14 },
  };
  for (const { key, flag } of synthOverrideOptions) {
    const value = values[key] ?? 12;
    assert.is.not(JSON.stringify(resolveSpec(synthPresets.tiny, { [key]: value })), before, flag);
    assert.match(flag, /^--[a-z0-9-]+$/);
  }
});

test.run();
