/** Folders that do not show which policy they hold: incomplete copies, renamed files, other heads. */

import { cpSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { inspectCheckpoint } from '../../lib/inspect/inspectCheckpoint.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import type { Notice } from '../../lib/support/notices.ts';
import type { PolicyOptions } from '../../lib/types.ts';
import { errorOf, fileNamed } from '../checkpoint/editCheckpoint.ts';
import { archive } from '../checkpoint/refusals.ts';
import { safetensors } from '../checkpoint/safetensorsAssembler.ts';
import type { GoldenName } from '../helpers/golden.ts';
import { goldenCase, maxAbsDifference } from '../helpers/goldenCase.ts';
import { type Base, base, editJson, remove } from './bases.ts';

const test = suite('what a folder does not say');
const fromBefore = 5e-5;

type Change = (dir: string) => void | Promise<void>;

async function refused(
  name: GoldenName,
  change: Change,
  options: PolicyOptions,
  code: string,
  ...says: RegExp[]
): Promise<void> {
  const { dir } = await base(name);
  await change(dir);
  const error = await errorOf(loadPolicy(dir, options));
  assert.is(error.code, code, error.message);
  for (const words of says) assert.match(error.message, words);
  rmSync(dir, { recursive: true });
}

async function predict({ dir, observation, instruction }: Base, options: PolicyOptions = {}) {
  const heard: Notice[] = [];
  await using policy = await loadPolicy(dir, { ...options, onNotice: (notice) => heard.push(notice) });
  const { actions } = await policy.predict(observation, { instruction });
  assert.equal(policy.notices, heard);
  return { actions, codes: heard.map(({ code }) => code), messages: heard.map(({ message }) => message) };
}

const headless: Change = (dir) => remove(dir, 'action_head--', 'proprio_projector--');
const openVla: Change = (dir) => {
  remove(dir, 'action_head--', 'proprio_projector--', 'lora_adapter', 'dataset_statistics.json');
};

test('an action head that was not copied', async () => {
  const noHead: Change = (dir) => remove(dir, 'action_head--');
  const missing =
    /expected one file action_head--\*\.pt, since .*proprio_projector--150000_checkpoint\.pt is there/;
  await refused('oft-tiny', noHead, {}, 'CHECKPOINT_FILE_MISSING', missing);
  await refused('oft-tiny', noHead, { head: 'discrete' }, 'CHECKPOINT_FILE_MISSING', missing, /move .* away/);
  await refused(
    'oft-tiny',
    noHead,
    { proprio: false, platform: 'libero' },
    'CHECKPOINT_FILE_MISSING',
    missing,
  );
  await refused(
    'libero-tiny',
    noHead,
    { head: 'discrete' },
    'CHECKPOINT_FILE_MISSING',
    /num_action_tokens is 3/,
  );
});

test('neither head nor projector: asked for by name, three ways out', async () => {
  const ways = [/incomplete copy/i, /pass head discrete, and the cameras/, /pass head autoregressive/];
  await refused('oft-tiny', headless, {}, 'HEAD_REQUIRED', ...ways);
  await refused('oft-tiny', openVla, { unnormKey: 'libero_object_no_noops' }, 'HEAD_REQUIRED', ...ways);
  await refused('oft-tiny', headless, { head: 'l1' }, 'CHECKPOINT_FILE_MISSING', /option head says .* L1/);
  await refused('oft-tiny', headless, { head: 'diffusion' }, 'CHECKPOINT_FILE_MISSING', /diffusion head/);
  // without its archives the folder looks like OpenVLA's own: who says so gets one action at a time
  const { dir } = await base('oft-tiny');
  await headless(dir);
  await using policy = await loadPolicy(dir, { head: 'autoregressive', onNotice: () => {} });
  assert.is(policy.platform.chunk, 1);
  assert.not(policy.platform.proprio);
  await refused('oft-tiny', headless, { head: 'Discrete' as 'discrete' }, 'OPTION_INVALID', /l1, discrete/);
});

test('what the caller says of the head must agree with the files', async () => {
  for (const head of ['discrete', 'diffusion', 'autoregressive'] as const)
    await refused(
      'oft-tiny',
      () => {},
      { head },
      'OPTION_INVALID',
      /expected l1, since .*action_head--150000/,
    );
  const given = await base('oft-tiny');
  const { actions } = await predict(given, { head: 'l1' });
  assert.ok(maxAbsDifference(actions, given.actions.flat()) <= fromBefore);
});

test('a diffusion policy is refused by name, and so are parts of one', async () => {
  const diffusion = archive('action_head--', (tensors) => {
    for (const [name, value] of [...tensors]) {
      tensors.delete(name);
      tensors.set(name.replace('model.', 'noise_predictor.mlp_resnet.'), value);
    }
  });
  const noisy: Change = (dir) => {
    cpSync(fileNamed(dir, 'proprio_projector--'), join(dir, 'noisy_action_projector--150000_checkpoint.pt'));
  };
  await refused(
    'oft-tiny',
    diffusion,
    {},
    'CHECKPOINT_FILE_MISSING',
    /noisy_action_projector--\*\.pt, since .* is a diffusion head/,
  );
  await refused('oft-tiny', diffusion, { head: 'diffusion' }, 'CHECKPOINT_FILE_MISSING', /diffusion/);
  await refused('oft-tiny', diffusion, { head: 'l1' }, 'OPTION_INVALID', /expected diffusion/);
  await refused('oft-tiny', noisy, {}, 'CHECKPOINT_AMBIGUOUS', /action_head--150000.*noisy_action_projector/);
  await refused(
    'oft-tiny',
    (dir) => [noisy, headless].forEach((change) => void change(dir)),
    { head: 'discrete' },
    'CHECKPOINT_FILE_MISSING',
    /noisy_action_projector--150000_checkpoint\.pt is there/,
  );
});

test('discrete tokens: how many images is asked for, whatever else is known', async () => {
  const asked = /expected the cameras .*full_image for one image, full_image,wrist_image for all of libero's/;
  await refused('oft-tiny', headless, { head: 'discrete' }, 'PLATFORM_REQUIRED', asked);
  const noProjector: Change = (dir) => remove(dir, 'proprio_projector--');
  await refused(
    'oft-tiny',
    noProjector,
    {},
    'CHECKPOINT_FILE_MISSING',
    /proprio_projector--\*\.pt.*proprio false/,
  );
  await refused('oft-tiny', noProjector, { proprio: false }, 'PLATFORM_REQUIRED', asked);

  const given = await base('oft-tiny');
  headless(given.dir);
  const two = await predict(given, { head: 'discrete', cameras: ['full_image', 'wrist_image'] });
  const one = await predict(given, { head: 'discrete', cameras: ['full_image'] });
  const named = await predict(given, { head: 'discrete', platform: 'libero' });
  const sample = goldenCase('oft-tiny').samples[0]!;
  assert.ok(maxAbsDifference(two.actions, sample.discrete!.actions_fp32.flat()) <= 1e-6);
  assert.equal(named.actions, two.actions);
  assert.ok(maxAbsDifference(one.actions, two.actions) > 1e-3);
  assert.equal([two.codes, one.codes, named.codes], [[], [], ['CAMERAS_FROM_PLATFORM']]);
  const report = await inspectCheckpoint(await openCheckpoint(given.dir, { head: 'discrete' }));
  assert.match(report.platformProblem!, asked);
});

test('a joint state that is switched off though it was trained is said', async () => {
  const { codes } = await predict(await base('oft-tiny'), { platform: 'libero', proprio: false });
  assert.equal(codes, ['PROPRIO_UNUSED']);
});

const rename =
  (kind: string, to: string): Change =>
  (dir) =>
    renameSync(fileNamed(dir, kind), join(dir, to));

test("names that the reference's finder takes are taken", async () => {
  for (const name of [
    'action_head-150000_checkpoint.pt',
    'action_head_latest_checkpoint.pt',
    'libero_action_head--150000_checkpoint.pth',
    'checkpoint_150000_action_head.bin',
  ]) {
    const given = await base('oft-tiny');
    rename('action_head--', name)(given.dir);
    writeFileSync(join(given.dir, `${name}.sha256`), 'a note about the file\n');
    const { sources, notices } = await openCheckpoint(given.dir);
    assert.is(sources.actionHead, join(sources.actionHead!, '..', name));
    const isOtherStep = name.includes('latest');
    assert.equal(
      notices.map(({ code }) => code),
      isOtherStep ? ['STEPS_MIXED'] : [],
    );
  }
});

const nearMisses: readonly [string, string][] = [
  ['action_head--', 'action_head--150000.pt'],
  ['action_head--', 'action-head--150000_checkpoint.pt'],
  ['action_head--', 'Action_Head--150000_checkpoint.pt'],
  ['action_head--', 'acton_head--150000_checkpoint.pt'],
  ['action_head--', 'action_head--150000_chkpt.pt'],
  ['action_head--', 'actionhead.safetensors'],
  ['action_head--', '.action_head--150000_checkpoint.pt.Xk3f9a'],
  ['action_head--', 'action_head--150000_checkpoint.pt.incomplete'],
  ['proprio_projector--', 'proprio_projector--150000.pt'],
  ['proprio_projector--', 'propio_projector--150000_checkpoint.pt'],
  ['proprio_projector--', 'proprioprojector_150000_checkpoint.pt'],
  ['proprio_projector--', 'proprio_projector'],
];

test(`${nearMisses.length} names that are nearly right are named, never loaded and never passed over`, async () => {
  for (const [kind, name] of nearMisses) {
    const words = [
      new RegExp(`expected one file ${kind}<step>_checkpoint\\.pt, found `),
      new RegExp(name.replace('.', '\\.')),
    ];
    await refused('oft-tiny', rename(kind, name), {}, 'CHECKPOINT_FILE_MISSING', ...words);
    // what the caller states does not turn the file into another one
    const all: PolicyOptions = { head: 'discrete', proprio: false, platform: 'libero' };
    await refused('oft-tiny', rename(kind, name), all, 'CHECKPOINT_FILE_MISSING', ...words);
  }
  const vision = 'vision_backbone_30000.pt';
  await refused(
    'libero-tiny',
    rename('vision_backbone--', vision),
    {},
    'CHECKPOINT_FILE_MISSING',
    /vision_backbone_30000\.pt/,
  );
});

test('a leftover beside the right file is said, two right ones are refused', async () => {
  const copy =
    (name: string): Change =>
    (dir) =>
      cpSync(fileNamed(dir, 'action_head--'), join(dir, name));
  for (const name of [
    'action_head--1_checkpoint.pt',
    'action_head--150000_checkpoint.pt.bak',
    'action_head--150000_checkpoint (1).pt',
  ])
    await refused('oft-tiny', copy(name), {}, 'CHECKPOINT_AMBIGUOUS', /found action_head--.*, action_head--/);
  const { dir } = await base('oft-tiny');
  copy('old-action-head.pt')(dir);
  const { notices } = await openCheckpoint(dir);
  assert.equal(
    notices.map(({ code }) => code),
    ['FILE_UNREAD'],
  );
  assert.match(notices[0]!.message, /old-action-head\.pt: not read; action_head--150000_checkpoint\.pt is/);
});

test('archives of different steps are said', async () => {
  const given = await base('libero-tiny');
  rename('vision_backbone--', 'vision_backbone--20000_checkpoint.pt')(given.dir);
  const { codes, messages, actions } = await predict(given);
  assert.equal(codes, ['STEPS_MIXED']);
  assert.match(
    messages[0]!,
    /step 20000 \(vision_backbone--20000_checkpoint\.pt\), step 30000 \(action_head--30000/,
  );
  assert.ok(maxAbsDifference(actions, given.actions.flat()) <= fromBefore);
  const report = await inspectCheckpoint(await openCheckpoint(given.dir));
  assert.equal(
    report.notices.map(({ code }) => code),
    ['STEPS_MIXED'],
  );

  const folder = join(given.dir, 'run--20000_chkpt');
  mkdirSync(folder);
  cpSync((await base('oft-tiny')).dir, folder, { recursive: true });
  const [notice] = (await openCheckpoint(folder)).notices;
  assert.match(notice!.message, /step 150000 \(action_head.*step 20000 \(the folder run--20000_chkpt\)/);
});

test('statistics that were not copied: the base model takes their place, loudly', async () => {
  for (const extra of [null, 'dataset_statistics (1).json']) {
    const given = await base('libero-tiny');
    if (extra !== null) cpSync(join(given.dir, 'dataset_statistics.json'), join(given.dir, extra));
    remove(given.dir, 'dataset_statistics.json');
    const unnormKey = 'libero_spatial_no_noops';
    const { codes, messages } = await predict(given, { unnormKey });
    assert.equal(codes, ['STATISTICS_FROM_CONFIG']);
    assert.match(messages[0]!, /dataset_statistics\.json: expected .* using norm_stats of config\.json/);
    if (extra !== null)
      assert.match(messages[0]!, /there is dataset_statistics \(1\)\.json, which is not read/);
    const report = await inspectCheckpoint(await openCheckpoint(given.dir));
    assert.equal(
      report.notices.map(({ code }) => code),
      ['STATISTICS_FROM_CONFIG'],
    );
  }
});

test('statistics of robots that nobody chose do not matter, in config.json neither', async () => {
  const given = await base('oft-tiny');
  editJson(join(given.dir, 'dataset_statistics.json'), (all) => {
    const [own] = Object.values(all);
    editJson(join(given.dir, 'config.json'), (config) => {
      const zero = structuredClone(own) as typeof own;
      for (const name of ['min', 'max', 'q01', 'q99', 'mean', 'std'])
        for (const i of [3, 4, 5]) (zero as typeof config).action[name][i] = 0;
      config.norm_stats = { libero_a: own, jaco_play: zero, other_robot: { action: { q01: [1] } } };
    });
  });
  openVla(given.dir);
  const cameras = ['full_image', 'wrist_image'];
  const options = { head: 'discrete', unnormKey: 'libero_a', cameras } as const;
  const { actions, codes } = await predict(given, options);
  assert.equal(codes, ['STATISTICS_FROM_CONFIG']);
  assert.ok(
    maxAbsDifference(actions, goldenCase('oft-tiny').samples[0]!.discrete!.actions_fp32.flat()) <= 1e-6,
  );
  const error = await errorOf(loadPolicy(given.dir, { unnormKey: 'libero_a' }));
  assert.is(error.code, 'HEAD_REQUIRED');
});

test('OpenVLA-OFT+ without its vision archive: told by the adapter, where it was kept', async () => {
  const adapter =
    (name: string): Change =>
    (dir) => {
      mkdirSync(join(dir, 'lora_adapter'), { recursive: true });
      const header = JSON.stringify({ [name]: { dtype: 'F32', shape: [1], data_offsets: [0, 4] } });
      writeFileSync(
        join(dir, 'lora_adapter', 'adapter_model.safetensors'),
        safetensors(header, Buffer.alloc(4)),
      );
    };
  const tower = 'base_model.model.vision_backbone.vision_backbone.featurizer.blocks.0';
  await refused(
    'oft-tiny',
    adapter(`${tower}.block.attn.qkv.lora_A.weight`),
    {},
    'CHECKPOINT_FILE_MISSING',
    /vision_backbone--\*\.pt, since .*adapter_model\.safetensors was trained with FiLM/,
  );
  const { dir } = await base('oft-tiny');
  adapter(`${tower}.attn.qkv.lora_A.weight`)(dir);
  assert.is((await openCheckpoint(dir)).config.variant, 'OpenVLA-OFT');
});

test.run();
