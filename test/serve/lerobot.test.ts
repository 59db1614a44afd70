/** LeRobot's remote policy: its messages as captured from lerobot 0.6.1, hostile pickles, and its own robot client. */

import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { asyncInference } from '../../lib/serve/lerobot/grpcServer.ts';
import { readPickle } from '../../lib/serve/lerobot/pickle.ts';
import { NdArray } from '../../lib/serve/ndarray.ts';
import type { ServeOptions } from '../../lib/serve/servePolicy.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { testWhen } from '../helpers/skip.ts';
import { defaultActions, FakePolicy, liberoPlatform } from './fakePolicy.ts';
import { inTime, metric, served } from './harness.ts';
import {
  array,
  bytes,
  Float,
  global,
  Instance,
  type Plain,
  pickle,
  pushed,
  scalar,
  text,
} from './pickles.ts';
import { runPeer } from './pythonPeers.ts';
import { type Seen, watchedPolicy } from './watchedPolicy.ts';

const test = suite("LeRobot's remote policy");

/** pickle.dumps of lerobot's RemotePolicyConfig and TimedObservation (numpy 2.2.6, Python 3.12). */
const captured = {
  config:
    'gASVkwEAAAAAAACMH2xlcm9ib3QuYXN5bmNfaW5mZXJlbmNlLmhlbHBlcnOUjBJSZW1vdGVQb2xpY3lDb25maWeUk5QpgZR9lCiMC3BvbGljeV90eXBllIwDYWN0lIwXcHJldHJhaW5lZF9uYW1lX29yX3BhdGiUjAN4L3mUjBBsZXJvYm90X2ZlYXR1cmVzlH2UKIwRb2JzZXJ2YXRpb24uc3RhdGWUfZQojAVkdHlwZZSMB2Zsb2F0MzKUjAVzaGFwZZRLAoWUjAVuYW1lc5RdlCiMEHNob3VsZGVyX3Bhbi5wb3OUjAtncmlwcGVyLnBvc5RldYwYb2JzZXJ2YXRpb24uaW1hZ2VzLmZyb250lH2UKGgNjAVpbWFnZZRoD0sCSwJLA4eUaBFdlCiMBmhlaWdodJSMBXdpZHRolIwIY2hhbm5lbHOUZYwEaW5mb5R9lIwMaXNfZGVwdGhfbWFwlIlzdXWMEWFjdGlvbnNfcGVyX2NodW5rlEsIjAZkZXZpY2WUjANjcHWUjApyZW5hbWVfbWFwlH2UdWIu',
  observation:
    'gASVsgEAAAAAAACMH2xlcm9ib3QuYXN5bmNfaW5mZXJlbmNlLmhlbHBlcnOUjBBUaW1lZE9ic2VydmF0aW9ulJOUKYGUfZQojAl0aW1lc3RhbXCUR0HZVPxAEAAAjAh0aW1lc3RlcJRLA4wLb2JzZXJ2YXRpb26UfZQojBBzaG91bGRlcl9wYW4ucG9zlEc/4AAAAAAAAIwLZ3JpcHBlci5wb3OURz/wAAAAAAAAjA53cmlzdF9mbGV4LnBvc5SMFm51bXB5Ll9jb3JlLm11bHRpYXJyYXmUjAZzY2FsYXKUk5SMBW51bXB5lIwFZHR5cGWUk5SMAmY0lImIh5RSlChLA4wBPJROTk5K/////0r/////SwB0lGJDBAAAIECUhpRSlIwFZnJvbnSUaAyMDF9yZWNvbnN0cnVjdJSTlGgPjAduZGFycmF5lJOUSwCFlEMBYpSHlFKUKEsBSwJLAksDh5RoEYwCdTGUiYiHlFKUKEsDjAF8lE5OTkr/////Sv////9LAHSUYolDDAABAgMEBQYHCAkKC5R0lGKMBHRhc2uUjAdwaWNrIHVwlHWMB211c3RfZ2+UiHViLg==',
};
const config = Buffer.from(captured.config, 'base64');
const options: Partial<ServeOptions> = {
  act: false,
  openpi: false,
  lerobot: { port: 0 },
  keys: { cameras: { full_image: 'front' } },
};
const platform = { ...liberoPlatform, cameras: ['full_image'] };

interface Data {
  readonly data?: Uint8Array;
  readonly state?: number;
}

class Client {
  readonly #grpc: grpc.Client;
  readonly #metadata = new grpc.Metadata();

  constructor(address: string, token?: string) {
    this.#grpc = new grpc.Client(address, grpc.credentials.createInsecure());
    if (token !== undefined) this.#metadata.set('authorization', `Bearer ${token}`);
  }

  call(name: 'Ready' | 'SendPolicyInstructions' | 'GetActions', request: Data = {}): Promise<Data> {
    const { path, requestSerialize, responseDeserialize } = asyncInference[name];
    return this.#ended((done) =>
      this.#grpc.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, this.#metadata, done),
    );
  }

  send(pieces: readonly Data[]): Promise<Data> {
    const { path, requestSerialize, responseDeserialize } = asyncInference.SendObservations;
    return this.#ended((done) => {
      const stream = this.#grpc.makeClientStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        this.#metadata,
        done,
      );
      stream.on('error', () => {});
      for (const piece of pieces) stream.write(piece);
      stream.end();
    });
  }

  observe(data: Buffer): Promise<Data> {
    return this.send([{ state: 3, data }]);
  }

  async start(data: Buffer = config): Promise<void> {
    await this.call('Ready');
    await this.call('SendPolicyInstructions', { data });
  }

  close(): void {
    this.#grpc.close();
  }

  #ended(begin: (done: grpc.requestCallback<Data>) => void): Promise<Data> {
    return inTime(
      new Promise((resolve, reject) =>
        begin((error, value) => (error === null ? resolve(value!) : reject(error))),
      ),
      'an answer',
    );
  }
}

async function lerobot(
  policy: FakePolicy,
  more: Partial<ServeOptions>,
  body: (client: Client, address: string, metric: (line: string) => Promise<number>) => Promise<void>,
): Promise<void> {
  await served(policy, { ...options, ...more }, async ({ server }) => {
    const client = new Client(server.lerobotAddress!);
    try {
      await body(client, server.lerobotAddress!, (line) => metric(server, line));
    } finally {
      client.close();
    }
  });
}

const failureOf = async (promise: Promise<unknown>): Promise<[number, string]> => {
  const error = await promise.then(
    () => null,
    (caught: grpc.ServiceError) => caught,
  );
  assert.ok(error !== null, 'it was not refused');
  return [error.code, error.details];
};

const frame = new NdArray(
  '|u1',
  [2, 2, 3],
  Uint8Array.from({ length: 12 }, (_, i) => i),
);

function observation(
  first: number,
  timestep: number,
  more: Record<string, Plain> = {},
  mustGo = false,
): Buffer {
  const seen = {
    'shoulder_pan.pos': new Float(first),
    'gripper.pos': new Float(1),
    front: frame,
    task: 'pick up',
  };
  return pickle(
    pushed(
      new Instance('TimedObservation', {
        timestamp: new Float(1.5),
        timestep,
        observation: { ...seen, ...more },
        must_go: mustGo,
      }),
    ),
  );
}

/** Timestep and actions of each TimedAction of an answer. */
function actionsOf({ data = new Uint8Array() }: Data): [number, number[]][] {
  const answer = Buffer.from(data);
  if (answer.length === 0) return [];
  assert.equal([...answer.subarray(0, 4)], [0x80, 2, 0x5d, 0x28]);
  const rows: [number, number[]][] = [];
  for (let at = 4; answer[at] !== 0x65; ) {
    // TimedAction or a reference to it, then its timestamp and timestep
    at = answer.indexOf(0x47, at) + 9;
    assert.is(answer[at], 0x4a);
    const timestep = answer.readInt32LE(at + 1);
    at = answer.indexOf('](', at + 5) + 2;
    const values: number[] = [];
    for (; answer[at] === 0x47; at += 9) values.push(answer.readDoubleBE(at + 1));
    rows.push([timestep, values]);
    at += 5;
  }
  return rows;
}

function chunk(first: number, timestep: number): [number, number[]][] {
  const values = [...defaultActions([2, 3], first)];
  return [
    [timestep, values.slice(0, 3)],
    [timestep + 1, values.slice(3)],
  ];
}

test('what lerobot 0.6.1 sends is read, and answered with its timesteps', async () => {
  const policy = new FakePolicy({ platform, immediate: true });
  await lerobot(policy, {}, async (client, _, count) => {
    await client.start();
    await client.observe(Buffer.from(captured.observation, 'base64'));
    assert.equal(actionsOf(await client.call('GetActions')), chunk(0.5, 3));
    const { observation: seen, options } = policy.calls.at(-1)!;
    assert.is(options.instruction, 'pick up');
    assert.equal(Array.from(seen.state!), [0.5, 1]);
    assert.equal([...seen.images.full_image!.data], [...frame.data]);
    assert.is(await count('semanticvla_requests_total{protocol="lerobot",code="OK"}'), 1);
    assert.is(await count('semanticvla_connections{protocol="lerobot"}'), 1);
  });
});

test('pieces, the newest observation, timesteps that were predicted, must_go, rows that are taken', async () => {
  const policy = new FakePolicy({ platform, immediate: true });
  await lerobot(policy, {}, async (client) => {
    const one = pushed(
      new Instance('RemotePolicyConfig', {
        actions_per_chunk: 1,
        lerobot_features: {
          'observation.state': { names: ['gripper.pos', 'shoulder_pan.pos'] },
          'observation.images.cam': { names: [] },
        },
        rename_map: { 'observation.images.cam': 'observation.images.front' },
      }),
    );
    await client.start(pickle(one));
    const whole = observation(5, 0, { front: null, cam: frame });
    await client.send([
      { state: 1, data: whole.subarray(0, 100) },
      { state: 2, data: whole.subarray(100, 101) },
      { state: 3, data: whole.subarray(101) },
    ]);
    // a newer one takes its place
    await client.observe(observation(6, 1, { cam: frame }));
    const before = policy.calls.length;
    // the state is in the order of the robot's features: the gripper first
    assert.equal(actionsOf(await client.call('GetActions')), chunk(1, 1).slice(0, 1));
    assert.equal(Array.from(policy.calls.at(-1)!.observation.state!), [1, 6]);
    // predicted already; must_go predicts it again
    await client.observe(observation(7, 1, { cam: frame }));
    await client.observe(observation(8, 0, { cam: frame }, true));
    assert.is(actionsOf(await client.call('GetActions'))[0]![0], 0);
    assert.is(policy.calls.length, before + 2);
    // none is there: no data, after a while
    assert.equal(actionsOf(await client.call('GetActions')), []);
  });
});

test('what is refused at the start, in plain words', async () => {
  const policy = Object.assign(new FakePolicy({ platform, immediate: true }), { stateSize: 2 });
  await lerobot(policy, {}, async (client) => {
    const features = (state: Plain, camera: string): Plain => ({
      'observation.state': { names: state },
      [`observation.images.${camera}`]: {},
    });
    const wrong: [Record<string, Plain>, RegExp][] = [
      [
        { actions_per_chunk: 8, lerobot_features: features(['a', 'b'], 'top') },
        /^CAMERA_MISSING: Camera full_image: expected front among.*found top/,
      ],
      [
        { actions_per_chunk: 8, lerobot_features: features(['a'], 'front') },
        /^STATE_INVALID: .*2 numbers.*found 1: a/,
      ],
      [{ actions_per_chunk: 8, lerobot_features: features([1], 'front') }, /^REQUEST_INVALID: /],
      [
        { actions_per_chunk: 0, lerobot_features: features(['a', 'b'], 'front') },
        /^REQUEST_INVALID: .*actions_per_chunk/,
      ],
      [{ actions_per_chunk: 8 }, /^REQUEST_INVALID: .*lerobot_features/],
    ];
    for (const [state, words] of wrong) {
      const data = pickle(pushed(new Instance('RemotePolicyConfig', state)));
      const [code, details] = await failureOf(client.call('SendPolicyInstructions', { data }));
      assert.is(code, grpc.status.INVALID_ARGUMENT);
      assert.match(details, words);
    }
    // and without an introduction nothing is taken
    for (const call of [client.observe(observation(1, 1)), client.call('GetActions')])
      assert.match((await failureOf(call))[1], /^REQUEST_INVALID: .*SendPolicyInstructions first/);
  });
});

test('observations that are refused, and a robot that goes on after them', async () => {
  const policy = new FakePolicy({ platform, immediate: true });
  await lerobot(policy, {}, async (client) => {
    await client.start();
    const before = policy.calls.length;
    for (const [more, words] of [
      [{ front: null }, /^CAMERA_MISSING: /],
      [{ front: new NdArray('<f4', [1, 1, 3], new Uint8Array(12)) }, /^IMAGE_DTYPE: /],
      [{ front: new NdArray('|u1', [12], frame.data) }, /^IMAGE_INVALID: /],
      [{ 'shoulder_pan.pos': new Float(Number.NaN) }, /^STATE_INVALID: .*NaN/],
      [{ 'shoulder_pan.pos': new Float(Number.POSITIVE_INFINITY) }, /^STATE_INVALID: /],
      [{ 'shoulder_pan.pos': 'a' }, /^STATE_INVALID: Joint shoulder_pan.pos/],
      [{ task: '' }, /^INSTRUCTION_INVALID: /],
    ] as const) {
      const answer = client
        .observe(observation(1, 1, more as Record<string, Plain>))
        .then(() => client.call('GetActions'));
      const [code, details] = await failureOf(answer);
      assert.is(code, grpc.status.INVALID_ARGUMENT, details);
      assert.match(details, words);
    }
    assert.is(policy.calls.length, before);
    // the timestep was never predicted, so it still may be
    await client.observe(observation(1, 1));
    assert.equal(actionsOf(await client.call('GetActions')), chunk(1, 1));
  });
});

test('actions that are not finite, or beyond float32, never leave', async () => {
  for (const value of [Number.NaN, 1e39]) {
    const policy = new FakePolicy({ platform });
    await lerobot(policy, {}, async (client) => {
      await client.start();
      await client.observe(observation(1, 1));
      const before = policy.calls.length;
      const asked = failureOf(client.call('GetActions'));
      (await policy.called(before + 1)).finish(Float64Array.of(0, 0, 0, 0, value, 0));
      const [code, details] = await asked;
      assert.is(code, grpc.status.INTERNAL);
      assert.match(details, /^ACTION_NOT_FINITE: /);
    });
  }
});

test('limits and access', async () => {
  const policy = new FakePolicy({ platform, immediate: true });
  const token = 'correct-horse-battery-staple-0451';
  await lerobot(policy, { token }, async (client, address) => {
    assert.equal((await failureOf(client.call('Ready')))[0], grpc.status.UNAUTHENTICATED);
    const known = new Client(address, token);
    await known.start();
    known.close();
  });
  await lerobot(policy, { limits: { bodyBytes: 1000, requestMs: 50 } }, async (client) => {
    await client.start();
    const large = client.send([
      { state: 1, data: Buffer.alloc(900) },
      { state: 3, data: Buffer.alloc(900) },
    ]);
    assert.match((await failureOf(large))[1], /^REQUEST_TOO_LARGE: /);
    for (const pieces of [
      [],
      [{ state: 2 }],
      [{ state: 1 }],
      [{ state: 3 }, { state: 3 }],
      [{ state: 0 }],
      [{ state: 9 }],
    ])
      assert.match((await failureOf(client.send(pieces)))[1], /^REQUEST_INVALID: /);
  });
});

const many = (count: number, part: Buffer | string): Buffer =>
  Buffer.concat(Array.from({ length: count }, () => Buffer.from(part)));

/** Pickles made to break a reader, with what is wrong with them. */
const hostile: [string, Buffer][] = [
  ['nothing', Buffer.alloc(0)],
  ['no pickle', Buffer.from('{"a": 1}')],
  ['os.system', pickle(global('os', 'system'), text('true'), 0x85, 'R')],
  ['posix.system by GLOBAL', bytes(0x80, 2, 'cposix\nsystem\n', text('true'), 0x85, 'R.')],
  ['builtins.eval', pickle(global('builtins', 'eval'), text('1'), 0x85, 'R')],
  ['a name of the prototype', pickle(global('constructor', ''), ')R')],
  ['INST', bytes(0x80, 2, '(Vtrue\nios\nsystem\n.')],
  ['OBJ', bytes(0x80, 2, '(', global('os', 'system'), text('true'), 'o.')],
  ['an object of a foreign class', pickle(global('subprocess', 'Popen'), ')', 0x81)],
  ['numpy.dtype of objects', observation(1, 1, { front: Object.assign(frame, {}) }).subarray(0, -1)],
  ['object arrays', pickle(array({ dtype: '|O8', shape: [1], data: new Uint8Array(8) }))],
  ['a structured dtype', pickle(array({ dtype: '|V8', shape: [1], data: new Uint8Array(8) }))],
  ['a big-endian array', pickle(array({ dtype: '>f8', shape: [1], data: new Uint8Array(8) }))],
  ["Fortran's order", pickle(array(frame, 0x88))],
  [
    'fewer bytes than the shape',
    pickle(array({ dtype: '<f8', shape: [1000, 1000], data: new Uint8Array(8) })),
  ],
  ['a negative shape', pickle(array({ dtype: '|u1', shape: [-1, -8], data: new Uint8Array(8) }))],
  ['a scalar of no bytes', pickle(scalar('<f8', new Uint8Array(0)))],
  ['a reducer without arguments', pickle(global('numpy', 'dtype'), 'NR')],
  ['numpy.ndarray called', pickle(global('numpy', 'ndarray'), ')R')],
  ['BUILD on a list', pickle(']}b')],
  [
    'BUILD of a list on an object',
    pickle(global('lerobot.async_inference.helpers', 'TimedObservation'), ')', 0x81, ']b'),
  ],
  ['BINBYTES of 4 GB', pickle('B', 0xff, 0xff, 0xff, 0xff)],
  ['BINUNICODE of 4 GB', pickle('X', 0xff, 0xff, 0xff, 0xff)],
  ['BYTEARRAY8 of all', pickle(0x96, many(8, Buffer.of(0xff)))],
  ['BINBYTES8', pickle(0x8e, many(8, Buffer.of(0xff)))],
  ['LONG1 of 255 bytes', pickle(0x8a, 0xff, Buffer.alloc(255))],
  ['LONG4', pickle(0x8b, 1, 0, 0, 0, 1)],
  ['a memo that doubles', pickle(']', many(5000, bytes('(h', 0, 'h', 0, 'e')))],
  ['a memo bomb of tuples', pickle(')', 'q', 0, many(8000, bytes('h', 0, 'h', 0, 0x86, 'q', 0)))],
  ['many opcodes', pickle(many(100_000, 'N'))],
  ['many marks', pickle(many(30_000, '('))],
  ['a reference to nothing', pickle('h', 7)],
  ['an empty stack', pickle('e')],
  ['a persistent id', pickle(text('a'), 'Q')],
  ['an extension', pickle(0x82, 1)],
  ['a dict key twice', pickle('}(', text('a'), 'N', text('a'), 'Nu')],
  ['a key that is a list', pickle('}(]Nu')],
  ['a text that is not UTF-8', pickle('X', 1, 0, 0, 0, 0xff)],
  ['bytes behind the end', bytes(observation(1, 1), 'N')],
  ['a list that holds itself', pickle(']q', 0, 'h', 0, 'a')],
  ['protocol 0', Buffer.from('(lp0\n.')],
  ['protocol 6', bytes(0x80, 6, 'N.')],
  ['another class', config],
];

test('hostile pickles: refused with a code, quickly and in little memory', async () => {
  const policy = new FakePolicy({ platform, immediate: true });
  await lerobot(policy, {}, async (client) => {
    await client.start();
    const before = policy.calls.length;
    for (const [what, data] of hostile) {
      const [code, details] = await failureOf(client.observe(data));
      assert.is(code, grpc.status.INVALID_ARGUMENT, `${what}: ${details}`);
      assert.match(details, /^REQUEST_INVALID: /, what);
    }
    assert.is(policy.calls.length, before);
  });
});

test('cut off or changed anywhere, a pickle is read or refused with a code', () => {
  const whole = Buffer.from(captured.observation, 'base64');
  const refused = (data: Buffer): boolean => {
    try {
      readPickle(data, 'TimedObservation');
      return false;
    } catch (error) {
      assert.ok(error instanceof SemanticVlaError && error.code === 'REQUEST_INVALID', String(error));
      return true;
    }
  };
  for (let end = 0; end < whole.length; end++) assert.ok(refused(whole.subarray(0, end)), `${end}`);
  assert.not(refused(whole));
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 0, max: 255 })), {
        minLength: 1,
        maxLength: 5,
      }),
      (changes) => {
        const changed = Buffer.from(whole);
        for (const [at, value] of changes) changed[at] = value;
        refused(changed);
      },
    ),
    { numRuns: 500 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (data) => {
      refused(bytes(0x80, 4, data, '.'));
    }),
    { numRuns: 500 },
  );
});

const python = join(
  process.env.XDG_CACHE_HOME || join(homedir(), '.cache'),
  'semanticvla/lerobot-venv/bin/python',
);
const isThere = existsSync(python);
const available = isThere && process.env.SEMANTICVLA_LONG_TESTS === '1';
const reason = isThere
  ? 'lerobot takes half a minute to load; SEMANTICVLA_LONG_TESTS=1 runs it'
  : 'there is no environment with lerobot (4.9 GB); test/serve/peers/lerobotSetup.sh makes it';

interface LerobotResult {
  readonly started: boolean;
  readonly refused: boolean;
  readonly actions: [number, number[]][];
  readonly dtype: string;
}

testWhen(available, reason, test, "lerobot's robot client", async () => {
  const dimensions = ['shoulder_pan.pos', 'elbow_flex.pos', 'gripper.pos'];
  const chunked = { ...platform, chunk: 4 };
  const fake = new FakePolicy({ platform: chunked, dimensions, immediate: true });
  const calls: Seen[] = [];
  const policy = Object.assign(watchedPolicy(fake, calls), { stateSize: 3 });
  await served(policy, options, async ({ server }) => {
    calls.length = 0; // a server asks its policy once before the ports open
    const result = await runPeer<LerobotResult>(python, 'robotClient.py', [server.lerobotAddress!]);
    assert.equal([result.started, result.refused, result.dtype], [true, true, 'torch.float32']);
    assert.ok(calls.length >= 3, `${calls.length} predictions`);
    for (const { images, state, instruction } of calls) {
      assert.is(instruction, 'pick up the bowl');
      const { data, width, height } = images.full_image!;
      assert.equal([width, height], [64, 48]);
      // the robot's frame and its joints tell the number of the actions before
      assert.is(data[0], state[0]! % 256);
      assert.equal(state.slice(1), [2, 3]);
    }
    // every action is a row of a chunk that was predicted, in the order of the robot's motors
    const rows = new Set(calls.flatMap(({ actions }) => actions.map((row) => row.join())));
    assert.ok(result.actions.length >= 8, `${result.actions.length} actions`);
    for (const [, action] of result.actions) assert.ok(rows.has(action.join()), action.join());
  });
});

test.run();
