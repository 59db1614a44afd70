/** vla-eval's protocol on `/vla-eval`: the server plays the chunks. Messages by hand, hostile ones, and vla-eval itself. */

import { join } from 'node:path';
import msgpack5 from 'msgpack5';
import sharp from 'sharp';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { WebSocket } from 'ws';
import type { Platform } from '../../lib/types.ts';
import { pythonVenv } from '../helpers/pythonVenv.ts';
import { testWhen } from '../helpers/skip.ts';
import { defaultActions, FakePolicy, liberoPlatform } from './fakePolicy.ts';
import { inTime, metric, served } from './harness.ts';
import { hostileMsgpack } from './hostile.ts';
import { runPeer } from './pythonPeers.ts';

const test = suite("vla-eval's protocol");
const venv = pythonVenv(
  'protocols-venv',
  join(import.meta.dirname, 'peers', 'protocols.txt'),
  'import tritonclient.http, vla_eval',
);
const python = 'python' in venv ? venv.python : null;
const reason = 'missing' in venv ? venv.missing : '';

interface Received {
  readonly type: string;
  readonly seq: number;
  readonly payload: {
    readonly actions?: { readonly data: Buffer; readonly dtype: string; readonly shape: number[] };
    readonly error?: string;
    readonly [key: string]: unknown;
  };
}

const msgpack = msgpack5({ preferMap: false, forceFloat64: true });

function message(type: string, payload: object, seq: number): Buffer {
  return msgpack.encode({ type, payload, seq, timestamp: 1.5 });
}

function array(dtype: string, shape: number[], values: Float64Array | Uint8Array): object {
  const data = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  return { __ndarray__: true, data, dtype, shape };
}

function raw(level: number): object {
  return { __image__: true, format: 'raw', data: Buffer.alloc(12, level), dtype: '|u1', shape: [2, 2, 3] };
}

function observation(first: number, more: object = {}): object {
  return {
    images: { agentview: raw(10), wrist: raw(200) },
    states: array('<f8', [3], Float64Array.of(first, 1, 2)),
    task_description: 'pick up the bowl',
    ...more,
  };
}

class Client {
  readonly socket: WebSocket;
  readonly #frames: Received[] = [];
  readonly #waiters: ((frame: Received) => void)[] = [];

  private constructor(url: string) {
    this.socket = new WebSocket(`${url}/vla-eval`, { perMessageDeflate: false });
    this.socket.on('error', () => {});
    this.socket.on('message', (data: Buffer) => {
      const frame = msgpack.decode(data) as Received;
      const waiter = this.#waiters.shift();
      if (waiter === undefined) this.#frames.push(frame);
      else waiter(frame);
    });
  }

  static async open(url: string): Promise<Client> {
    const client = new Client(url);
    await inTime(new Promise((resolve) => client.socket.once('open', resolve)), 'open');
    return client;
  }

  next(): Promise<Received> {
    const frame = this.#frames.shift();
    return inTime(
      frame === undefined ? new Promise((resolve) => this.#waiters.push(resolve)) : Promise.resolve(frame),
      'a frame',
    );
  }

  send(type: string, payload: object, seq: number): void {
    this.socket.send(message(type, payload, seq));
  }

  ask(type: string, payload: object, seq: number): Promise<Received> {
    this.send(type, payload, seq);
    return this.next();
  }

  /** The action that an observation is answered with. */
  async act(payload: object, seq: number): Promise<number[]> {
    const answer = await this.ask('observation', payload, seq);
    assert.equal([answer.type, answer.seq], ['action', seq], answer.payload.error);
    const { data, dtype, shape } = answer.payload.actions!;
    assert.equal([dtype, shape], ['<f8', [data.length / 8]]);
    return Array.from({ length: shape[0]! }, (_, i) => data.readDoubleLE(8 * i));
  }
}

/** Row `row` of the chunk that the fake policy answers with. */
function rowOf(first: number, row: number): number[] {
  return [...defaultActions([2, 3], first)].slice(3 * row, 3 * row + 3);
}

test('a chunk is played row by row, and dropped by an episode, another instruction or a failure', async () => {
  const policy = new FakePolicy({ immediate: true });
  await served(policy, {}, async ({ openpi, server }) => {
    const before = policy.calls.length;
    const asked = (): number => policy.calls.length - before;
    const client = await Client.open(openpi);
    client.send('episode_start', { task: {} }, 1);
    assert.equal(await client.act(observation(0), 2), rowOf(0, 0));
    // row 1 is what the chunk of the observation before has, whatever is seen now
    assert.equal(await client.act(observation(5), 3), rowOf(0, 1));
    assert.is(asked(), 1);
    assert.equal(await client.act(observation(5), 4), rowOf(5, 0));
    client.send('episode_end', {}, 5);
    client.send('episode_start', {}, 6);
    assert.equal(await client.act(observation(6), 7), rowOf(6, 0));
    assert.equal(await client.act(observation(7, { task_description: 'stop' }), 8), rowOf(7, 0));
    assert.is(policy.calls.at(-1)!.options.instruction, 'stop');
    // a failure drops the row that is left
    const failed = await client.ask('observation', { ...observation(8), task_description: 5 }, 9);
    assert.equal([failed.type, failed.seq], ['error', 9]);
    assert.match(failed.payload.error!, /^INSTRUCTION_INVALID: /);
    assert.equal(await client.act(observation(8, { task_description: 'stop' }), 10), rowOf(8, 0));
    assert.is(asked(), 5);
    assert.is(await metric(server, 'semanticvla_requests_total{protocol="vla-eval",code="OK"}'), 5);
    // two connections have two chunks
    const other = await Client.open(openpi);
    assert.equal(await other.act(observation(9), 1), rowOf(9, 0));
    assert.equal(await client.act(observation(9, { task_description: 'stop' }), 11), rowOf(8, 1));
  });
});

test('executeHorizon rows are played, and an impossible one is refused', async () => {
  const policy = new FakePolicy({ immediate: true });
  await served(policy, { vlaEval: { executeHorizon: 1 } }, async ({ openpi }) => {
    const client = await Client.open(openpi);
    for (const first of [1, 2]) assert.equal(await client.act(observation(first), first), rowOf(first, 0));
  });
  for (const executeHorizon of [0, 3, 1.5, Number.NaN]) {
    const error = await served(policy, { vlaEval: { executeHorizon } }, async () => {}).catch(
      (caught) => caught,
    );
    assert.is(error.code, 'OPTION_INVALID');
  }
});

test('hello: what the benchmark should send, and the conventions that it compares', async () => {
  const grippers: string[] = [];
  for (const actions of [undefined, 'env'] as const) {
    const platform: Platform = { ...liberoPlatform, ...(actions === undefined ? {} : { actions }) };
    await served(new FakePolicy({ platform, immediate: true }), {}, async ({ openpi }) => {
      const client = await Client.open(openpi);
      const { payload } = await client.ask('hello', { harness_version: '0.8.0', protocol_version: 1 }, 1);
      assert.is(payload.protocol_version, 1);
      assert.equal(payload.observation_params, {
        send_wrist_image: true,
        send_state: true,
        env_seed: 0,
        quat_no_antipodal: true,
      });
      grippers.push((payload.action_spec as { gripper: { format: string } }).gripper.format);
      const other = await client.ask('hello', { protocol_version: 2 }, 2);
      assert.match(other.payload.error!, /protocol_version 1/);
      const health = await fetch(`${openpi.replace('ws', 'http')}/health`);
      assert.equal([health.status, await health.json()], [200, { status: 'ok' }]);
    });
  }
  assert.equal(grippers, ['continuous_01', 'binary_close_positive']);
});

test('images as PNG, fields by their own names, and keys that are configured', async () => {
  const policy = new FakePolicy({ immediate: true });
  const pixels = Uint8Array.from({ length: 12 }, (_, i) => 20 * i);
  const png = await sharp(pixels, { raw: { width: 2, height: 2, channels: 3 } })
    .png()
    .toBuffer();
  const image = { __image__: true, format: 'png', data: png, shape: [2, 2, 3] };
  await served(policy, { keys: { cameras: { full_image: 'images/front' } } }, async ({ openpi }) => {
    const client = await Client.open(openpi);
    const images = { front: image, wrist_image: raw(3), agentview: raw(4) };
    await client.act({ images, state: [1, 2, 3], instruction: 'go' }, 1);
    const { images: seen, state } = policy.calls.at(-1)!.observation;
    assert.equal([...seen.full_image!.data], [...pixels]);
    assert.equal([...seen.wrist_image!.data], new Array(12).fill(3));
    assert.equal(Array.from(state!), [1, 2, 3]);
    const missing = await client.ask(
      'observation',
      { images: { agentview: raw(1) }, task_description: 'a' },
      2,
    );
    assert.match(missing.payload.error!, /^CAMERA_MISSING: Field images\/front.*found images\/agentview/);
  });
});

test('what is refused leaves the connection open, and never reaches the policy', async () => {
  const policy = new FakePolicy({ immediate: true });
  await served(policy, {}, async ({ openpi }) => {
    const before = policy.calls.length;
    const client = await Client.open(openpi);
    const bad: [string, Buffer][] = [
      ...hostileMsgpack(),
      ['no envelope', msgpack.encode({ full_image: 1 })],
      ['no payload', msgpack.encode({ type: 'observation', payload: null, seq: 1, timestamp: 0 })],
      [
        'a sequence number that is none',
        msgpack.encode({ type: 'hello', payload: {}, seq: 1.5, timestamp: 0 }),
      ],
      ['another type', message('infer', {}, 1)],
      [
        'objects',
        message('observation', observation(0, { states: array('|O', [3], new Uint8Array(24)) }), 1),
      ],
      [
        'more than there is',
        message('observation', observation(0, { states: array('<f8', [9], new Float64Array(3)) }), 1),
      ],
      ['NaN', message('observation', observation(Number.NaN), 1)],
      ['no image', message('observation', observation(0, { images: { agentview: 'a', wrist: raw(1) } }), 1)],
      [
        'an image that is none',
        message(
          'observation',
          observation(0, {
            images: {
              agentview: { __image__: true, format: 'png', data: Buffer.alloc(9), shape: [1, 3, 3] },
              wrist: raw(1),
            },
          }),
          1,
        ),
      ],
    ];
    for (const [what, bytes] of bad) {
      client.socket.send(bytes);
      const { type, payload } = await client.next();
      assert.is(type, 'error', what);
      assert.match(payload.error!, /^(?:REQUEST|STATE|IMAGE)_INVALID: /, what);
    }
    assert.is(policy.calls.length, before);
    assert.equal(await client.act(observation(1), 2), rowOf(1, 0));
  });
});

test('actions that are not finite never leave, and observations sent ahead are answered in order', async () => {
  const policy = new FakePolicy();
  await served(policy, {}, async ({ openpi }) => {
    const client = await Client.open(openpi);
    const before = policy.calls.length;
    for (const seq of [1, 2, 3]) client.send('observation', observation(seq), seq);
    (await policy.called(before + 1)).finish(Float64Array.of(0, Number.NaN, 0, 0, 0, 0));
    const failed = await client.next();
    assert.equal([failed.type, failed.seq], ['error', 1]);
    assert.match(failed.payload.error!, /^ACTION_NOT_FINITE: /);
    (await policy.called(before + 2)).finish();
    assert.equal([(await client.next()).seq, (await client.next()).seq], [2, 3]);
    assert.is(policy.calls.length, before + 2);
  });
});

test('a client that answers no pings stays, since a simulator that computes answers none', async () => {
  const limits = { idleMs: 40 };
  await served(new FakePolicy({ immediate: true }), { limits }, async ({ openpi }) => {
    const client = await Client.open(openpi);
    const silent = new WebSocket(openpi, { autoPong: false });
    let pings = 0;
    client.socket.on('ping', () => pings++);
    // openpi's clients answer, and one that does not is closed; meanwhile the other one would have been
    await inTime(new Promise((resolve) => silent.once('close', resolve)), 'the close');
    assert.is(pings, 0);
    assert.equal(await client.act(observation(1), 1), rowOf(1, 0));
  });
});

test('a token', async () => {
  const token = 'correct-horse-battery-staple-0451';
  await served(new FakePolicy({ immediate: true }), { token }, async ({ openpi }) => {
    const socket = new WebSocket(`${openpi}/vla-eval`);
    const error = await inTime(new Promise<Error>((resolve) => socket.once('error', resolve)), 'a refusal');
    assert.match(error.message, /401/);
  });
});

interface VlaEvalResult {
  readonly episodes: number[][][];
  readonly params: [boolean, boolean, number, boolean];
  readonly warnings: string[];
  readonly success: number;
  readonly error: string;
}

testWhen(python !== null, reason, test, 'vla-eval', async () => {
  const dimensions = ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper'];
  const results: VlaEvalResult[] = [];
  for (const actions of [undefined, 'env'] as const) {
    const platform: Platform = { ...liberoPlatform, ...(actions === undefined ? {} : { actions }) };
    const policy = new FakePolicy({ platform, dimensions, immediate: true });
    await served(policy, {}, async ({ openpi }) => {
      const before = policy.calls.length;
      const result = await runPeer<VlaEvalResult>(python!, 'vlaEval.py', [`${openpi}/vla-eval`]);
      results.push(result);
      const calls = policy.calls.slice(before);
      // two episodes of five steps, chunks of two: steps 0, 2 and 4
      assert.equal(
        calls.map(({ observation: { images, state } }) => [
          images.full_image!.data[0],
          images.wrist_image!.data[0],
          state![0],
        ]),
        [0, 2, 4, 0, 2, 4].map((step) => [step, step + 100, step]),
      );
      assert.ok(calls.every(({ options }) => options.instruction === 'pick up the bowl'));
      const chunk = (first: number): number[][] => {
        const values = [...defaultActions([2, 7], first)];
        return [values.slice(0, 7), values.slice(7)];
      };
      const episode = [...chunk(0), ...chunk(2), chunk(4)[0]!];
      assert.equal(result.episodes, [episode, episode]);
    });
  }
  for (const { params, success, error } of results) {
    assert.equal([params, success], [[true, true, 0, true], 1]);
    assert.match(error, /CAMERA_MISSING/);
  }
  // without --actions env the gripper's convention is another one, and vla-eval says so
  assert.match(results[0]!.warnings.join(), /gripper: continuous_01 vs binary_close_positive/);
  assert.equal(results[0]!.warnings.length, 1);
  assert.equal(results[1]!.warnings, []);
});

test.run();
