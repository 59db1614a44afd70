import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { DatasetStatistics } from '../../lib/checkpoint/checkpoint.ts';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import type { PolicyConfig } from '../../lib/checkpoint/policyConfig.ts';
import {
  type PlatformEvidence,
  type PlatformOptions,
  platformNotices,
  resolvePlatform,
  resolveUnnormKey,
} from '../../lib/policy/platform.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { goldenCheckpoint, goldenRoot } from '../helpers/golden.ts';

const test = suite('platform');

/** A checkpoint of so many dimensions, with datasets of these names. */
function checkpoint(
  actionDim: number | null,
  proprioDim: number | null,
  keys: string[],
  statisticsDim = actionDim,
) {
  const head = { kind: actionDim === null ? 'discrete' : 'single' };
  const dataset = { actionDim: statisticsDim ?? 7, proprioDim } as DatasetStatistics;
  return {
    dir: '/policies/a',
    config: { actionDim, proprioDim, head } as unknown as PolicyConfig,
    statistics: new Map(keys.map((key) => [key, dataset])),
  } satisfies PlatformEvidence;
}

const libero = () => checkpoint(7, 8, ['libero_spatial_no_noops', 'another_dataset']);
const aloha = () => checkpoint(14, 14, ['aloha_fold_the_tshirt_dataset']);
const bridge = () => checkpoint(7, 7, ['bridge_orig']);

function refused(run: () => unknown, code: string, ...messages: RegExp[]): void {
  assert.throws(run, (error: unknown) => {
    assert.instance(error, SemanticVlaError);
    assert.is((error as SemanticVlaError).code, code);
    for (const message of messages) assert.match((error as SemanticVlaError).message, message);
    return true;
  });
}

test('presets, inferred from dimensions', () => {
  assert.equal(resolvePlatform(libero(), {}), {
    name: 'libero',
    cameras: ['full_image', 'wrist_image'],
    proprio: true,
    centerCrop: true,
    jpeg: true,
    chunk: 8,
    normalization: 'q99',
  });
  assert.equal(resolvePlatform(aloha(), {}), {
    name: 'aloha',
    cameras: ['full_image', 'left_wrist_image', 'right_wrist_image'],
    proprio: true,
    centerCrop: true,
    jpeg: true,
    chunk: 25,
    normalization: 'minmax',
  });
  assert.equal(resolvePlatform(bridge(), {}), {
    name: 'bridge',
    cameras: ['full_image'],
    proprio: true,
    centerCrop: false,
    jpeg: true,
    chunk: 5,
    normalization: 'q99',
  });
  assert.is(resolvePlatform(checkpoint(14, 14, ['my_robot']), {}).name, 'aloha');
});

test('every golden checkpoint tells its platform', async () => {
  for (const [name, platform] of [
    ['libero-tiny', 'libero'],
    ['aloha-tiny', 'aloha'],
    ['oft-tiny', 'libero'],
  ] as const) {
    const resolved = resolvePlatform(await openCheckpoint(goldenCheckpoint(name)), {});
    const golden = JSON.parse(readFileSync(join(goldenRoot, name, 'case.json'), 'utf8'));
    assert.is(resolved.name, platform);
    assert.is(resolved.cameras.length, golden.num_images_in_input);
    assert.is(resolved.proprio, golden.use_proprio);
    assert.is(resolved.centerCrop, golden.center_crop);
    assert.is(resolved.chunk, golden.chunk);
    assert.is(resolved.normalization, golden.normalization === 'bounds' ? 'minmax' : 'q99');
  }
});

test('dataset names decide between presets of the same dimensions', () => {
  const named = checkpoint(7, null, ['libero_object']);
  refused(
    () => resolvePlatform(named, {}),
    'CHECKPOINT_FILE_MISSING',
    /proprio_projector.*platform libero uses/,
  );
  const cameras = ['full_image'];
  assert.is(resolvePlatform(named, { proprio: false, cameras }).name, 'libero');
  refused(
    () => resolvePlatform(named, { proprio: false }),
    'PLATFORM_REQUIRED',
    /cameras of a policy without proprioception.*full_image for one image, full_image,wrist_image for all/,
  );
  refused(
    () => resolvePlatform(checkpoint(7, null, ['x']), {}),
    'PLATFORM_REQUIRED',
    /fits libero and bridge/,
  );
  refused(
    () => resolvePlatform(checkpoint(7, null, ['libero_a', 'bridge_b']), { proprio: false }),
    'PLATFORM_REQUIRED',
    /datasets libero_a, bridge_b, which fits libero and bridge/,
    /Pass platform \(libero, bridge\)/,
  );
});

test('contradicting evidence is refused with what was seen and what to pass', () => {
  refused(
    () => resolvePlatform(checkpoint(7, 8, ['bridge_orig']), {}),
    'PLATFORM_REQUIRED',
    /\/policies\/a: .*actions of 7 dimensions; proprioception of 8; datasets bridge_orig, which fits no preset/,
    /Pass platform \(libero\)/,
  );
  refused(
    () => resolvePlatform(checkpoint(9, 9, ['x']), {}),
    'PLATFORM_REQUIRED',
    /custom with cameras, proprio/,
  );
  refused(
    () => resolvePlatform(libero(), {}, ['full_image']),
    'PLATFORM_REQUIRED',
    /cameras full_image, which fits no preset/,
    /overriding single values such as cameras/,
  );
  assert.is(resolvePlatform(libero(), {}, ['wrist_image', 'full_image']).name, 'libero');
  assert.equal(resolvePlatform(libero(), { cameras: ['full_image'] }, ['full_image']).cameras, [
    'full_image',
  ]);
});

test('a named platform is not questioned by dataset names or cameras', () => {
  const platform = resolvePlatform(checkpoint(7, 8, ['bridge_orig']), { platform: 'libero' }, ['full_image']);
  assert.equal([platform.name, platform.cameras.length], ['libero', 2]);
  refused(
    () => resolvePlatform(libero(), { platform: 'aloha' }),
    'OPTION_INVALID',
    /Platform aloha .*expected actions of 14 dimensions, found an action head of 7/,
  );
});

test('each value can be overridden by itself', () => {
  const preset = resolvePlatform(libero(), {});
  const changes: PlatformOptions[] = [
    { cameras: ['wrist_image'] },
    { proprio: false },
    { centerCrop: false },
    { jpeg: false },
    { chunk: 3 },
    { normalization: 'minmax' },
  ];
  for (const change of changes) assert.equal(resolvePlatform(libero(), change), { ...preset, ...change });
});

test('the preset is not shared with the caller', () => {
  (resolvePlatform(libero(), {}).cameras as string[]).push('x');
  assert.is(resolvePlatform(libero(), {}).cameras.length, 2);
  const cameras = ['full_image'];
  const platform = resolvePlatform(libero(), { cameras });
  cameras.push('x');
  assert.is(platform.cameras.length, 1);
});

test('custom needs every value; every value is enough', () => {
  const all = {
    cameras: ['top'],
    proprio: false,
    centerCrop: false,
    chunk: 4,
    normalization: 'minmax',
  } as const;
  const strange = checkpoint(9, null, ['x']);
  assert.equal(resolvePlatform(strange, all), { name: 'custom', jpeg: true, ...all });
  assert.equal(resolvePlatform(strange, { ...all, platform: 'custom' }), {
    name: 'custom',
    jpeg: true,
    ...all,
  });
  for (const name of Object.keys(all)) {
    const rest: Record<string, unknown> = { ...all, platform: 'custom' };
    delete rest[name];
    refused(
      () => resolvePlatform(strange, rest),
      'OPTION_REQUIRED',
      new RegExp(`the option ${name}, found none`),
    );
  }
});

test('wrong values are refused', () => {
  const invalid = (options: object, message: RegExp) =>
    refused(() => resolvePlatform(libero(), options), 'OPTION_INVALID', message);
  invalid({ platform: 'Libero' }, /one of libero, aloha, bridge, custom for platform but received "Libero"/);
  invalid({ platform: 'toString' }, /for platform/);
  invalid({ cameras: [] }, /a list of distinct camera names for cameras but received \[\]/);
  invalid({ cameras: ['a', 'a'] }, /distinct/);
  invalid({ cameras: ['a', ''] }, /distinct/);
  invalid({ cameras: 'full_image' }, /received "full_image" of type string/);
  for (const chunk of [0, -1, 1.5, Number.NaN, '8', Number.POSITIVE_INFINITY]) {
    invalid({ chunk }, /a positive integer for chunk/);
  }
  invalid({ normalization: 'bounds' }, /q99 or minmax for normalization but received "bounds"/);
  invalid({ proprio: 1 }, /true or false for proprio but received 1/);
  invalid({ centerCrop: null }, /true or false for centerCrop but received null/);
  invalid({ jpeg: 'no' }, /true or false for jpeg/);
});

test('proprioception needs its projector, and discrete heads take none', () => {
  const without = checkpoint(7, null, ['libero_x']);
  refused(
    () => resolvePlatform(without, { proprio: true }),
    'OPTION_INVALID',
    /expected proprio_projector--\*\.pt, since option proprio is true, found no such file/,
  );
  const discrete = checkpoint(null, null, ['libero_x'], 7);
  const one = { cameras: ['full_image'] };
  assert.is(resolvePlatform(discrete, one).proprio, false);
  refused(() => resolvePlatform(discrete, {}), 'PLATFORM_REQUIRED', /cameras of a policy of discrete tokens/);
  assert.is(resolvePlatform(discrete, { platform: 'libero' }).cameras.length, 2);
  refused(() => resolvePlatform(discrete, { proprio: true }), 'OPTION_INVALID', /discrete action tokens/);
});

test('an OpenVLA-OFT policy of ALOHA without FiLM is said: no file tells an incomplete copy from a plain one', () => {
  const opened = (film: boolean, family = 'openvla-oft') => {
    const given = checkpoint(14, 14, ['aloha_x']);
    return { ...given, config: { ...given.config, family, dinov2: { film } } as PolicyConfig };
  };
  const codes = (evidence: PlatformEvidence) =>
    platformNotices(evidence, {}, resolvePlatform(evidence, {})).map(({ code }) => code);
  assert.equal(codes(opened(false)), ['FILM_ABSENT']);
  assert.equal([codes(opened(true)), codes(opened(false, 'semanticvla'))], [[], []]);
});

test('normalization key', () => {
  assert.is(resolveUnnormKey(bridge()), 'bridge_orig');
  assert.is(resolveUnnormKey(libero(), 'another_dataset'), 'another_dataset');
  refused(
    () => resolveUnnormKey(libero()),
    'UNNORM_KEY_REQUIRED',
    /holds 2 datasets.*Pass one of libero_spatial_no_noops, another_dataset/,
  );
  refused(
    () => resolveUnnormKey(libero(), 'libero_spatial'),
    'UNNORM_KEY_UNKNOWN',
    /found "libero_spatial"\. Did you mean libero_spatial_no_noops\?/,
  );
  refused(
    () => resolveUnnormKey(checkpoint(7, 8, ['libero_10']), 'libero_10_no_noops'),
    'UNNORM_KEY_UNKNOWN',
    /Did you mean libero_10\?/,
  );
  refused(
    () => resolveUnnormKey(libero(), 'anotherdataset'),
    'UNNORM_KEY_UNKNOWN',
    /Did you mean another_dataset\?/,
  );
  refused(() => resolveUnnormKey(libero(), 'zzz'), 'UNNORM_KEY_UNKNOWN', /found "zzz"\.$/);
  refused(
    () => resolveUnnormKey(libero(), 3 as unknown as string),
    'OPTION_INVALID',
    /a string for unnormKey/,
  );
  refused(() => resolveUnnormKey(checkpoint(7, 8, [])), 'UNNORM_KEY_REQUIRED', /holds 0 datasets/);
});

test.run();
