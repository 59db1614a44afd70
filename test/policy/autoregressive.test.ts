import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readObservation } from '../../lib/observation/readObservation.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import { discreteActions, requireWholeAnswer, unnormalizeActions } from '../../lib/transforms/actions.ts';
import type { PolicyOptions } from '../../lib/types.ts';
import { goldenCheckpoint, goldenCopy, goldenRoot } from '../helpers/golden.ts';
import { maxAbsDifference } from '../helpers/goldenCase.ts';
import { readTensors } from '../helpers/readSafetensors.ts';

const test = suite('OpenVLA, one token after another, against the reference');

interface Sample {
  readonly observation: string;
  readonly instruction: string;
  readonly prompt_style: 'openvla' | 'v01';
  readonly center_crop: boolean;
  readonly unnorm_key: string;
  readonly golden: string;
  readonly prompt_ids: readonly number[];
  readonly generated_ids_fp32: readonly number[];
  readonly bins_fp32: readonly number[];
  readonly actions_fp32: readonly number[];
  readonly actions_finetune_fp32: readonly number[];
}

const name = 'openvla-ar-tiny';
const root = join(goldenRoot, name);
const { samples, decode } = JSON.parse(readFileSync(join(root, 'case.json'), 'utf8')) as {
  readonly samples: readonly Sample[];
  readonly decode: {
    readonly unnorm_key: string;
    readonly ids: readonly { id: number; bin: number; normalized: number; actions: readonly number[] }[];
  };
};
const styleOf = ({ prompt_style: style }: Sample) => (style === 'v01' ? 'openvla-v01' : 'openvla');
const optionsOf = (sample: Sample): PolicyOptions => ({
  head: 'autoregressive',
  centerCrop: sample.center_crop,
  prompt: styleOf(sample),
  unnormKey: sample.unnorm_key,
  // base statistics are this policy's own
  onNotice: () => {},
});

/** Policies of equal options, each with its samples. */
const kindOf = ({ center_crop: crop, prompt_style: style }: Sample) => `${crop} ${style}`;
const groups = [...new Set(samples.map(kindOf))].map((kind) => samples.filter((one) => kindOf(one) === kind));
assert.is(groups.length, 4);

for (const [n, group] of groups.entries()) {
  const [first] = group as [Sample];
  // how weights are held changes nothing that differs between the groups
  for (const weights of n === 0 ? (['folded', 'mapped'] as const) : (['folded'] as const)) {
    test(`crop ${first.center_crop}, prompt ${first.prompt_style}, weights ${weights}: tokens exact`, async () => {
      await using policy = await loadPolicy(goldenCheckpoint(name), { ...optionsOf(first), weights });
      assert.equal(policy.platform.cameras, ['full_image']);
      for (const sample of group) {
        const { observation } = await readObservation(join(root, sample.observation));
        const { actions, shape } = await policy.predict(observation, { instruction: sample.instruction });
        assert.equal(shape, [1, 7]);
        // a look-up in float64: another token would be 4e-3 away
        const difference = maxAbsDifference(actions, sample.actions_fp32);
        assert.ok(difference <= 1e-12, `${sample.golden}: actions differ by ${difference}`);
      }
    });
  }

  test(`crop ${first.center_crop}, prompt ${first.prompt_style}: ids, bins, images and logits`, async () => {
    await using policy = await loadPolicy(goldenCheckpoint(name), optionsOf(first));
    // the last one of a group is a frame of another size
    const sample = group.at(-1)!;
    const golden = readTensors(join(root, sample.golden));
    const { observation } = await readObservation(join(root, sample.observation));
    const stages = await policy.stages(observation, { instruction: sample.instruction });
    const list = (key: string) => [...stages.get(key)!.data];
    assert.equal(list('prompt.ids'), sample.prompt_ids);
    assert.equal(list('generated.ids'), sample.generated_ids_fp32);
    assert.equal(list('generated.bins'), sample.bins_fp32);
    const image = golden.get('image.resized');
    if (image !== undefined) assert.is(maxAbsDifference(stages.get('image0.cropped')!.data, image), 0);
    // float32 in another order: 8e-6; the smallest mistake that is listed: 1e-3
    const logits = stages.get('generated.action_logits')!;
    assert.equal(logits.shape, [7, 256]);
    const difference = maxAbsDifference(logits.data, golden.get('generated.action_logits')!);
    assert.ok(difference <= 1e-4, `${sample.golden}: logits differ by ${difference}`);
  });
}

test("what the language model reads and leaves is the reference's", async () => {
  const [sample] = samples as readonly [Sample];
  const golden = readTensors(join(root, sample.golden));
  await using policy = await loadPolicy(goldenCheckpoint(name), optionsOf(sample));
  const { observation } = await readObservation(join(root, sample.observation));
  const stages = await policy.stages(observation, { instruction: sample.instruction });
  for (const key of ['vision_tokens', 'llm.inputs_embeds', 'llm.final'])
    assert.ok(maxAbsDifference(stages.get(key)!.data, golden.get(key)!) <= 1e-3, key);
});

test("a fine-tune's statistics take the place of the base's, and need no key", async () => {
  const dir = goldenCopy(name);
  copyFileSync(join(root, 'finetune', 'dataset_statistics.json'), join(dir, 'dataset_statistics.json'));
  await using policy = await loadPolicy(dir, { head: 'autoregressive', centerCrop: true });
  for (const sample of samples.filter((one) => one.center_crop && one.prompt_style === 'openvla')) {
    const { observation } = await readObservation(join(root, sample.observation));
    const { actions } = await policy.predict(observation, { instruction: sample.instruction });
    assert.ok(maxAbsDifference(actions, sample.actions_finetune_fp32) <= 1e-12, sample.golden);
  }
});

test('any id is decoded as the reference decodes it', () => {
  const config = JSON.parse(readFileSync(join(root, 'checkpoint', 'config.json'), 'utf8')) as {
    readonly norm_stats: Readonly<
      Record<string, { readonly action: { q01: number[]; q99: number[]; mask?: boolean[] } }>
    >;
  };
  const { action } = config.norm_stats[decode.unnorm_key]!;
  const bounds = { ...action, min: [], max: [], mask: action.mask ?? action.q01.map(() => true) };
  for (const { id, normalized, actions } of decode.ids) {
    const values = discreteActions(Array(7).fill(id), { bins: 256, tokenVocab: 32000 });
    assert.ok(maxAbsDifference(values, Array(7).fill(normalized)) <= 1e-12, `id ${id}`);
    assert.ok(maxAbsDifference(unnormalizeActions(values, bounds, 'q99', 0), actions) <= 1e-12, `id ${id}`);
  }
});

test('an answer that ends early is no action', () => {
  const answer = Int32Array.of(31900, 31800, 2, 31744, 31744, 31744, 31744);
  assert.throws(
    () => requireWholeAnswer(answer, 2),
    (error: { code: string; message: string }) =>
      error.code === 'ACTION_INCOMPLETE' && /after 2 of them: 31900, 31800, 2/.test(error.message),
  );
  requireWholeAnswer(Int32Array.of(31900, 31800, 31900, 31800, 31900, 31800, 2), 2);
});

test('what no such policy has is refused', async () => {
  const dir = goldenCheckpoint(name);
  const refused = async (options: PolicyOptions, code: string, words: RegExp, folder = dir) => {
    const given: PolicyOptions = {
      ...{ head: 'autoregressive', centerCrop: true, unnormKey: 'bridge_orig', onNotice: () => {} },
      ...options,
    };
    const error = await loadPolicy(folder, given).catch((cause: unknown) => cause);
    assert.is((error as { code?: string }).code, code, String(error));
    assert.match((error as Error).message, words);
  };
  await refused({ cameras: ['full_image', 'wrist_image'] }, 'OPTION_INVALID', /one camera/);
  await refused({ chunk: 8 }, 'OPTION_INVALID', /expected 1/);
  await refused({ proprio: true }, 'OPTION_INVALID', /expected false/);
  await refused({ seed: 1 }, 'OPTION_INVALID', /diffusion head only/);
  await refused({ prompt: 'vicuna' as never }, 'OPTION_INVALID', /openvla or openvla-v01/);
  await refused({}, 'OPTION_INVALID', /expected l1/, goldenCheckpoint('oft-tiny'));
  const l1: PolicyOptions = { head: 'l1', platform: 'libero', prompt: 'openvla-v01' };
  await refused(l1, 'OPTION_INVALID', /expected openvla/, goldenCheckpoint('oft-tiny'));
  const bare = await loadPolicy(dir).catch((cause: unknown) => cause);
  assert.is((bare as { code?: string }).code, 'HEAD_REQUIRED');
  assert.match((bare as Error).message, /pass head autoregressive/);
  const open: PolicyOptions = {
    head: 'autoregressive',
    unnormKey: 'fractal20220817_data',
    onNotice: () => {},
  };
  const uncropped = await loadPolicy(dir, open).catch((cause: unknown) => cause);
  // whether it was trained with augmentation, no file says; only Bridge's own policy is known not to
  assert.is((uncropped as { code?: string }).code, 'PLATFORM_REQUIRED', String(uncropped));
});

test('a tower of its own (v01) is refused by name', async () => {
  const dir = goldenCopy(name);
  const file = join(dir, 'config.json');
  const config = { ...JSON.parse(readFileSync(file, 'utf8')), use_fused_vision_backbone: false };
  writeFileSync(file, JSON.stringify(config));
  const error = await loadPolicy(dir, { head: 'autoregressive', centerCrop: true }).catch(
    (cause: unknown) => cause,
  );
  assert.is((error as { code?: string }).code, 'CONFIG_UNSUPPORTED');
  assert.match((error as Error).message, /openvla-v01-7b/);
});

test.run();
