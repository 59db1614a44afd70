/** The flight recorder's MCAP files: what was seen and sent comes back, by the format's own readers in two languages. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from '@foxglove/rosmsg';
import { MessageReader } from '@foxglove/rosmsg2-serialization';
import { McapIndexedReader } from '@mcap/core';
import sharp from 'sharp';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { startFlightRecorder } from '../../../lib/profile/recorder/flightRecorder.ts';
import { Recorder } from '../../../lib/profile/recorder/recorder.ts';
import { recordPolicy } from '../../../lib/profile/recorder/recordPolicy.ts';
import { SceneRing } from '../../../lib/profile/recorder/sceneRing.ts';
import { parseLatency } from '../../../lib/schedule/latency.ts';
import { simulatedPolicy } from '../../../lib/schedule/simulatedPolicy.ts';
import type { SemanticVlaError } from '../../../lib/support/errors.ts';
import type { ImageFrame, Observation, Policy } from '../../../lib/types.ts';
import { pythonVenv } from '../../helpers/pythonVenv.ts';
import { testWhen } from '../../helpers/skip.ts';

const test = suite('MCAP recording');
const cameras = ['full_image', 'wrist_image'];
const dimensions = ['x', 'y', 'gripper'];
const side = 48;

/** Red grows to the right, green downwards, blue is flat: any mix-up of channels, rows or columns shows. */
function frame(blue: number, order: 'rgb' | 'bgr' = 'rgb'): ImageFrame {
  const data = new Uint8Array(side * side * 3);
  for (let i = 0; i < side * side; i++) {
    const pixel = [(i % side) * 4, Math.floor(i / side) * 4, blue];
    data.set(order === 'rgb' ? pixel : pixel.reverse(), i * 3);
  }
  return { data, width: side, height: side, order };
}

function policy(): Policy {
  return simulatedPolicy({
    dimensions,
    chunk: 2,
    latency: parseLatency('constant(1)'),
    platform: {
      name: 'custom',
      cameras,
      proprio: true,
      centerCrop: false,
      jpeg: false,
      chunk: 2,
      normalization: 'q99',
    },
    rows: ({ index }) => Float64Array.of(index, 0.1, 0, index + 0.5, 0.2, 1),
  });
}

/** Two predictions, three actions, a HOLD; the frames' buffers are used again, as a camera driver does. */
async function recorded(dir: string): Promise<{ file: string; before: number; after: number }> {
  const recorder = new Recorder({ sceneBytes: 2 ** 20 });
  const inner = policy();
  const own = recordPolicy(inner, recorder);
  const before = Date.now();
  await using flights = await startFlightRecorder(recorder, { dir, mcap: true });
  const shared = frame(10);
  const observation = (state: number): Observation => ({
    images: { full_image: shared, wrist_image: frame(200, 'bgr'), other: frame(0) },
    state: [state, 2, 3, 4],
  });
  await own.predict(observation(1), { instruction: 'open the drawer' });
  shared.data.fill(255);
  await own.predict(observation(5), { instruction: 'close the drawer' });
  for (const [i, held] of [false, false, true].entries())
    recorder.sent(performance.now(), Float64Array.of(i, 0.1 * i, 1), held);
  recorder.event('hold', performance.now(), Number.NaN, 'idle');
  recorder.event('executed', performance.now(), 30);
  recorder.event('deadline missed', performance.now(), 120.5);
  const trace = (await flights.dump())!;
  const file = trace.replace(/perfetto-trace$/, 'mcap');
  await inner.close();
  return { file, before, after: Date.now() };
}

async function inFolder(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'semanticvla-mcap-'));
  try {
    await body(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

interface Read {
  readonly topic: string;
  readonly type: string;
  readonly ms: number;
  readonly message: Record<string, unknown>;
}

async function read(path: string): Promise<Read[]> {
  const bytes = readFileSync(path);
  const readable = {
    size: async () => BigInt(bytes.length),
    read: async (offset: bigint, size: bigint) => bytes.subarray(Number(offset), Number(offset + size)),
  };
  const reader = await McapIndexedReader.Initialize({ readable });
  assert.is(reader.header.profile, 'ros2');
  const out: Read[] = [];
  for await (const { channelId, data, logTime } of reader.readMessages()) {
    const channel = reader.channelsById.get(channelId)!;
    const schema = reader.schemasById.get(channel.schemaId)!;
    const definition = parse(new TextDecoder().decode(schema.data), { ros2: true });
    const message = new MessageReader(definition).readMessage(data) as Record<string, unknown>;
    out.push({ topic: channel.topic, type: schema.name, ms: Number(logTime) / 1e6, message });
  }
  return out;
}

test('frames, states, chunks, actions and events come back as they were', async () => {
  await inFolder(async (dir) => {
    const { file, before, after } = await recorded(dir);
    const messages = await read(file);
    const on = (topic: string): Record<string, unknown>[] =>
      messages.filter((one) => one.topic === `/semanticvla/${topic}`).map(({ message }) => message);
    assert.equal([...new Set(messages.map(({ topic }) => topic))].sort(), [
      ...['/semanticvla/action', '/semanticvla/chunk', '/semanticvla/full_image/compressed'],
      ...['/semanticvla/instruction', '/semanticvla/log', '/semanticvla/state'],
      '/semanticvla/wrist_image/compressed',
    ]);
    for (const { ms } of messages) assert.ok(ms >= before - 1 && ms <= after + 1, `${ms}`);
    assert.equal(
      on('instruction').map(({ data }) => data),
      ['open the drawer', 'close the drawer'],
    );
    assert.equal(
      on('state').map(({ position }) => [...(position as Float64Array)]),
      [
        [1, 2, 3, 4],
        [5, 2, 3, 4],
      ],
    );
    assert.equal(
      on('chunk').map(({ data }) => [...(data as Float64Array)]),
      [
        [0, 0.1, 0, 0.5, 0.2, 1],
        [1, 0.1, 0, 1.5, 0.2, 1],
      ],
    );
    const { layout } = on('chunk')[0] as { layout: { dim: { label: string; size: number }[] } };
    assert.equal(
      layout.dim.map(({ label, size }) => [label, size]),
      [
        ['action', 2],
        ['x y gripper', 3],
      ],
    );
    assert.equal(
      on('action').map(({ name, position }) => [name, [...(position as Float64Array)]]),
      [0, 1, 2].map((i) => [dimensions, [i, 0.1 * i, 1]]),
    );
    assert.equal(
      on('log').map(({ level, msg }) => [level, msg]),
      [
        [30, 'hold idle'],
        [40, 'deadline missed 120.5'],
      ],
    );
    const pixels = async (message: Record<string, unknown>): Promise<Buffer> =>
      sharp(message.data as Uint8Array)
        .raw()
        .toBuffer();
    const worst = (a: Uint8Array, b: Uint8Array): number =>
      a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);
    const [first, second] = on('full_image/compressed');
    // JPEG of quality 90 with halved color: smooth gradients of 0 to 188 stay within a few grey levels
    assert.ok(worst(await pixels(first!), frame(10).data) <= 12);
    assert.ok(
      (await pixels(second!)).every((value) => value >= 250),
      'the buffer was used again',
    );
    assert.ok(worst(await pixels(on('wrist_image/compressed')[0]!), frame(200).data) <= 12);
  });
});

const found = pythonVenv(
  'mcap-venv',
  join(import.meta.dirname, 'mcapRequirements.txt'),
  'import mcap_ros2.reader',
);

testWhen(
  'python' in found,
  'missing' in found ? found.missing : '',
  test,
  'the mcap package of PyPI reads it, with the ROS 2 messages in it',
  async () => {
    await inFolder(async (dir) => {
      const { file } = await recorded(dir);
      const script = join(dir, 'read.py');
      writeFileSync(
        script,
        [
          'import json, sys',
          'from mcap.reader import make_reader',
          'from mcap_ros2.reader import read_ros2_messages',
          'summary = make_reader(open(sys.argv[1], "rb")).get_summary()',
          'counts = {c.topic: summary.statistics.channel_message_counts[i] for i, c in summary.channels.items()}',
          'last = {m.channel.topic: m.ros_msg for m in read_ros2_messages(sys.argv[1])}',
          'frame = last["/semanticvla/full_image/compressed"]',
          'print(json.dumps({"counts": counts, "position": list(last["/semanticvla/action"].position),',
          '  "name": list(last["/semanticvla/action"].name), "format": frame.format, "frame": frame.header.frame_id,',
          '  "magic": bytes(frame.data[:2]).hex(), "log": last["/semanticvla/log"].msg}))',
        ].join('\n'),
      );
      const python = 'python' in found ? found.python : '';
      const { stdout, stderr } = spawnSync(python, [script, file], { encoding: 'utf8' });
      assert.is(stderr, '');
      assert.equal(JSON.parse(stdout), {
        counts: {
          '/semanticvla/action': 3,
          '/semanticvla/chunk': 2,
          '/semanticvla/full_image/compressed': 2,
          '/semanticvla/instruction': 2,
          '/semanticvla/log': 2,
          '/semanticvla/state': 2,
          '/semanticvla/wrist_image/compressed': 2,
        },
        position: [2, 0.2, 1],
        name: dimensions,
        format: 'jpeg',
        frame: 'full_image',
        magic: 'ffd8',
        log: 'deadline missed 120.5',
      });
    });
  },
);

test('memory stays within its limit, is used again, and a scene is in one file only', () => {
  const bytes = side * side * 3;
  const ring = new SceneRing(3 * bytes);
  const asked = (blue: number) => ({
    observation: { images: { full_image: frame(blue) } },
    instruction: 'go',
  });
  const buffers = new Set<ArrayBufferLike>();
  for (let i = 0; i < 50; i++) {
    ring.begin(i, i, cameras, asked(i));
    ring.answer(i, i, { actions: Float64Array.of(i), dimensions: ['x'] });
  }
  // what was dropped is not answered any more
  ring.answer(3, 3, { actions: Float64Array.of(3), dimensions: ['x'] });
  const scenes = ring.take();
  assert.equal(
    scenes.map(({ number, frames, answer }) => [number, frames[0]!.data[2], answer!.actions[0]]),
    [
      [47, 47, 47],
      [48, 48, 48],
      [49, 49, 49],
    ],
  );
  for (const { frames } of scenes) buffers.add(frames[0]!.data.buffer);
  assert.is(buffers.size, 3);
  assert.equal(ring.take(), []);
  // what does not fit at all, or is no frame, is not kept; nothing is thrown
  const large = { data: new Uint8Array(bytes * 4), width: side * 2, height: side * 2 };
  ring.begin(60, 0, cameras, { observation: { images: { full_image: large } }, instruction: 'go' });
  assert.equal(ring.take(), []);
  const odd = [undefined, {}, { images: { full_image: { data: 'x' } } }, { images: { full_image: null } }];
  for (const [i, observation] of odd.entries())
    ring.begin(i, 0, cameras, { observation: observation as never, instruction: 7 as never });
  assert.equal(
    ring.take().map(({ frames }) => frames.length),
    odd.map(() => 0),
  );
});

test('mcap needs a recorder that keeps scenes', async () => {
  await inFolder(async (dir) => {
    const error = await startFlightRecorder(new Recorder(), { dir, mcap: true }).catch(
      (caught: unknown) => caught,
    );
    assert.is((error as SemanticVlaError).code, 'OPTION_REQUIRED');
    assert.match((error as SemanticVlaError).message, /sceneBytes/);
  });
});

test.run();
