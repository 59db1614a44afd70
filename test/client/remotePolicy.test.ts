import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { WebSocketServer } from 'ws';
import { connectAct, connectOpenpi } from '../../lib/client/connect.ts';
import type { RemoteEvent, RemoteOptions, RemotePolicy } from '../../lib/client/remotePolicy.ts';
import { retryDelay } from '../../lib/client/retryDelay.ts';
import { encodeActions } from '../../lib/serve/jsonNumpy.ts';
import { decodeMsgpackMap, encodeMsgpackNumpy } from '../../lib/serve/msgpackNumpy.ts';
import { float64Array, type WireValue } from '../../lib/serve/ndarray.ts';
import type { PolicyServer } from '../../lib/serve/policyServer.ts';
import { servePolicy } from '../../lib/serve/servePolicy.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import type { Observation, Policy } from '../../lib/types.ts';
import { defaultActions, FakePolicy, liberoPlatform } from '../serve/fakePolicy.ts';
import { codeOf, served, silent, until } from '../serve/harness.ts';

const test = suite('remote policies');

type Protocol = 'act' | 'openpi';
const protocols: readonly Protocol[] = ['act', 'openpi'];
const options: RemoteOptions = { deadlineMs: 15_000 };
const token = 'correct-horse-battery-staple-0451';

function observe(first = 0): Observation {
  const frame = (level: number) => ({ data: new Uint8Array(48).fill(level), width: 4, height: 4 });
  return { images: { full_image: frame(10), wrist_image: frame(200) }, state: [first, 1, 2] };
}

const words = { instruction: 'pick up the bowl' };

function connect(protocol: Protocol, url: string, given: Partial<RemoteOptions> = {}): Promise<RemotePolicy> {
  return (protocol === 'act' ? connectAct : connectOpenpi)(url, { ...options, ...given });
}

/** A server on a given port, so that it can come back on it. */
function serveOn(policy: Policy, protocol: Protocol, port: number, chunk = 'a'): Promise<PolicyServer> {
  return servePolicy(policy, {
    act: protocol === 'act' ? { port } : false,
    openpi: protocol === 'openpi' ? { port } : false,
    logger: silent,
    metadata: { checkpoint: chunk },
    limits: { drainMs: 200 },
  });
}

function portOf(server: PolicyServer): number {
  return Number(new URL(server.actUrl ?? server.openpiUrl ?? '').port);
}

function urlOf(server: PolicyServer): string {
  return server.actUrl ?? server.openpiUrl ?? '';
}

test('a remote policy is a policy: facts, actions, units, times', async () => {
  for (const protocol of protocols) {
    const policy = new FakePolicy({ immediate: true });
    await served(policy, { unnormKey: 'bowls', token }, async (server) => {
      await using remote = await connect(protocol, server[protocol], { token });
      assert.equal(remote.platform, policy.platform);
      assert.equal(remote.dimensions, policy.dimensions);
      assert.equal([remote.variant, remote.imageSize, remote.patchGrid], ['SemanticVLA', 224, 16]);
      const chunk = await remote.predict(observe(0.25), words);
      assert.equal([...chunk.actions], [...defaultActions([2, 3], 0.25)]);
      assert.equal(chunk.shape, [2, 3]);
      assert.is(chunk.unnormKey, 'bowls');
      assert.is(chunk.normalized.length, protocol === 'openpi' ? 6 : 0);
      assert.ok(chunk.timings.total! >= 0);
      const { observation } = policy.calls[0]!;
      assert.is(observation.images.full_image?.data[0], 10);
      assert.is(observation.images.wrist_image?.data[0], 200);
      assert.is(await codeOf(remote.predict(observe(), { ...words, unnormKey: 'cups' })), 'OPTION_INVALID');
      assert.is(await codeOf(remote.stages()), 'BACKEND_UNAVAILABLE');
    });
  }
});

test('bgr frames arrive as rgb, and the caller may reuse its buffers at once', async () => {
  for (const protocol of protocols) {
    const policy = new FakePolicy({ immediate: true });
    await served(policy, {}, async (server) => {
      await using remote = await connect(protocol, server[protocol]);
      const data = Uint8Array.from({ length: 12 }, (_, i) => i);
      const frame = { data, width: 2, height: 2, order: 'bgr' as const };
      const state = [1, 2, 3];
      const pending = remote.predict({ images: { full_image: frame, wrist_image: frame }, state }, words);
      data.fill(99);
      state.fill(99);
      await pending;
      const { images, state: arrived } = policy.calls[0]!.observation;
      assert.equal([...images.full_image!.data], [2, 1, 0, 5, 4, 3, 8, 7, 6, 11, 10, 9]);
      assert.equal(Array.from(arrived!), [1, 2, 3]);
    });
  }
});

test('calls run one after the other, and each gets its own answer', async () => {
  for (const protocol of protocols) {
    const policy = new FakePolicy({ immediate: true });
    await served(policy, {}, async (server) => {
      await using remote = await connect(protocol, server[protocol]);
      const chunks = await Promise.all(
        Array.from({ length: 16 }, (_, i) => remote.predict(observe(i), words)),
      );
      assert.equal(
        chunks.map(({ actions }) => actions[0]),
        Array.from({ length: 16 }, (_, i) => i),
      );
      assert.is(policy.mostRunning, 1);
    });
  }
});

test('what the server refuses keeps its code, and the policy goes on', async () => {
  for (const protocol of protocols) {
    const policy = new FakePolicy();
    const events: RemoteEvent[] = [];
    // The server looks for a key that this client does not send.
    await served(policy, { keys: { state: 'joints' } }, async (server) => {
      await using remote = await connect(protocol, server[protocol], {
        onEvent: (event) => events.push(event),
      });
      assert.is(await codeOf(remote.predict(observe(), words)), 'STATE_INVALID');
      await until(() => remote.reachable, 'its return');
      await using right = await connect(protocol, server[protocol], { keys: { state: 'joints' } });
      const pending = codeOf(right.predict(observe(), words));
      (await policy.called(1)).fail(new Error('out of memory'));
      assert.is(await pending, 'REMOTE_FAILED');
    });
    if (protocol === 'act') assert.equal(events.filter(({ kind }) => kind === 'resume').length, 0);
  }
});

test('out of reach: refused at once, HOLD told, and back with jitter', async () => {
  for (const protocol of protocols) {
    const policy = new FakePolicy();
    const events: RemoteEvent[] = [];
    let server = await serveOn(policy, protocol, 0);
    const port = portOf(server);
    await using remote = await connect(protocol, urlOf(server), { onEvent: (event) => events.push(event) });
    const pending = codeOf(remote.predict(observe(), words));
    await policy.called(1);
    // The inference never ends by itself: draining aborts it.
    await server.close();
    assert.ok(['REMOTE_UNREACHABLE', 'DRAINING'].includes(await pending));
    await until(
      async () => (await codeOf(remote.predict(observe(), words))) === 'REMOTE_UNREACHABLE',
      'the hold',
    );
    assert.not.ok(remote.reachable);
    assert.is(await codeOf(remote.predict(observe(), words)), 'REMOTE_UNREACHABLE');
    server = await serveOn(policy, protocol, port);
    await until(() => remote.reachable, 'the return');
    const calls = policy.calls.length;
    const again = remote.predict(observe(7), words);
    (await policy.called(calls + 1)).finish();
    assert.is((await again).actions[0], 7);
    assert.equal(
      events.map(({ kind }) => kind),
      ['hold', 'resume'],
    );
    await remote.close();
    await server.close();
  }
});

test('another policy behind the same address is refused for good', async () => {
  for (const protocol of protocols) {
    const policy = new FakePolicy({ immediate: true });
    const events: RemoteEvent[] = [];
    let server = await serveOn(policy, protocol, 0, 'a');
    const port = portOf(server);
    await using remote = await connect(protocol, urlOf(server), { onEvent: (event) => events.push(event) });
    await remote.predict(observe(), words);
    await server.close();
    server = await serveOn(policy, protocol, port, 'b');
    // Over HTTP the change is noticed in the answer itself, which is dropped.
    await until(
      async () => (await codeOf(remote.predict(observe(), words))) === 'REMOTE_CHANGED',
      'the refusal',
    );
    assert.is(await codeOf(remote.predict(observe(), words)), 'REMOTE_CHANGED');
    assert.is(events.at(-1)?.kind, 'changed');
    await remote.close();
    await server.close();
  }
});

test('deadlines and aborts leave the next call its own answer', async () => {
  for (const protocol of protocols) {
    const policy = new FakePolicy();
    await served(policy, {}, async (server) => {
      await using remote = await connect(protocol, server[protocol]);
      const controller = new AbortController();
      const aborted = codeOf(remote.predict(observe(1), { ...words, signal: controller.signal }));
      const first = await policy.called(1);
      controller.abort(new SemanticVlaError('OBSERVATION_INVALID', 'a newer one is there'));
      assert.is(await aborted, 'OBSERVATION_INVALID');
      const next = remote.predict(observe(2), words);
      // Over HTTP the server sees that the client has left; over the WebSocket the old answer comes first and is dropped.
      if (protocol === 'openpi') first.finish();
      (await policy.called(2)).finish();
      assert.is((await next).actions[0], 2);

      await using hasty = await connect(protocol, server[protocol], { deadlineMs: 50, connectMs: 15_000 });
      assert.is(await codeOf(hasty.predict(observe(3), words)), 'DEADLINE_EXCEEDED');
      policy.calls.at(-1)?.finish();
    });
  }
});

test('close: calls under way and later ones reject, twice is fine', async () => {
  for (const protocol of protocols) {
    const policy = new FakePolicy();
    await served(policy, {}, async (server) => {
      const remote = await connect(protocol, server[protocol]);
      const pending = codeOf(remote.predict(observe(), words));
      await policy.called(1);
      await remote.close();
      assert.is(await pending, 'CLOSED');
      assert.is(await codeOf(remote.predict(observe(), words)), 'CLOSED');
      await remote.close();
      await until(() => policy.aborted === 1, 'the abort on the server');
    });
  }
});

test('no server, a wrong token, a wrong address', async () => {
  for (const protocol of protocols) {
    const server = await serveOn(new FakePolicy(), protocol, 0);
    const url = urlOf(server);
    await server.close();
    assert.is(await codeOf(connect(protocol, url)), 'REMOTE_UNREACHABLE');
    await served(new FakePolicy(), { token }, async (guarded) => {
      assert.is(await codeOf(connect(protocol, guarded[protocol])), 'UNAUTHORIZED');
    });
    const bad = ['gpu:8777', 'ftp://gpu', `${url}/act`, url.replace('//', '//me:secret@')];
    for (const address of bad) assert.is(await codeOf(connect(protocol, address)), 'OPTION_INVALID', address);
  }
  assert.is(await codeOf(connectAct('http://127.0.0.1:1', {} as RemoteOptions)), 'OPTION_INVALID');
});

/** Somebody else's server, without our metadata. */
async function foreign(
  protocol: Protocol,
  answer: () => string,
  map?: () => unknown,
): Promise<{ url: string; server: Server }> {
  const server = createServer((request, response) => {
    if (request.url !== '/act') response.writeHead(404).end();
    else
      request.resume().on('end', () => response.setHeader('content-type', 'application/json').end(answer()));
  });
  if (protocol === 'openpi') {
    new WebSocketServer({ server }).on('connection', (socket) => {
      socket.send(encodeMsgpackNumpy(new Map<string, WireValue>([['env', 'droid']])));
      socket.on('message', (data: Buffer) => {
        if (map !== undefined) {
          socket.send(encodeMsgpackNumpy(map() as WireValue));
          return;
        }
        const { length } = decodeMsgpackMap(data).get('prompt') as string;
        const rows = float64Array(
          Float64Array.from({ length: 3 }, () => length),
          [1, 3],
        );
        socket.send(encodeMsgpackNumpy(new Map([['actions', rows]])));
      });
    });
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `${protocol === 'act' ? 'http' : 'ws'}://127.0.0.1:${port}`, server };
}

test("the reference's server and openpi's, which do not describe their policies", async () => {
  const rows = [float64Array(Float64Array.of(1, 2, 3), [3])];
  let answer = encodeActions(rows, false);
  const policy = { platform: liberoPlatform, dimensions: ['x', 'y', 'gripper'] };
  for (const protocol of protocols) {
    const { url, server } = await foreign(protocol, () => answer);
    assert.is(await codeOf(connect(protocol, url)), 'OPTION_REQUIRED');
    await using remote = await connect(protocol, url, { policy });
    const chunk = await remote.predict(observe(), words);
    assert.equal([...chunk.actions], protocol === 'act' ? [1, 2, 3] : [16, 16, 16]);
    if (protocol === 'act') {
      answer = '"error"';
      assert.is(await codeOf(remote.predict(observe(), words)), 'REMOTE_FAILED');
      answer = '<html>';
      assert.is(await codeOf(remote.predict(observe(), words)), 'REMOTE_FAILED');
      answer = encodeActions([float64Array(Float64Array.of(1, 2), [2])], false);
      assert.is(await codeOf(remote.predict(observe(), words)), 'REMOTE_FAILED');
      answer = encodeActions([float64Array(Float64Array.of(1, 2, Number.NaN), [3])], false);
      assert.is(await codeOf(remote.predict(observe(), words)), 'ACTION_NOT_FINITE');
    }
    await remote.close();
    server.closeAllConnections();
    server.close();
  }
});

/** What a server may send instead of a chunk of one row `x y gripper`. */
const f8 = (values: number[], shape: number[]) => float64Array(Float64Array.from(values), shape);
const openpiAnswers: Readonly<Record<string, readonly [unknown, string]>> = {
  'no map': [[], 'REMOTE_FAILED'],
  nothing: [null, 'REMOTE_FAILED'],
  'an empty map': [new Map(), 'REMOTE_FAILED'],
  'actions null': [new Map([['actions', null]]), 'REMOTE_FAILED'],
  'actions as a list': [new Map([['actions', [[1, 2, 3]]]]), 'REMOTE_FAILED'],
  'actions of one dimension': [new Map([['actions', f8([1, 2, 3], [3])]]), 'REMOTE_FAILED'],
  'actions of three dimensions': [new Map([['actions', f8([1, 2, 3], [1, 1, 3])]]), 'REMOTE_FAILED'],
  'no rows': [new Map([['actions', f8([], [0, 3])]]), 'REMOTE_FAILED'],
  'rows without values': [new Map([['actions', f8([], [3, 0])]]), 'REMOTE_FAILED'],
  'another robot': [new Map([['actions', f8([1, 2, 3, 4], [1, 4])]]), 'REMOTE_FAILED'],
  'more rows than a chunk has': [
    new Map([['actions', f8(new Array<number>(3 * 4097).fill(0), [4097, 3])]]),
    'REMOTE_FAILED',
  ],
  NaN: [new Map([['actions', f8([1, NaN, 3], [1, 3])]]), 'ACTION_NOT_FINITE'],
  infinite: [new Map([['actions', f8([1, 2, -Infinity], [1, 3])]]), 'ACTION_NOT_FINITE'],
  'normalized NaN': [
    new Map([
      ['actions', f8([1, 2, 3], [1, 3])],
      ['normalized', f8([1, NaN, 3], [1, 3])],
    ]),
    'ACTION_NOT_FINITE',
  ],
  'normalized of another shape': [
    new Map([
      ['actions', f8([1, 2, 3], [1, 3])],
      ['normalized', f8([1, 2], [1, 2])],
    ]),
    'REMOTE_FAILED',
  ],
};
const actAnswers: Readonly<Record<string, readonly [string, string]>> = {
  nothing: ['', 'REMOTE_FAILED'],
  null: ['null', 'REMOTE_FAILED'],
  'an object': ['{}', 'REMOTE_FAILED'],
  'no rows': ['[]', 'REMOTE_FAILED'],
  'rows that are none': ['[null]', 'REMOTE_FAILED'],
  'plain lists': ['[[1,2,3]]', 'REMOTE_FAILED'],
  'rows of several lengths': [encodeActions([f8([1, 2, 3], [3]), f8([1, 2], [2])], false), 'REMOTE_FAILED'],
  'rows of rows': [encodeActions([f8([1, 2, 3], [1, 3])], false), 'REMOTE_FAILED'],
  'rows without values': [encodeActions([f8([], [0])], false), 'REMOTE_FAILED'],
  'more rows than a chunk has': [
    encodeActions(
      Array.from({ length: 4097 }, () => f8([1, 2, 3], [3])),
      false,
    ),
    'REMOTE_FAILED',
  ],
  infinite: [encodeActions([f8([1, 2, 3], [3]), f8([1, Infinity, 3], [3])], false), 'ACTION_NOT_FINITE'],
};

test('no nonsense of a server is given out as a chunk, and the next answer counts', async () => {
  const policy = { platform: liberoPlatform, dimensions: ['x', 'y', 'gripper'] };
  let answer = '';
  const act = await foreign('act', () => answer);
  await using byHttp = await connect('act', act.url, { policy });
  for (const [name, [text, wanted]] of Object.entries(actAnswers)) {
    answer = text;
    assert.is(await codeOf(byHttp.predict(observe(), words)), wanted, `act: ${name}`);
    answer = encodeActions([f8([1, 2, 3], [3])], false);
    assert.equal([...(await byHttp.predict(observe(), words)).actions], [1, 2, 3], `act after: ${name}`);
  }
  await byHttp.close();
  act.server.closeAllConnections();
  act.server.close();
  let map: unknown;
  const openpi = await foreign(
    'openpi',
    () => '',
    () => map,
  );
  for (const [name, [value, wanted]] of Object.entries(openpiAnswers)) {
    await using remote = await connect('openpi', openpi.url, { policy });
    map = value;
    assert.is(await codeOf(remote.predict(observe(), words)), wanted, `openpi: ${name}`);
  }
  map = new Map<string, unknown>([
    ['actions', f8([1, 2, 3], [1, 3])],
    ['normalized', true],
    ['server_timing', new Map([['infer_ms', NaN]])],
  ]);
  await using remote = await connect('openpi', openpi.url, { policy });
  const chunk = await remote.predict(observe(), words);
  assert.equal(
    [[...chunk.actions], chunk.normalized.length],
    [[1, 2, 3], 0],
    'what others call so is theirs',
  );
  await remote.close();
  openpi.server.closeAllConnections();
  openpi.server.close();
});

test('what the caller says of a server is checked', async () => {
  const { url, server } = await foreign('act', () => '');
  for (const policy of [
    {},
    { platform: liberoPlatform },
    { platform: {}, dimensions: ['x'] },
    { platform: liberoPlatform, dimensions: [] },
    { platform: liberoPlatform, dimensions: 'x y' },
  ])
    assert.is(await codeOf(connect('act', url, { policy: policy as never })), 'OPTION_INVALID');
  server.closeAllConnections();
  server.close();
});

test('a listener that throws or rejects: the server is tried again, and resumed', async () => {
  for (const protocol of protocols) {
    const told: string[] = [];
    const policy = new FakePolicy({ immediate: true });
    const first = await serveOn(policy, protocol, 0);
    const port = portOf(first);
    await using remote = await connect(protocol, urlOf(first), {
      onEvent: ({ kind }) => {
        told.push(kind);
        if (kind === 'hold') throw new Error('mine');
        return Promise.reject(new Error('mine')) as never;
      },
    });
    await remote.predict(observe(), words);
    await first.close();
    await until(
      async () => (await codeOf(remote.predict(observe(), words))) === 'REMOTE_UNREACHABLE',
      'the hold',
    );
    const second = await serveOn(new FakePolicy({ immediate: true }), protocol, port);
    await until(() => remote.reachable, 'the return');
    await remote.predict(observe(), words);
    assert.equal(told, ['hold', 'resume']);
    await second.close();
  }
});

test('waits grow from 0.1 s to 2 s and are drawn', () => {
  for (let attempt = 0; attempt < 12; attempt++) {
    assert.is(retryDelay(attempt, 0), 100);
    assert.ok(retryDelay(attempt, 0.999) <= 2000);
    assert.ok(retryDelay(attempt + 1, 0.5) >= retryDelay(attempt, 0.5));
  }
  assert.ok(retryDelay(10, 0.999) > 1990);
});

test.run();
