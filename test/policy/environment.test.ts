import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readObservation } from '../../lib/observation/readObservation.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import { resolveActionSpace } from '../../lib/schedule/actionSpace.ts';
import { openLoop } from '../../lib/schedule/openLoop.ts';
import { bridgeGripper, checkConvention, toEnvironment, turned } from '../../lib/transforms/environment.ts';
import type { ImageFrame, PolicyOptions } from '../../lib/types.ts';
import { goldenCheckpoint, goldenRoot } from '../helpers/golden.ts';
import { goldenCase } from '../helpers/goldenCase.ts';

const test = suite("environments' conventions");

const pose = ['x', 'y', 'z', 'roll', 'pitch', 'yaw'];
const endEffector = [...pose, 'gripper'];

test('only the gripper of LIBERO and of Bridge is another number to the environment', () => {
  const chunk = (grippers: readonly number[]) =>
    Float64Array.from(grippers.flatMap((gripper, row) => [...pose.map((_, i) => row + i / 10), gripper]));
  const made = (platform: 'libero' | 'bridge' | 'aloha', grippers: readonly number[]) => {
    const actions = chunk(grippers);
    toEnvironment(actions, platform, endEffector);
    return actions;
  };
  assert.equal(made('libero', [0, 0.2, 0.8, 1]), chunk([1, 1, -1, -1]));
  assert.equal(made('bridge', [0, 0.49, 0.5, 1.2]), chunk([0, 0, 1, 1]));
  assert.equal(made('aloha', [0, 0.3]), chunk([0, 0.3]));
  assert.is(bridgeGripper(-0.1), 0);
  assert.throws(() => checkConvention('env', 'custom'), /Pass platform libero, bridge, aloha/);
  assert.throws(() => checkConvention('simulator', 'libero'), /dataset or env/);
});

test('a turned frame: rows and columns from the end, channels in order; twice is the frame', () => {
  const [width, height] = [5, 3];
  const frame: ImageFrame = {
    data: Uint8Array.from({ length: width * height * 3 }, (_, i) => i),
    ...{ width, height, order: 'bgr' },
  };
  const once = turned(frame, 'full_image');
  const pixel = ({ data }: ImageFrame, row: number, column: number) => [
    ...data.slice((row * width + column) * 3, (row * width + column + 1) * 3),
  ];
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++)
      assert.equal(pixel(once, row, column), pixel(frame, height - 1 - row, width - 1 - column));
  }
  assert.is(once.order, 'bgr');
  assert.equal(turned(once, 'full_image').data, frame.data);
  assert.throws(() => turned({ ...frame, width: 4 }, 'full_image'), /full_image/);
});

test("on a policy: env actions are the dataset's with another gripper, and turned frames are turned", async () => {
  const [sample] = goldenCase('libero-tiny').samples;
  const dir = goldenCheckpoint('libero-tiny');
  const options: PolicyOptions = { platform: 'libero', unnormKey: sample!.unnorm_key };
  const { observation } = await readObservation(join(goldenRoot, 'libero-tiny', sample!.observation));
  const { instruction } = sample!;
  const images = Object.fromEntries(
    Object.entries(observation.images).map(([name, frame]) => [name, turned(frame, name)]),
  );
  await using plain = await loadPolicy(dir, options);
  await using env = await loadPolicy(dir, { ...options, actions: 'env', rotate: 180 });
  assert.equal(env.platform.rotate, ['full_image', 'wrist_image']);
  const wanted = await plain.predict(observation, { instruction });
  const found = await env.predict({ ...observation, images }, { instruction });
  assert.equal(found.normalized, wanted.normalized);
  const expected = wanted.actions.slice();
  toEnvironment(expected, 'libero', env.dimensions);
  assert.equal(found.actions, expected);
  assert.not.equal(found.actions, wanted.actions);
  assert.ok(found.actions.every((value, i) => i % 7 !== 6 || Math.abs(value) === 1));

  // whoever plays the actions knows which ones they are
  const gripper = (policy: typeof env) => resolveActionSpace(policy).dimensions.at(-1)!.range;
  assert.equal(
    [gripper(plain), gripper(env)],
    [
      [0, 1],
      [-1, 1],
    ],
  );
  await using played = openLoop(env);
  assert.is(played.platform.actions, 'env');

  await using wrist = await loadPolicy(dir, { ...options, rotate: ['wrist_image'] });
  const half = { ...observation.images, wrist_image: images.wrist_image! };
  assert.equal(
    (await wrist.predict({ ...observation, images: half }, { instruction })).actions,
    wanted.actions,
  );
  for (const rotate of [90, ['left_wrist_image'], 'full_image'] as const) {
    const error = await loadPolicy(dir, { ...options, rotate: rotate as never }).catch(
      (cause: unknown) => cause,
    );
    assert.is((error as { code?: string }).code, 'OPTION_INVALID');
  }
});

test.run();
