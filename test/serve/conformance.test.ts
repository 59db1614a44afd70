/** The real clients, unchanged, from PyPI: json-numpy with requests, and openpi-client. */

import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readObservation } from '../../lib/observation/readObservation.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import type { ServeOptions } from '../../lib/serve/servePolicy.ts';
import type { Policy } from '../../lib/types.ts';
import { goldenCheckpoint, goldenRoot } from '../helpers/golden.ts';
import { testWhen } from '../helpers/skip.ts';
import { defaultActions, FakePolicy, liberoPlatform } from './fakePolicy.ts';
import { type Served, served } from './harness.ts';
import { peersOfTest, runPeer } from './pythonPeers.ts';
import { type Seen, watchedPolicy } from './watchedPolicy.ts';

const test = suite('conformance with clients from PyPI');
const { python, reason } = peersOfTest();
const token = 'correct-horse-battery-staple-0451';

const run = <T>(script: string, ...args: string[]): Promise<T> => runPeer(python!, script, args);

interface ActResult {
  readonly actions: number[][];
  readonly shape: number[];
  readonly failed: [number, unknown];
}

interface OpenpiResult {
  readonly metadata: Record<string, unknown>;
  readonly actions: number[][];
  readonly dtype: string;
  readonly rows: number[][];
  readonly timing: [string[], string[]];
  readonly error: string | null;
}

function openpi(
  { openpi: url }: Served,
  key: string,
  state: readonly number[],
  words: string,
): Promise<OpenpiResult> {
  const { hostname, port } = new URL(url);
  return run<OpenpiResult>('openpiClient.py', hostname, port, key, JSON.stringify(state), words);
}

function rowsOf(values: Float64Array, width: number): number[][] {
  return Array.from({ length: values.length / width }, (_, i) => [
    ...values.slice(i * width, (i + 1) * width),
  ]);
}

const simulated = (): Policy => new FakePolicy({ immediate: true });
const wanted = rowsOf(defaultActions([2, 3], 0.5), 3);
const state = [0.5, 1, 2];

testWhen(python !== null, reason, test, 'json-numpy and requests, simulated policy', async () => {
  const compat: Partial<ServeOptions> = { act: { port: 0, compat: true } };
  for (const [options, failed] of [
    [{}, [422, 'INSTRUCTION_INVALID']],
    [compat, [200, 'error']],
  ] as const) {
    await served(simulated(), options, async ({ act }) => {
      const result = await run<ActResult>('actClient.py', act, JSON.stringify(state), 'pick up the bowl');
      assert.equal(result.actions, wanted);
      assert.is(result.failed[0], failed[0]);
      const answer = result.failed[1] as string | { error: { code: string } };
      const code = typeof answer === 'string' ? answer : answer.error.code;
      // Cameras are checked before the instruction.
      assert.ok(code === failed[1] || code === 'CAMERA_MISSING', code);
    });
  }
});

testWhen(python !== null, reason, test, 'openpi-client, simulated policy', async () => {
  for (const key of ['', token]) {
    const options: Partial<ServeOptions> = key === '' ? {} : { token: key };
    await served(simulated(), options, async (server) => {
      const result = await openpi(server, key, state, 'pick up the bowl');
      assert.equal(result.actions, wanted);
      assert.is(result.dtype, '<f8');
      // openpi's own broker takes the rows one by one.
      assert.equal(result.rows, wanted);
      assert.equal(result.timing, [['infer_ms'], ['infer_ms', 'prev_total_ms']]);
      assert.is(result.metadata.server, 'semanticvla');
      assert.equal(result.metadata.dimensions, ['x', 'y', 'gripper']);
      assert.match(result.error ?? '', /CAMERA_MISSING/);
    });
  }
});

testWhen(
  python !== null,
  reason,
  test,
  "openpi-client, images as openpi's ALOHA robots send them",
  async () => {
    const cameras = ['full_image', 'left_wrist_image', 'right_wrist_image'];
    const platform = { ...liberoPlatform, cameras };
    const keys = {
      cameras: {
        full_image: 'images/cam_high',
        left_wrist_image: 'images/cam_left_wrist',
        right_wrist_image: 'images/cam_right_wrist',
      },
    };
    const seen: Seen[] = [];
    const policy = watchedPolicy(new FakePolicy({ platform, immediate: true }), seen);
    await served(policy, { keys }, async (server) => {
      const { hostname, port } = new URL(server.openpi);
      const { frames } = await run<{ frames: number[][] }>('openpiAloha.py', hostname, port);
      const images = cameras.map((name) => seen.at(-1)!.images[name]!);
      assert.equal(
        images.map(({ data, width, height }) => [height, width, [...data]]),
        frames.map((frame) => [4, 5, frame]),
      );
    });
  },
);

testWhen(python !== null, reason, test, 'both, with libero-tiny', async () => {
  const unnormKey = 'libero_spatial_no_noops';
  const policy = await loadPolicy(goldenCheckpoint('libero-tiny'), { unnormKey });
  try {
    const { observation } = await readObservation(join(goldenRoot, 'libero-tiny', 'obs0'));
    const joints = Array.from(observation.state!);
    const frame = (level: number) => ({
      data: new Uint8Array(224 * 224 * 3).fill(level),
      width: 224,
      height: 224,
    });
    const images = { full_image: frame(10), wrist_image: frame(200) };
    const words = 'pick up the black bowl';
    await served(policy, {}, async (server) => {
      const local = await policy.predict({ images, state: joints }, { instruction: words });
      const [, width] = local.shape;
      const act = await run<ActResult>('actClient.py', server.act, JSON.stringify(joints), words);
      assert.equal(act.actions, rowsOf(local.actions, width));
      // The client sends its state as float32.
      const rounded = await policy.predict(
        { images, state: Float32Array.from(joints) },
        { instruction: words },
      );
      const pi = await openpi(server, '', joints, words);
      assert.equal(pi.actions, rowsOf(rounded.actions, width));
    });
  } finally {
    await policy.close();
  }
});

test.run();
