/** Robots and a fleet: who gets which replica, when they move, and what they notice when something dies. */

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { connectAct, connectOpenpi } from '../../lib/client/connect.ts';
import type { RemoteEvent, RemoteOptions, RemotePolicy } from '../../lib/client/remotePolicy.ts';
import type { Observation } from '../../lib/types.ts';
import { root } from '../helpers/cli.ts';
import { FakePolicy } from '../serve/fakePolicy.ts';
import { codeOf, until } from '../serve/harness.ts';
import { DirectoryProcess, FakeReplica } from './fleetHarness.ts';

const test = suite('fleet');

type Protocol = 'act' | 'openpi';
const protocols: readonly Protocol[] = ['act', 'openpi'];
const token = 'correct-horse-battery-staple-0451';
const words = { instruction: 'pick up the bowl' };

function observe(first = 0): Observation {
  const frame = { data: new Uint8Array(48), width: 4, height: 4 };
  return { images: { full_image: frame, wrist_image: frame }, state: [first, 1, 2] };
}

interface Robot extends AsyncDisposable {
  readonly policy: RemotePolicy;
  readonly events: RemoteEvent[];
  readonly kinds: () => string[];
}

async function enrol(
  directory: DirectoryProcess | string,
  protocol: Protocol,
  options: Partial<RemoteOptions> = {},
): Promise<Robot> {
  const events: RemoteEvent[] = [];
  const url = typeof directory === 'string' ? directory : directory.fleet(protocol);
  const policy = await (protocol === 'act' ? connectAct : connectOpenpi)(url, {
    deadlineMs: 15_000,
    onEvent: (event) => events.push(event),
    ...options,
  });
  return {
    policy,
    events,
    kinds: () => events.map(({ kind }) => kind),
    [Symbol.asyncDispose]: () => policy.close(),
  };
}

const origin = (url: string): string => new URL(url).origin;

// Most tests share it; each ends what it put there.
const directory = await DirectoryProcess.start();

test('robots that join at once are spread evenly, move to a replica that joins, and free their place', async () => {
  await using first = await FakeReplica.start(directory);
  await using second = await FakeReplica.start(directory);
  const robots = await Promise.all(Array.from({ length: 6 }, (_, i) => enrol(directory, protocols[i % 2]!)));
  try {
    assert.equal(await directory.robots(), [3, 3]);
    for (const [i, { policy }] of robots.entries())
      assert.is((await policy.predict(observe(i), words)).actions[0], i);
    assert.is(first.policy.calls.length + second.policy.calls.length, 6);
    await using third = await FakeReplica.start(directory);
    await until(async () => (await directory.robots()).join() === '2,2,2', 'a place on the new one');
    const moved = (): Robot[] => robots.filter(({ kinds }) => kinds().length > 0);
    await until(() => moved().length === 2, 'the moves');
    for (const { policy, kinds } of moved()) {
      assert.equal(kinds(), ['moved']);
      assert.ok([origin(third.urls.act), origin(third.urls.openpi)].includes(policy.url));
      await policy.predict(observe(), words);
    }
    assert.is(third.policy.calls.length, 2);
  } finally {
    for (const { policy } of robots) await policy.close();
  }
  await until(async () => (await directory.robots()).join() === '0,0', 'free places');
});

test('a replica that leaves answers the running request; the next one goes to another', async () => {
  for (const protocol of protocols) {
    await using old = await FakeReplica.start(directory, { policy: new FakePolicy() });
    await using robot = await enrol(directory, protocol);
    const running = robot.policy.predict(observe(1), words);
    const call = await old.policy.called(1);
    await using fresh = await FakeReplica.start(directory);
    await old.leave();
    await until(async () => (await directory.robots()).join() === '0,1', 'the new place');
    assert.is(robot.policy.url, origin(old.urls[protocol]));
    call.finish();
    assert.is((await running).actions[0], 1);
    await until(() => robot.policy.url === origin(fresh.urls[protocol]), 'the move');
    assert.is((await robot.policy.predict(observe(2), words)).actions[0], 2);
    assert.equal(robot.events, [{ kind: 'moved', from: old.urls[protocol], to: fresh.urls[protocol] }]);
    assert.is(old.policy.calls.length, 1);
  }
});

test('a replica that dies during a request costs no answer', async () => {
  for (const protocol of protocols) {
    await using doomed = await FakeReplica.start(directory, { policy: new FakePolicy({ deaf: true }) });
    await using robot = await enrol(directory, protocol);
    await using other = await FakeReplica.start(directory);
    const running = robot.policy.predict(observe(3), words);
    await doomed.policy.called(1);
    await doomed.kill();
    assert.is((await running).actions[0], 3);
    assert.equal(robot.events, [{ kind: 'moved', from: doomed.urls[protocol], to: other.urls[protocol] }]);
    // The same when it dies between two requests, and its address is somebody else's.
    await using third = await FakeReplica.start(directory);
    await other.kill();
    assert.is((await robot.policy.predict(observe(4), words)).actions[0], 4);
    assert.is(robot.policy.url, origin(third.urls[protocol]));
    assert.equal(robot.kinds(), ['moved', 'moved']);
  }
});

test('an observation that kills its server is sent to two at most', async () => {
  const replicas = await Promise.all(
    [0, 1, 2].map(() => FakeReplica.start(directory, { policy: new FakePolicy({ deaf: true }) })),
  );
  await using robot = await enrol(directory, 'act');
  const poison = codeOf(robot.policy.predict(observe(), words));
  const calls = (): number[] => replicas.map(({ policy }) => policy.calls.length);
  for (const killed of [0, 1]) {
    await until(() => calls().filter((count) => count > 0).length === killed + 1, 'the next victim');
    const victim = replicas.find(({ urls }) => origin(urls.act) === robot.policy.url)!;
    await victim.kill();
  }
  assert.is(await poison, 'REMOTE_UNREACHABLE');
  assert.equal(calls().sort(), [0, 1, 1]);
  for (const replica of replicas) await replica[Symbol.asyncDispose]();
});

test('without its directory a robot keeps its replica, is told so once, and stays when the directory is back', async () => {
  for (const protocol of protocols) {
    const directory = await DirectoryProcess.start();
    await using first = await FakeReplica.start(directory);
    await using second = await FakeReplica.start(directory);
    await using robot = await enrol(directory, protocol);
    const { url } = robot.policy;
    await directory.stop();
    await until(() => robot.events.length > 0, 'the notice');
    await robot.policy.predict(observe(), words);
    const port = Number(new URL(directory.url).port);
    await using again = await DirectoryProcess.start({ port });
    await until(() => robot.events.length > 1, 'its return');
    for (const replica of [first, second]) replica.join(again);
    await until(async () => (await again.robots()).join() === '0,1', 'its place');
    assert.is(robot.policy.url, url);
    assert.equal(
      robot.events.map((event) => event.kind === 'directory' && event.error?.code),
      ['REMOTE_UNREACHABLE', undefined],
    );
  }
});

test('without directory and replica it holds, and goes on with whichever comes back', async () => {
  for (const protocol of protocols) {
    const directory = await DirectoryProcess.start();
    const first = await FakeReplica.start(directory);
    await using robot = await enrol(directory, protocol);
    await directory.stop();
    await first.kill();
    await until(
      async () => (await codeOf(robot.policy.predict(observe(), words))) === 'REMOTE_UNREACHABLE',
      'the hold',
    );
    assert.is(await codeOf(robot.policy.predict(observe(), words)), 'REMOTE_UNREACHABLE');
    await using again = await DirectoryProcess.start({ port: Number(new URL(directory.url).port) });
    await using second = await FakeReplica.start(again);
    await until(() => robot.policy.reachable, 'the return');
    assert.is((await robot.policy.predict(observe(5), words)).actions[0], 5);
    assert.is(robot.policy.url, origin(second.urls[protocol]));
    assert.equal(
      ['hold', 'resume'].map((kind) => robot.kinds().filter((one) => one === kind).length),
      [1, 1],
    );
  }
});

test('a replica that accepts requests and never answers is left after two deadlines', async () => {
  for (const protocol of protocols) {
    await using stuck = await FakeReplica.start(directory, { policy: new FakePolicy({ deaf: true }) });
    // Long enough for a busy machine to connect, short enough to wait for twice.
    await using robot = await enrol(directory, protocol, { deadlineMs: 300, connectMs: 15_000 });
    await using other = await FakeReplica.start(directory);
    for (let asked = 0; asked < 2; asked++)
      assert.is(await codeOf(robot.policy.predict(observe(), words)), 'DEADLINE_EXCEEDED');
    await until(async () => (await codeOf(robot.policy.predict(observe(), words))) === 'none', 'an answer');
    assert.is(robot.policy.url, origin(other.urls[protocol]));
    assert.ok(stuck.policy.calls.length <= 2);
  }
});

test('another policy is refused only when no replica of the former one is left', async () => {
  for (const protocol of protocols) {
    await using old = await FakeReplica.start(directory);
    await using robot = await enrol(directory, protocol);
    await using other = await FakeReplica.start(directory, { digest: 'b' });
    await using same = await FakeReplica.start(directory);
    await old.kill();
    await robot.policy.predict(observe(), words);
    assert.is(robot.policy.url, origin(same.urls[protocol]));
    await same.kill();
    await until(
      async () => (await codeOf(robot.policy.predict(observe(), words))) === 'REMOTE_CHANGED',
      'the refusal',
    );
    assert.is(robot.kinds().at(-1), 'changed');
    assert.is(other.policy.calls.length, 0);
  }
});

test('one token for the directory and its replicas', async () => {
  await using directory = await DirectoryProcess.start({ token });
  await using replica = await FakeReplica.start(directory, { token });
  assert.is(await codeOf(enrol(directory, 'act')), 'UNAUTHORIZED');
  assert.is(await codeOf(enrol(directory, 'openpi', { token: `${token}!` })), 'UNAUTHORIZED');
  await using robot = await enrol(directory.fleet('act').replace('//', `//x:${token}@`), 'act');
  await robot.policy.predict(observe(), words);
  assert.is(replica.policy.calls.length, 1);
  const web = await fetch(directory.url, {
    headers: { origin: 'http://page.example', authorization: `Bearer ${token}` },
  });
  assert.is(web.status, 403);
});

test('what a directory may not answer, and what is not a fleet', async () => {
  const answers: unknown[] = [
    'text',
    null,
    {},
    { replica: 'http://127.0.0.1:1/', lease_ms: 0 },
    { replica: 'ws://127.0.0.1:1', lease_ms: 3000 },
    { replica: 'fleet+http://127.0.0.1:1', lease_ms: 3000 },
    { replica: 'http://127.0.0.1:1/path', lease_ms: 3000 },
    { replica: 'http://127.0.0.1:1', lease_ms: 3000 },
  ];
  let answer: unknown;
  const server = createServer((request, response) => {
    request.resume();
    response.end(JSON.stringify(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  for (answer of answers)
    assert.is(await codeOf(enrol(`fleet+http://127.0.0.1:${port}/fleet`, 'act')), 'REMOTE_UNREACHABLE');
  server.closeAllConnections();
  server.close();
  assert.is(await codeOf(enrol(`fleet+http://127.0.0.1:${port}`, 'act')), 'REMOTE_UNREACHABLE');
  for (const url of [
    'fleet+ftp://a',
    'fleet+ws://a',
    'fleet+http://a/?x=1',
    'fleet+fleet+http://a',
    'fleet+',
  ])
    assert.is(await codeOf(enrol(url, 'act')), 'OPTION_INVALID');
});

const page = readFileSync(join(root, 'docs/fleet.md'), 'utf8');

test('docs/fleet.md: its program runs', async () => {
  await using replica = await FakeReplica.start(directory);
  const [, block] = /^```ts\n(.*?)^```/ms.exec(page)!;
  const code = block!
    .replace(/^import .*$/m, '')
    .replaceAll('http://head:8000/fleet', directory.url)
    .replaceAll('ws://head:8000/fleet', directory.url.replace('http', 'ws'));
  const program = Object.getPrototypeOf(async () => {}).constructor as new (
    ...args: string[]
  ) => (...given: unknown[]) => Promise<RemotePolicy[]>;
  const said: unknown[] = [];
  const connected = await new program(
    'connectAct',
    'connectOpenpi',
    'console',
    `${code}return [overHttp, overWebSocket];`,
  )(connectAct, connectOpenpi, { log: (text: unknown) => said.push(text) });
  assert.equal(said, [origin(replica.urls.act)]);
  assert.equal(
    connected.map(({ url }) => url),
    [origin(replica.urls.act), origin(replica.urls.openpi)],
  );
  for (const policy of connected) await policy.close();
});

test('docs/fleet.md: what a replica says, and the settings', async () => {
  const [, said] = /curl --silent --data '([^']+)'/.exec(page)!;
  assert.equal(await directory.post('/replicas', JSON.parse(said!) as object), { robots: 0, lease_ms: 1500 });
  const { replica } = JSON.parse(said!) as { replica: string };
  assert.equal(await directory.post('/replicas', { replica, remove: true }), {});
  const source = readFileSync(join(root, 'deploy/fleet.py'), 'utf8');
  for (const [, name, value] of page.matchAll(/^\| `(lease_s|start_s|leave_s)` \| (\d+) \|/gm)) {
    const [, given] = new RegExp(`^    ${name}: float = (\\S+)$`, 'm').exec(source)!;
    assert.is(given === 'LEASE_S' ? '3' : given, value);
  }
});

test.run();
