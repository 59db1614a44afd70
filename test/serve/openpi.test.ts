import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeMsgpackNumpy, encodeMsgpackNumpy } from '../../lib/serve/msgpackNumpy.ts';
import { NdArray, type WireMap } from '../../lib/serve/ndarray.ts';
import { FakePolicy } from './fakePolicy.ts';
import { connect, fields, inTime, metric, openpiMessage, served, until } from './harness.ts';

const test = suite('openpi WebSocket');

function map(frame: WireMap | string): WireMap {
  assert.instance(frame, Map);
  return frame as WireMap;
}

test('metadata first, then an answer a request, with the times of both', async () => {
  const policy = new FakePolicy({ immediate: true });
  await served(policy, { metadata: { robot: 'panda' } }, async ({ openpi }) => {
    const { socket, next } = connect(openpi);
    const metadata = map(await next());
    assert.is(metadata.get('server'), 'semanticvla');
    assert.is(metadata.get('robot'), 'panda');
    assert.equal((metadata.get('platform') as WireMap).get('cameras'), ['full_image', 'wrist_image']);

    socket.send(openpiMessage(0.5));
    const first = map(await next());
    const actions = first.get('actions') as NdArray;
    assert.is(actions.dtype, '<f8');
    assert.equal(actions.shape, [2, 3]);
    assert.equal([...actions.numbers()], [0.5, 1.5, 2.5, 10.5, 11.5, 12.5]);
    const timing = first.get('server_timing') as WireMap;
    assert.ok((timing.get('infer_ms') as number) >= 0);
    assert.not.ok(timing.has('prev_total_ms'));

    socket.send(openpiMessage(1));
    const second = map(await next()).get('server_timing') as WireMap;
    assert.ok((second.get('prev_total_ms') as number) >= (timing.get('infer_ms') as number));
    socket.close();
  });
});

test('array maps have binary keys and the answer is one frame of plain msgpack', () => {
  const bytes = encodeMsgpackNumpy(new Map([['actions', new NdArray('|u1', [2], new Uint8Array([7, 9]))]]));
  const hex = (text: string): string => Buffer.from(text).toString('hex');
  const key = (text: string): string => `c4${text.length.toString(16).padStart(2, '0')}${hex(text)}`;
  const array = [
    `${key('__ndarray__')}c3`,
    `${key('data')}c4020709`,
    `${key('dtype')}a3${hex('|u1')}`,
    `${key('shape')}9102`,
  ];
  assert.is(bytes.toString('hex'), `81a7${hex('actions')}84${array.join('')}`);
});

test('scalars of NumPy read as numbers', () => {
  const scalar = Buffer.concat([
    Buffer.from([0x83, 0xc4, 13]),
    Buffer.from('__npgeneric__'),
    Buffer.from([0xc3, 0xc4, 4]),
    Buffer.from('data'),
    Buffer.from([0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 0xc4, 5]),
    Buffer.from('dtype'),
    Buffer.from([0xa3]),
    Buffer.from('<f4'),
  ]);
  assert.is(decodeMsgpackNumpy(scalar), 1.5);
});

test('health while inferring, on the same port', async () => {
  const policy = new FakePolicy();
  await served(policy, {}, async ({ openpi }) => {
    const { socket, next } = connect(openpi);
    await next();
    socket.send(openpiMessage());
    const call = await policy.called(1);
    const health = await fetch(`${openpi.replace('ws', 'http')}/healthz`);
    assert.equal([health.status, await health.text()], [200, 'OK\n']);
    call.finish();
    await next();
    socket.close();
  });
});

test('an error is a text frame with a code and then close 1011', async () => {
  const policy = new FakePolicy({ immediate: true });
  const broken = fields();
  broken.delete('wrist_image');
  const cases: readonly [Buffer | string, RegExp][] = [
    [encodeMsgpackNumpy(broken), /^CAMERA_MISSING: /],
    [Buffer.from([0xc1]), /^REQUEST_INVALID: /],
    [encodeMsgpackNumpy([1]), /^REQUEST_INVALID: /],
    ['text', /^REQUEST_INVALID: /],
  ];
  await served(policy, {}, async ({ openpi }) => {
    for (const [message, wanted] of cases) {
      const { socket, next, closed } = connect(openpi);
      await next();
      socket.send(message);
      const frame = await next();
      assert.type(frame, 'string');
      assert.match(frame as string, wanted);
      assert.not.match(frame as string, /\n|\.ts|node_modules/);
      assert.is(await closed, 1011);
    }
    assert.is(policy.calls.length, 0);
  });
});

test('the policy fails: the client gets the code only', async () => {
  const policy = new FakePolicy();
  await served(policy, {}, async ({ openpi }) => {
    const { socket, next, closed } = connect(openpi);
    await next();
    socket.send(openpiMessage());
    (await policy.called(1)).fail(new Error('cannot open /dev/nvidia0'));
    assert.is(await next(), 'INTERNAL: The server failed. Its log tells why.');
    assert.is(await closed, 1011);
  });
});

test('of one connection the newest waits; answers and refusals come in the order of the requests', async () => {
  const policy = new FakePolicy();
  await served(policy, {}, async ({ openpi, server }) => {
    const { socket, next, closed } = connect(openpi);
    await next();
    socket.send(openpiMessage(1));
    await policy.called(1);
    for (const first of [2, 3, 4]) socket.send(openpiMessage(first));
    const line = 'semanticvla_rejected_total{reason="superseded"}';
    await until(async () => (await metric(server, line)) === 2, 'two superseded');
    policy.calls[0]!.finish();
    (await inTime(policy.called(2), 'the newest')).finish();
    const first = (frame: WireMap | string): number => (map(frame).get('actions') as NdArray).numbers()[0]!;
    assert.is(first(await next()), 1);
    assert.match((await next()) as string, /^OVERLOADED: /);
    assert.match((await next()) as string, /^OVERLOADED: /);
    assert.is(first(await next()), 4);
    assert.is(await closed, 1013);
  });
});

test('a request that is refused takes no answer of its neighbours with it', async () => {
  const policy = new FakePolicy();
  await served(policy, {}, async ({ openpi }) => {
    for (const order of ['good first', 'bad first']) {
      const { socket, next, closed } = connect(openpi);
      await next();
      const calls = policy.calls.length;
      const messages = [openpiMessage(1), Buffer.from([0xc1])];
      for (const message of order === 'good first' ? messages : messages.reverse()) socket.send(message);
      (await inTime(policy.called(calls + 1), order)).finish();
      const kinds = [typeof (await next()), typeof (await next())];
      assert.equal(kinds, order === 'good first' ? ['object', 'string'] : ['string', 'object'], order);
      assert.is(await closed, 1011);
    }
  });
});

test('other connections wait for their turns, and a superseded one keeps its own', async () => {
  const policy = new FakePolicy();
  await served(policy, {}, async ({ openpi, server }) => {
    const peers = [connect(openpi), connect(openpi), connect(openpi)] as const;
    for (const { next } of peers) await next();
    for (const [i, { socket }] of peers.entries()) {
      socket.send(openpiMessage(i + 1));
      if (i === 0) await policy.called(1);
      else await until(async () => (await metric(server, 'semanticvla_waiting')) === i, 'a waiting request');
    }
    // Newer than the one of the third, and still before it.
    peers[1].socket.send(openpiMessage(22));
    await until(
      async () => (await metric(server, 'semanticvla_rejected_total{reason="superseded"}')) === 1,
      'it',
    );
    for (const [i, wanted] of [1, 22, 3].entries()) {
      const call = await inTime(policy.called(i + 1), `turn ${i}`);
      assert.is(call.observation.state?.[0], wanted);
      call.finish();
    }
    for (const { socket } of peers) socket.close();
  });
});

test('a message over the limit closes with 1009', async () => {
  await served(new FakePolicy(), { limits: { bodyBytes: 1000 } }, async ({ openpi }) => {
    const { socket, next, closed } = connect(openpi);
    await next();
    socket.send(Buffer.alloc(1001));
    assert.is(await closed, 1009);
  });
});

test.run();
