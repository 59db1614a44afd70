import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { readObservation } from '../../lib/observation/readObservation.ts';
import { cpuSessionOptions } from '../../lib/policy/cpuModels.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import { gatherParts } from '../../lib/policy/policyParts.ts';
import { OnnxSession } from '../../lib/runtime/onnxRuntime.ts';
import { synthesizeCheckpoint } from '../../lib/synth/synthesize.ts';
import { preprocessImages } from '../../lib/transforms/image.ts';
import { pickFrames } from '../../lib/transforms/pickFrames.ts';
import { encodePrompt } from '../../lib/transforms/prompt.ts';
import { normalizeProprio } from '../../lib/transforms/proprio.ts';
import type { PolicyOptions } from '../../lib/types.ts';
import { goldenCheckpoint, goldenCopy, goldenRoot, scratchFolder } from '../helpers/golden.ts';
import { maxAbsDifference } from '../helpers/goldenCase.ts';
import { readTensors } from '../helpers/readSafetensors.ts';

const test = suite('diffusion against the reference');

interface Sample {
  readonly observation: string;
  readonly instruction: string;
  readonly unnorm_key: string;
  readonly golden: string;
  readonly stages: boolean;
  readonly sets: Readonly<Record<string, { readonly actions_fp32: readonly (readonly number[])[] }>>;
}

const name = 'oft-diffusion-tiny';
const root = join(goldenRoot, name);
const { samples, sets } = JSON.parse(readFileSync(join(root, 'case.json'), 'utf8')) as {
  readonly samples: readonly Sample[];
  readonly sets: Readonly<
    Record<string, { num_diffusion_steps_train: number; num_diffusion_steps_inference: number }>
  >;
};
const steps = (set: string): PolicyOptions => ({
  platform: 'libero',
  diffusionTrainSteps: sets[set]!.num_diffusion_steps_train,
  diffusionSteps: sets[set]!.num_diffusion_steps_inference,
});
const tensors = (sample: Sample) => readTensors(join(root, sample.golden));

/** A float64 twin is 3e-6 away; the smallest mistake that the golden lists moves it by 1e-4 and more. */
const noiseTolerance = 2e-5;
/** Errors grow along a chain: the reference's own float32 and float64 differ by 6e-5. */
const chainTolerance = 2e-4;

for (const set of Object.keys(sets)) {
  test(`${set}: the noise predicted from the reference's own x of every step`, async () => {
    const options = steps(set);
    const checkpoint = await openCheckpoint(goldenCheckpoint(name));
    const parts = await gatherParts(checkpoint, { ...options, unnormKey: samples[0]!.unnorm_key });
    const { schedule } = parts.diffusion!;
    const width = checkpoint.config.llama.width;
    // one step, whose rows are exchanged between two runs
    const one = { count: 1, timeEmbeddings: new Float32Array(width), factors: new Float32Array(4) };
    const opening = await cpuSessionOptions(parts, {});
    const session = await OnnxSession.open({
      ...opening,
      denoiser: { model: opening.denoiser!.model, steps: one },
    });
    let compared = 0;
    for (const sample of samples) {
      const golden = tensors(sample);
      const { observation } = await readObservation(join(root, sample.observation));
      const images = await preprocessImages(pickFrames(observation, parts.platform.cameras), {
        imageSize: checkpoint.config.imageSize,
        ...{ centerCrop: true, jpeg: true, threads: 1 },
      });
      const bounds = checkpoint.statistics.get(sample.unnorm_key)!.proprio!;
      const proprio = normalizeProprio(observation.state!, bounds, 'q99');
      const { promptIds } = encodePrompt(parts.tokenizers, sample.instruction, parts.promptLimits);
      const ids = { promptIds: [...promptIds, parts.tokenizers.llama.endId], siglipIds: null };
      const state = await session.encodeInstruction(ids);
      const x = golden.get(`${set}.x`)!;
      const wanted = golden.get(`${set}.noise_pred`)!;
      const size = parts.sizes.chunk * parts.sizes.actionDim;
      for (let step = 0; step < schedule.count; step++) {
        one.timeEmbeddings.set(schedule.timeEmbeddings.subarray(step * width, (step + 1) * width));
        one.factors.set(schedule.factors.subarray(step * 4, (step + 1) * 4));
        const noise = x.slice(step * size, (step + 1) * size);
        const output = await session.run({ images, proprio, noise }, state);
        const label = `${sample.golden}, step ${step}`;
        const row = wanted.subarray(step * size, (step + 1) * size);
        const difference = maxAbsDifference(output.noise!, row);
        assert.ok(difference <= noiseTolerance, `${label}: predicted noise differs by ${difference}`);
        // the reference's x0 and next x follow from the same noise, so only its own rounding is left
        const next = x.subarray((step + 1) * size, (step + 2) * size);
        assert.ok(maxAbsDifference(output.actions, next) <= chainTolerance, `${label}: next x`);
        compared++;
      }
      state.release();
    }
    await session.close();
    assert.is(compared, samples.length * schedule.count);
  });

  // how weights are held changes nothing that differs between the sets
  for (const weights of set === 't10' ? (['folded', 'mapped'] as const) : (['folded'] as const)) {
    test(`${set}, weights ${weights}: whole chains`, async () => {
      await using policy = await loadPolicy(goldenCheckpoint(name), { ...steps(set), weights });
      for (const sample of samples) {
        const golden = tensors(sample);
        const { observation } = await readObservation(join(root, sample.observation));
        const { instruction, unnorm_key: unnormKey } = sample;
        const noise = golden.get('noise')!;
        const chunk = await policy.predict(observation, { instruction, unnormKey, noise });
        const size = chunk.normalized.length;
        const difference = maxAbsDifference(chunk.normalized, golden.get(`${set}.x`)!.slice(-size));
        assert.ok(difference <= chainTolerance, `${sample.golden}: actions differ by ${difference}`);
        const actions = sample.sets[set]!.actions_fp32.flat();
        assert.ok(maxAbsDifference(chunk.actions, actions) <= chainTolerance, `${sample.golden}: units`);
        assert.ok(chunk.normalized.every((value) => Math.abs(value) <= 1));
      }
    });
  }
}

test('stages are those of the reference', async () => {
  const sample = samples.find(({ stages }) => stages)!;
  const golden = tensors(sample);
  await using policy = await loadPolicy(goldenCheckpoint(name), steps('t50'));
  const { observation } = await readObservation(join(root, sample.observation));
  const stages = await policy.stages(observation, {
    instruction: sample.instruction,
    unnormKey: sample.unnorm_key,
    noise: golden.get('noise')!,
  });
  let compared = 0;
  for (const [key, wanted] of golden) {
    const found = stages.get(key.replace(/^t50\./, ''));
    if (/^t10|^t50i10/.test(key)) continue;
    assert.ok(found, `${key}: expected this stage, found none`);
    const difference = maxAbsDifference(found.data, wanted);
    assert.ok(difference <= 1e-3, `${key}: differs by ${difference}`);
    compared++;
  }
  assert.ok(compared >= 9, `expected nine tensors or more to be compared, found ${compared}`);
});

test('a seed repeats, another differs, and without one every prediction does', async () => {
  const options = { ...steps('t10'), unnormKey: samples[0]!.unnorm_key };
  const { observation } = await readObservation(join(root, 'obs0'));
  await using policy = await loadPolicy(goldenCheckpoint(name), options);
  const { instruction } = samples[0]!;
  const predict = async (given: { seed?: number; noise?: readonly number[] }) =>
    (await policy.predict(observation, { instruction, ...given })).normalized;
  const first = await predict({ seed: 3 });
  assert.equal(await predict({ seed: 3 }), first);
  assert.not.equal(await predict({ seed: 4 }), first);
  assert.not.equal(await predict({}), await predict({}));
  await using seeded = await loadPolicy(goldenCheckpoint(name), { ...options, seed: 3 });
  assert.equal((await seeded.predict(observation, { instruction })).normalized, first);
  for (const [given, words] of [
    [{ noise: [1, 2] }, /expected 56 finite numbers \[8, 7\], found 2/],
    [{ noise: Array(56).fill(Number.NaN) }, /not all finite/],
    [{ noise: Array(56).fill(0), seed: 1 }, /one of them/],
    [{ seed: -1 }, /seed/],
  ] as const) {
    const error = await predict(given).catch((cause: unknown) => cause);
    assert.is((error as { code: string }).code, 'OPTION_INVALID');
    assert.match((error as Error).message, words);
  }
});

test('steps that no schedule has, files that lack, and options of other heads are refused', async () => {
  const refused = async (dir: string, options: PolicyOptions, code: string, words: RegExp) => {
    const error = await loadPolicy(dir, { platform: 'libero', ...options }).catch((cause: unknown) => cause);
    assert.is((error as { code: string }).code, code, String(error));
    assert.match((error as Error).message, words);
  };
  const dir = goldenCheckpoint(name);
  const large = { diffusionSteps: 11, diffusionTrainSteps: 10 };
  await refused(dir, large, 'OPTION_INVALID', /at most diffusionTrainSteps, 10, found 11/);
  await refused(dir, { diffusionSteps: 0 }, 'OPTION_INVALID', /diffusionSteps/);
  await refused(dir, { head: 'l1' }, 'OPTION_INVALID', /expected diffusion/);
  await refused(goldenCheckpoint('oft-tiny'), { diffusionSteps: 5 }, 'OPTION_INVALID', /diffusion head only/);
  const copy = goldenCopy(name);
  rmSync(join(copy, 'noisy_action_projector--60000_checkpoint.pt'));
  await refused(copy, {}, 'CHECKPOINT_FILE_MISSING', /noisy_action_projector/);
});

test('steps that nobody gave are said', async () => {
  await using policy = await loadPolicy(goldenCheckpoint(name), { platform: 'libero', onNotice: () => {} });
  assert.ok(policy.notices.some(({ code }) => code === 'DIFFUSION_STEPS_ASSUMED'));
});

test("SemanticVLA: keys and values of the prefix, kept across steps, give the whole sequence's actions", async () => {
  const dir = join(scratchFolder(), 'diffusion');
  const overrides = { dinov2Depth: 3, siglipDepth: 3, dinov2Width: 32, siglipWidth: 48 };
  const small = { dinov2Heads: 2, siglipHeads: 2, textWidth: 24, textHeads: 2, textLayers: 1, textMlp: 40 };
  const language = { llamaWidth: 32, llamaHeads: 4, llamaKvHeads: 2, llamaLayers: 3, llamaMlp: 48 };
  await synthesizeCheckpoint('diffusion', dir, {
    overrides: { ...overrides, ...small, ...language, textVocab: 512, loraRank: 2 },
  });
  await using policy = await loadPolicy(dir, { diffusionSteps: 6, seed: 1 });
  assert.is(policy.variant, 'SemanticVLA');
  const { observation } = await readObservation(join(goldenRoot, 'libero-tiny', 'obs0'));
  const instruction = 'pick up the bowl';
  const { normalized } = await policy.predict(observation, { instruction });
  // stages compute every row of every step
  const stages = await policy.stages(observation, { instruction });
  assert.equal(stages.get('x')!.shape, [7, 8, 7]);
  const difference = maxAbsDifference(normalized, stages.get('actions.normalized')!.data);
  assert.ok(difference <= chainTolerance, `actions differ by ${difference}`);
  const [first, second] = [0, 1].map((step) => stages.get(`step${step}.llm.inputs_embeds`)!.data);
  assert.ok(maxAbsDifference(first!, second!) > 0.01, 'noise and time reach the language model');
});

test.run();
