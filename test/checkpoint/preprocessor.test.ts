import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readPreprocessor } from '../../lib/checkpoint/preprocessor.ts';
import { timmModel } from '../../lib/checkpoint/timmModels.ts';
import { scratchFolder } from '../helpers/golden.ts';

const test = suite('preprocessor and model names');

const sound = {
  image_resize_strategy: 'resize-naive',
  input_sizes: [
    [3, 56, 56],
    [3, 56, 56],
  ],
  means: [
    [0.1, 0.2, 0.3],
    [0.4, 0.5, 0.6],
  ],
  stds: [
    [1, 2, 3],
    [4, 5, 6],
  ],
};

async function read(value: unknown) {
  const file = join(mkdtempSync(join(scratchFolder(), 'preprocessor-')), 'preprocessor_config.json');
  writeFileSync(file, JSON.stringify(value));
  return readPreprocessor(file);
}

test('means and deviations by tower, DINOv2 first', async () => {
  const { imageSize, dinov2, siglip } = await read(sound);
  assert.is(imageSize, 56);
  assert.equal(dinov2, { mean: [0.1, 0.2, 0.3], std: [1, 2, 3] });
  assert.equal(siglip, { mean: [0.4, 0.5, 0.6], std: [4, 5, 6] });
});

test('without the lists, the torchvision parameters', async () => {
  const { means, stds, ...rest } = sound;
  const tvf_normalize_params = [0, 1].map((tower) => ({
    inplace: false,
    mean: means[tower],
    std: stds[tower],
  }));
  assert.equal(await read({ ...rest, tvf_normalize_params }), await read(sound));
});

test('timm names: heads of the sizes that are used, null for other architectures', () => {
  assert.equal(timmModel('vit_large_patch14_reg4_dinov2.lvd142m'), {
    kind: 'dinov2',
    width: 1024,
    depth: 24,
    heads: 16,
  });
  assert.equal(timmModel('vit_so400m_patch14_siglip_224'), {
    kind: 'siglip',
    width: 1152,
    depth: 27,
    heads: 16,
  });
  assert.equal(timmModel('vit_so400m_patch14_siglip_384'), timmModel('vit_so400m_patch14_siglip_224'));
  assert.equal(timmModel('vit_small_patch14_dinov2')?.heads, 6);
  // SwiGLU blocks, CLIP's other norms, and names of inherited properties.
  for (const name of [
    'vit_giant_patch14_reg4_dinov2.lvd142m',
    'vit_large_patch14_clip_336.openai',
    'vit_constructor_patch14_dinov2',
    '',
  ]) {
    assert.is(timmModel(name), null, name);
  }
});

test.run();
