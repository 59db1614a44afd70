/** The architecture of a preset equals that of an opened checkpoint of the preset. */

import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import type { TextEncoderConfig, VitConfig } from '../../lib/checkpoint/policyConfig.ts';
import { prepareModels } from '../../lib/engine/engineModels.ts';
import { presetArchitecture, presetSizes, specArchitecture } from '../../lib/engine/presetArchitecture.ts';
import { encodeModel } from '../../lib/graph/onnxModel.ts';
import { synthPresets } from '../../lib/synth/presets.ts';
import { synthesizeCheckpoint } from '../../lib/synth/synthesize.ts';
import { scratchFolder } from '../helpers/golden.ts';

const architecture = suite('engine/presetArchitecture');

/** Folder of the text tower and name of the variant: what a graph does not depend on. */
function comparable<T extends { siglip: VitConfig; dinov2: VitConfig; variant: string }>(config: T): unknown {
  const withoutFolder = (vit: VitConfig): VitConfig =>
    vit.sampler === null
      ? vit
      : {
          ...vit,
          sampler: {
            ...vit.sampler,
            textEncoder: { ...vit.sampler.textEncoder, folder: '' } as TextEncoderConfig,
          },
        };
  return {
    ...config,
    variant: '',
    siglip: withoutFolder(config.siglip),
    dinov2: withoutFolder(config.dinov2),
  };
}

architecture('tiny: config, shapes and the bound models are those of the checkpoint', async () => {
  const dir = join(mkdtempSync(join(scratchFolder(), 'synth-')), 'tiny');
  await synthesizeCheckpoint('tiny', dir);
  const opened = await openCheckpoint(dir);
  const preset = presetArchitecture('tiny');
  assert.equal(comparable(preset.config), comparable(opened.config));
  assert.equal(preset.pixelNormalization, opened.pixelNormalization);
  for (const [name, { shape }] of opened.tensors) assert.equal(preset.tensors.get(name)?.shape, shape, name);
  const { actionDim, platform } = synthPresets.tiny;
  const options = {
    sizes: { images: platform.cameras.length, chunk: 8, actionDim, proprio: true },
    precision: 'bfloat16',
    weights: 'bound',
    promptLength: { min: 8, opt: 32, max: 128 },
  } as const;
  const [fromPreset, fromDisk] = [preset, opened].map((one) => prepareModels(one, options));
  for (const name of ['instruction', 'policy'] as const) {
    const bytes = [fromPreset!, fromDisk!].map((models) => {
      // `variant` is in the text for readers alone
      const { graph } = models[name];
      return encodeModel({ ...graph, doc: '' }, (file) => file);
    });
    assert.is(Buffer.compare(bytes[0]!, bytes[1]!), 0, name);
  }
});

architecture('symbolic lengths agree with each other: L = 1 + vision + proprio + T', () => {
  const { actionDim, platform } = synthPresets.libero;
  const { policy, instruction } = prepareModels(presetArchitecture('libero'), {
    sizes: { images: platform.cameras.length, chunk: 8, actionDim, proprio: true },
    precision: 'bfloat16',
    weights: 'bound',
    promptLength: { min: 8, opt: 27, max: 128 },
  });
  const range = (name: string) =>
    [...policy.profile, ...instruction.profile].find((one) => one.name === name)!;
  // P = 27: L = 1 + 2 * 37 + 1 + 26 + 24 + 1
  assert.equal(range('rotary_cos').opt, [2, 1, 127, 128]);
  assert.equal(range('attention_bias').opt, [127, 127]);
  assert.equal(range('tail_embeddings').opt, [51, 4096]);
  assert.equal(range('prompt_ids').opt, [28]);
  for (const end of ['min', 'opt', 'max'] as const) {
    assert.is(range('rotary_cos')[end][2], range('tail_embeddings')[end][0]! + 1 + 75);
    assert.is(range('prompt_ids')[end][0], range('tail_embeddings')[end][0]! - 23);
  }
  assert.equal(policy.plugins, { instructionTopK: 1, textGuidedPooling: 1, channelConcat: 1 });
});

architecture('every preset makes its models', () => {
  for (const [name, spec] of Object.entries(synthPresets)) {
    const models = prepareModels(specArchitecture(spec), {
      sizes: presetSizes(name as keyof typeof synthPresets),
      precision: 'float16',
      weights: 'bound',
      promptLength: { min: 8, opt: 8, max: 8 },
    });
    assert.ok(models.policy.graph.bindings.length > 100, name);
  }
});

architecture.run();
