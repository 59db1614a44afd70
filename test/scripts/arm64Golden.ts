/**
 * What arm64.test.ts runs in the emulated node: camera frames through the addon and one chunk of the golden policy, with
 * what they differ by from TensorFlow's pixels and the authors' actions. Prints one line of JSON.
 */

import { join } from 'node:path';
import { readObservation } from '../../lib/observation/readObservation.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import { preprocessSteps } from '../../lib/transforms/image.ts';
import { goldenCheckpoint } from '../helpers/golden.ts';
import { goldenCase, goldenOptions, goldenRoot, maxAbsDifference } from '../helpers/goldenCase.ts';
import { difference, goldenPng, goldenTensor } from '../transforms/imageGolden.ts';

const pixels: Record<string, { count: number; max: number }> = {};
for (const name of ['scene_256x256', 'noise_100x130']) {
  const raw = await goldenPng(`preprocessing/${name}.png`);
  const options = { imageSize: 224, centerCrop: true, jpeg: true, threads: 2 };
  const [steps] = await preprocessSteps([raw], options);
  const golden = (step: string) => goldenTensor(`preprocessing/${name}.safetensors`, step)!.data;
  pixels[`${name} resized`] = difference(steps!.resized!, golden('resized'));
  pixels[`${name} cropped`] = difference(steps!.cropped, golden('cropped'));
}

const name = 'libero-tiny';
const sample = goldenCase(name).samples[0]!;
const policy = await loadPolicy(goldenCheckpoint(name), { ...goldenOptions[name], threads: 1 });
const { observation } = await readObservation(join(goldenRoot, name, sample.observation));
const chunk = await policy.predict(observation, {
  instruction: sample.instruction,
  unnormKey: sample.unnorm_key,
});
await policy.close();

console.log(
  JSON.stringify({
    arch: process.arch,
    node: process.version,
    pixels,
    actions: maxAbsDifference(chunk.actions, sample.actions_fp32.flat()),
    normalized: maxAbsDifference(chunk.normalized, sample.normalized_fp32.flat()),
    keptPatches: Object.values(chunk.keptPatches).map((kept) => Array.from(kept)),
    goldenPatches: sample.kept_patches_fp32,
  }),
);
