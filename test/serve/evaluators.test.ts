/** Real evaluators, unchanged, from PyPI: inspect-robots' own loop and openpi policy, and gym-aloha's two arms. */

import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import type { PolicyOptions } from '../../lib/types.ts';
import { goldenCheckpoint } from '../helpers/golden.ts';
import { pythonVenv } from '../helpers/pythonVenv.ts';
import { testWhen } from '../helpers/skip.ts';
import { variant } from '../helpers/variants.ts';
import { FakePolicy, liberoPlatform } from './fakePolicy.ts';
import { served } from './harness.ts';
import { runPeer } from './pythonPeers.ts';
import { type Seen, watchedPolicy } from './watchedPolicy.ts';

const test = suite('evaluators from PyPI');
const isLong = process.env.SEMANTICVLA_LONG_TESTS === '1';
// 650 MB: only where the long tests run.
const venv = isLong
  ? pythonVenv(
      'evaluators-venv',
      join(import.meta.dirname, 'peers', 'evaluators.txt'),
      "import os; os.environ['MUJOCO_GL'] = 'osmesa'; import inspect_robots_widowx, inspect_robots_yam, inspect_robots_agibot_a2, gym_aloha, openpi_client",
    )
  : { missing: 'SEMANTICVLA_LONG_TESTS=1 runs it; it needs 650 MB from PyPI and libosmesa6' };
const python = 'python' in venv ? venv.python : null;
const reason = 'missing' in venv ? venv.missing : '';

/** Serves a checkpoint over openpi's protocol, and keeps what it is asked. */
async function watched(
  checkpoint: string,
  options: PolicyOptions,
  cameras: Readonly<Record<string, string>>,
  body: (seen: Seen[], host: string, port: string) => Promise<void>,
): Promise<void> {
  const seen: Seen[] = [];
  const policy = watchedPolicy(await loadPolicy(checkpoint, options), seen);
  try {
    await served(policy, { keys: { cameras } }, async ({ openpi }) => {
      const { hostname, port } = new URL(openpi);
      seen.length = 0; // a server asks its policy once before the ports open
      await body(seen, hostname, port);
    });
  } finally {
    await policy.close();
  }
}

testWhen(python !== null, reason, test, 'inspect-robots: its evaluation, its openpi policy', async () => {
  const { checkpoint, case: content } = variant('discrete');
  const options = { ...content.options, unnormKey: content.unnorm_key };
  await watched(checkpoint, options, { full_image: 'observation/image' }, async (seen, host, port) => {
    const result = await runPeer<{ status: string; actions: number[][]; inferences: number }>(
      python!,
      'inspectRobots.py',
      [host, port],
    );
    assert.is(result.status, 'success');
    assert.is(result.inferences, 4);
    assert.is(seen.length, 4);
    // The frame of step 5 t, and the first five rows of its chunk, played in order.
    for (const [turn, { images, instruction, actions }] of seen.entries()) {
      assert.is(instruction, 'pick up the black bowl');
      const { data, width, height } = images.full_image!;
      assert.equal([width, height], [224, 224]);
      // resized with black above and below
      assert.is(data[(112 * width + 112) * 3], 5 * turn);
      assert.equal(result.actions.slice(5 * turn, 5 * turn + 5), actions.slice(0, 5));
    }
  });
});

for (const { kind, answer, width, cameras } of [
  { kind: 'openvla', answer: 'action', width: 7, cameras: ['image'] },
  { kind: 'go1', answer: 'lists', width: 16, cameras: ['top', 'left', 'right'] },
  { kind: 'molmoact2', answer: 'object', width: 14, cameras: ['top_cam', 'left_cam', 'right_cam'] },
] as const) {
  testWhen(python !== null, reason, test, `inspect-robots: its ${kind} policy`, async () => {
    const names = ['full_image', 'left_wrist_image', 'right_wrist_image'].slice(0, cameras.length);
    const platform = { ...liberoPlatform, cameras: names, proprio: kind !== 'openvla' };
    const dimensions = Array.from({ length: width }, (_, i) => `joint${i}`);
    const seen: Seen[] = [];
    const policy = watchedPolicy(new FakePolicy({ platform, dimensions, immediate: true }), seen);
    const keys = { cameras: Object.fromEntries(names.map((name, i) => [name, cameras[i]!])) };
    await served(policy, { act: { port: 0, answer }, keys, unnormKey: 'bridge_orig' }, async ({ act }) => {
      const rows = await runPeer<number[][]>(python!, 'inspectActs.py', [act, kind]);
      const [asked] = seen as [Seen];
      assert.is(seen.length, 1);
      assert.is(asked.instruction, 'pick up the bowl');
      const levels = names.map((name) => asked.images[name]!.data[0]);
      assert.equal(levels, [10, 20, 30].slice(0, names.length));
      assert.equal(rows, kind === 'openvla' ? asked.actions.slice(0, 1) : asked.actions);
    });
  });
}

testWhen(python !== null, reason, test, 'gym-aloha: three cameras, two arms', async () => {
  await watched(
    goldenCheckpoint('aloha-tiny'),
    { unnormKey: 'aloha_fold_the_tshirt_dataset' },
    {},
    async (seen, host, port) => {
      const steps = 50;
      const result = await runPeer<{ states: number[][]; actions: number[][]; spreads: number[][] }>(
        python!,
        'gymAloha.py',
        [host, port, String(steps)],
      );
      assert.is(seen.length, steps / 25);
      assert.equal(
        result.actions,
        seen.flatMap(({ actions }) => actions),
      );
      for (const [turn, { images, state }] of seen.entries()) {
        assert.equal(state, result.states[25 * turn]);
        assert.equal(Object.keys(images), ['full_image', 'left_wrist_image', 'right_wrist_image']);
      }
      // Pictures, not one colour; and the arms moved.
      for (const spread of result.spreads.flat()) assert.ok(spread > 5, `a frame's deviation is ${spread}`);
      const moved = result.states.at(-1)!.map((value, joint) => Math.abs(value - result.states[0]![joint]!));
      assert.ok(Math.max(...moved) > 0.1, `the joints moved by ${moved}`);
    },
  );
});

test.run();
