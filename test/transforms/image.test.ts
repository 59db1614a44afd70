import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { preprocessSteps } from '../../lib/transforms/image.ts';
import { difference, goldenPng, goldenTensor, preprocessingNames } from './imageGolden.ts';

const image = suite('transforms/image');

const options = { imageSize: 224, centerCrop: true, jpeg: true, threads: 2 };

image('the center crop of a 224 x 224 frame is TensorFlow’s, bit for bit', async () => {
  for (const name of preprocessingNames) {
    const file = `preprocessing/${name}.safetensors`;
    const raw = await goldenPng(`preprocessing/${name}.png`);
    const resized = name.endsWith('224x224') ? raw.data : goldenTensor(file, 'resized')!.data;
    const [steps] = await preprocessSteps([{ data: resized, width: 224, height: 224 }], options);
    assert.is(steps!.resized, undefined);
    assert.equal(difference(steps!.cropped, goldenTensor(file, 'cropped')!.data), { count: 0, max: 0 }, name);
  }
});

image.run();
