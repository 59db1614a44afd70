/**
 * The goldens would notice: each plausible mistake is made on purpose, moves the actions by about as much as it moved the
 * reference's, and always by more than the tolerance that the golden tests allow. On one golden, or on all with
 * SEMANTICVLA_LONG_TESTS=1.
 */

import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { buildInstructionGraph } from '../../lib/graph/instructionGraph.ts';
import { buildPolicyGraph } from '../../lib/graph/policyGraph.ts';
import { readObservation } from '../../lib/observation/readObservation.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import { gatherParts } from '../../lib/policy/policyParts.ts';
import { OnnxSession } from '../../lib/runtime/onnxRuntime.ts';
import { preprocessImages } from '../../lib/transforms/image.ts';
import { encodePrompt } from '../../lib/transforms/prompt.ts';
import { normalizeProprio } from '../../lib/transforms/proprio.ts';
import type { ImageFrame, Observation, PolicyOptions } from '../../lib/types.ts';
import { goldenCheckpoint } from '../helpers/golden.ts';
import {
  type GoldenName,
  type GoldenSample,
  goldenCase,
  goldenNames,
  goldenOptions,
  goldenRoot,
  maxAbsDifference,
} from '../helpers/goldenCase.ts';
import { copyModels, type Mutation, mutations, windowOneLater } from '../helpers/mutants.ts';

const test = suite('sensitivity');

const spoiled =
  process.env.SEMANTICVLA_LONG_TESTS === '1'
    ? goldenNames
    : goldenNames.filter((name) => name === 'libero-tiny');

/** What the golden tests allow. */
const tolerance = 5e-5;

/**
 * A mistake counts as the same as the reference's if it moves the actions as far: both are max-abs over one chunk of a
 * deterministic network, so they agree to the float32 noise (3e-6) unless the mistake itself leaves a choice.
 */
const agreement = 5e-5;

/** Mistakes that leave a choice: it is not specified which patch is kept in place of a right one. */
const loose: Readonly<Record<string, number>> = { 'one wrong patch kept': Number.POSITIVE_INFINITY };

async function runMutant(
  name: GoldenName,
  sample: GoldenSample,
  mutation: Mutation,
  {
    stages = false,
    masked = false,
    images,
  }: { stages?: boolean; masked?: boolean; images?: (data: Uint8Array) => Uint8Array } = {},
): Promise<Float32Array> {
  const checkpoint = await openCheckpoint(await goldenCheckpoint(name));
  const parts = await gatherParts(checkpoint, goldenOptions[name]);
  // OpenVLA-OFT has no mask to spoil: it is given SemanticVLA's
  const config = masked ? { ...checkpoint.config, family: 'semanticvla' as const } : checkpoint.config;
  const options = { ...parts.sizes, stages, mergeWeights: false };
  const models = copyModels({
    instruction: buildInstructionGraph(config, checkpoint.tensors, options),
    policy: buildPolicyGraph(config, checkpoint.tensors, checkpoint.pixelNormalization, options),
  });
  mutation(models);
  const session = await OnnxSession.open({
    ...models,
    threads: 2,
    weights: 'mapped',
    files: checkpoint.files,
  });
  try {
    const { observation } = await readObservation(join(goldenRoot, name, sample.observation));
    const { platform } = parts;
    const frames = platform.cameras.map((camera) => observation.images[camera]!);
    const data = await preprocessImages(frames, {
      imageSize: config.imageSize,
      centerCrop: platform.centerCrop,
      jpeg: platform.jpeg,
      threads: 2,
    });
    const bounds = checkpoint.statistics.get(sample.unnorm_key)!.proprio!;
    const proprio = normalizeProprio(observation.state!, bounds, platform.normalization);
    const { promptIds, siglipIds } = encodePrompt(parts.tokenizers, sample.instruction, parts.promptLimits);
    const state = await session.encodeInstruction({
      promptIds: [...promptIds, parts.tokenizers.llama.endId],
      siglipIds,
    });
    return (await session.run({ images: images ? images(data) : data, proprio }, state)).actions;
  } finally {
    await session.close();
  }
}

function expectMoved(
  label: string,
  actions: ArrayLike<number>,
  sample: GoldenSample,
  listed: number,
  slack: number,
): void {
  const moved = maxAbsDifference(actions, sample.normalized_fp32.flat());
  assert.ok(
    moved > tolerance,
    `${label}: moved the actions by only ${moved}, the golden tests would not notice`,
  );
  assert.ok(
    Math.abs(moved - listed) <= slack,
    `${label}: moved the actions by ${moved}, the reference's by ${listed}`,
  );
}

for (const name of spoiled) {
  const { samples, sensitivity } = goldenCase(name);
  const sample = samples[0]!;
  const oft = name === 'oft-tiny';
  for (const [mistake, mutation] of Object.entries(mutations)) {
    const listed = sensitivity[mistake];
    // not every mistake exists for every policy; a fully bidirectional mask is OpenVLA-OFT's own
    if (listed === undefined || (oft && mistake === 'mask: fully bidirectional')) continue;
    test(`${name}: ${mistake}`, async () => {
      const actions = await runMutant(name, sample, mutation, { masked: oft && mistake.startsWith('mask') });
      expectMoved(mistake, actions, sample, listed, loose[mistake] ?? agreement);
    });
  }

  test(`${name}: hidden window one later`, async () => {
    const actions = await runMutant(name, sample, windowOneLater, { stages: true });
    expectMoved('window', actions, sample, sensitivity['hidden window one later']!, agreement);
  });

  test(`${name}: images: 10 values of each off by 1 level`, async () => {
    const actions = await runMutant(name, sample, () => {}, {
      images: (data) => {
        const copy = data.slice();
        const count = goldenOptions[name].platform === 'aloha' ? 3 : 2;
        const size = copy.length / count;
        for (let i = 0; i < count; i++) {
          for (let k = 0; k < 10; k++) {
            const at = i * size + Math.floor(((k + 0.5) * size) / 10);
            copy[at] = copy[at]! < 128 ? copy[at]! + 1 : copy[at]! - 1;
          }
        }
        return copy;
      },
    });
    // other pixels than the reference's ten, so only the order of magnitude can agree; the image tests are exact
    const moved = maxAbsDifference(actions, sample.normalized_fp32.flat());
    assert.ok(moved > 1e-5 && moved < 2e-3, `moved by ${moved}`);
  });

  test(`${name}: no center crop`, async () => {
    const actions = await predict(name, sample, { centerCrop: false });
    expectMoved('no center crop', actions, sample, sensitivity['no center crop']!, agreement);
  });

  const second = samples[1]!;
  test(`${name}: images (obs1): no JPEG round trip`, async () => {
    const actions = await predict(name, second, { jpeg: false });
    // one rounding tie of the resize moves actions by about 2e-5
    expectMoved('no JPEG', actions, second, sensitivity['images (obs1): no JPEG round trip']!, 1e-3);
  });

  test(`${name}: images (obs1): JPEG decoded with the accurate IDCT`, async () => {
    const actions = await predict(name, second, { jpeg: false }, async (frame) => {
      if (frame.width === 224 && frame.height === 224) return frame;
      const { width, height } = frame;
      const jpeg = await sharp(Buffer.from(frame.data), { raw: { width, height, channels: 3 } })
        .jpeg({ quality: 95, chromaSubsampling: '4:2:0' })
        .toBuffer();
      return { width, height, data: new Uint8Array(await sharp(jpeg).raw().toBuffer()) };
    });
    const moved = maxAbsDifference(actions, second.normalized_fp32.flat());
    // the encoder here is not bit for bit TensorFlow's, so the size of the effect is only similar
    assert.ok(moved > 100 * tolerance, `moved by only ${moved}`);
  });
}

async function predict(
  name: GoldenName,
  sample: GoldenSample,
  options: PolicyOptions,
  change?: (frame: ImageFrame) => Promise<ImageFrame>,
  dir?: string,
): Promise<Float32Array> {
  await using policy = await loadPolicy(dir ?? (await goldenCheckpoint(name)), {
    ...goldenOptions[name],
    ...options,
  });
  let { observation }: { observation: Observation } = await readObservation(
    join(goldenRoot, name, sample.observation),
  );
  if (change !== undefined) {
    const images: Record<string, ImageFrame> = {};
    for (const [camera, frame] of Object.entries(observation.images)) images[camera] = await change(frame);
    observation = { ...observation, images };
  }
  const { normalized } = await policy.predict(observation, {
    instruction: sample.instruction,
    unnormKey: sample.unnorm_key,
  });
  return normalized;
}

for (const name of ['libero-tiny', 'aloha-tiny'] as const) {
  test(`${name}: LoRA of the ViTs not merged`, async () => {
    const { samples, sensitivity } = goldenCase(name);
    const dir = await mkdtemp(join(tmpdir(), 'semanticvla-lora-'));
    try {
      await cp(await goldenCheckpoint(name), dir, { recursive: true, dereference: true });
      const file = join(dir, 'lora_adapter', 'adapter_config.json');
      // alpha this small merges nothing
      const adapter = { ...(JSON.parse(await readFile(file, 'utf8')) as object), lora_alpha: 1e-30 };
      await writeFile(file, JSON.stringify(adapter));
      const actions = await predict(name, samples[0]!, { cacheDir: join(dir, 'cache') }, undefined, dir);
      expectMoved('LoRA', actions, samples[0]!, sensitivity['LoRA of the ViTs not merged']!, agreement);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
}

test.run();
