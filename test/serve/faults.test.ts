/** Clients that leave, stall, flood or never read: the slot becomes free, memory stays bounded, health checks are answered. */

import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { FakePolicy, liberoPlatform } from './fakePolicy.ts';
import { frame, RawClient } from './frames.ts';
import { actBody, connect, inTime, metric, openpiMessage, post, served, until } from './harness.ts';

const test = suite('faults on the network');

async function tcp(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connectTcp(Number(port), hostname);
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

function head(length: number): string {
  return `POST /act HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n`;
}

/** Everything received until the other side closes. */
async function answer(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (data: Buffer) => {
    text += data.toString();
  });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  if (!socket.closed) await inTime(closed, 'the end of the connection');
  return text;
}

test('gone at upload: nothing is held, and the slot was never taken', async () => {
  const policy = new FakePolicy({ immediate: true });
  await served(policy, {}, async ({ act, server }) => {
    const socket = await tcp(act);
    socket.write(head(100_000) + 'x'.repeat(1000));
    await until(async () => (await metric(server, 'semanticvla_held_bytes')) === 1000, 'bytes held');
    socket.destroy();
    await until(async () => (await metric(server, 'semanticvla_held_bytes')) === 0, 'bytes released');
    assert.is(await metric(server, 'semanticvla_disconnects_total{protocol="act",reason="upload"}'), 1);
    assert.is((await post(act, actBody())).status, 200);
    assert.is(policy.calls.length, 1);
  });
});

test('gone at inference: aborted, and the next one runs', async () => {
  for (const protocol of ['act', 'openpi'] as const) {
    const policy = new FakePolicy();
    await served(policy, {}, async ({ act, openpi, server }) => {
      const body = actBody(1);
      if (protocol === 'act') {
        const socket = await tcp(act);
        socket.write(head(body.length) + body);
        await policy.called(1);
        socket.destroy();
      } else {
        const { socket, next } = connect(openpi);
        await next();
        socket.send(openpiMessage(1));
        await policy.called(1);
        socket.terminate();
      }
      await until(() => policy.aborted === 1, 'the abort');
      const next = post(act, actBody(2));
      (await inTime(policy.called(2), 'the next inference')).finish();
      assert.is((await next).status, 200);
      const line = `semanticvla_disconnects_total{protocol="${protocol}",reason="inference"}`;
      await until(async () => (await metric(server, line)) === 1, 'the count');
    });
  }
});

test('gone while waiting: it loses its place, and never runs', async () => {
  const policy = new FakePolicy();
  await served(policy, {}, async ({ act, server }) => {
    const running = post(act, actBody(1));
    await policy.called(1);
    const body = actBody(2);
    const socket = await tcp(act);
    socket.write(head(body.length) + body);
    await until(async () => (await metric(server, 'semanticvla_waiting')) === 1, 'a waiting request');
    socket.destroy();
    await until(async () => (await metric(server, 'semanticvla_waiting')) === 0, 'the place given up');
    policy.calls[0]!.finish();
    assert.is((await running).status, 200);
    assert.is(policy.calls.length, 1);
  });
});

test('a consumer that does not read is cut off at its cap', async () => {
  // Each answer is 2 MB: beyond what the kernel takes, they wait in the process.
  const policy = new FakePolicy({
    immediate: true,
    platform: { ...liberoPlatform, chunk: 4_000 },
    dimensions: Array.from({ length: 40 }, (_, i) => `joint${i}`),
  });
  await served(policy, {}, async ({ openpi, server }) => {
    const { socket, next } = connect(openpi);
    await next();
    socket.pause();
    const slow = 'semanticvla_disconnects_total{protocol="openpi",reason="slow"}';
    let sent = 0;
    await until(async () => {
      if (sent < 60 && socket.readyState === socket.OPEN) {
        socket.send(openpiMessage());
        sent++;
        await until(() => policy.calls.length >= sent || socket.readyState !== socket.OPEN, 'its turn');
      }
      return (await metric(server, slow)) === 1;
    }, 'the cut');
    socket.terminate();
    await until(
      async () => (await metric(server, 'semanticvla_connections{protocol="openpi"}')) === 0,
      'its end',
    );
  });
});

test('bodies over the limit: 413, declared or not', async () => {
  const policy = new FakePolicy({ immediate: true });
  await served(policy, { limits: { bodyBytes: 5000 } }, async ({ act, server }) => {
    const big = await post(act, 'x'.repeat(5001));
    assert.is(big.status, 413);
    assert.match(await big.text(), /REQUEST_TOO_LARGE/);
    const socket = await tcp(act);
    socket.write('POST /act HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n');
    socket.write('transfer-encoding: chunked\r\nconnection: close\r\n\r\n');
    socket.write(`1800\r\n${'x'.repeat(0x1800)}\r\n0\r\n\r\n`);
    assert.match(await answer(socket), /^HTTP\/1\.1 413 /);
    assert.is(await metric(server, 'semanticvla_held_bytes'), 0);
    assert.is((await post(act, actBody())).status, 200);
  });
});

test('uploads share one budget: whoever holds most gives way, on both protocols', async () => {
  const limits = { heldBytes: 20_000 };
  await served(new FakePolicy({ immediate: true }), { limits }, async ({ act, openpi, server }) => {
    const held = (bytes: number): Promise<void> =>
      until(async () => (await metric(server, 'semanticvla_held_bytes')) === bytes, `${bytes} held`);
    for (const protocol of ['act', 'openpi'] as const) {
      const stalled = protocol === 'act' ? await tcp(act) : (await RawClient.open(openpi)).socket;
      const begun = Buffer.alloc(19_950, ' ');
      if (protocol === 'act') stalled.write(head(100_000) + begun.toString());
      else stalled.write(frame(begun, { first: 0x02 }));
      await until(async () => (await metric(server, 'semanticvla_held_bytes')) >= 19_950, 'the bytes');
      const refused = protocol === 'act' ? answer(stalled) : once(stalled, 'close').then(() => '');
      for (let i = 0; i < 3; i++) {
        assert.is((await post(act, actBody())).status, 200, protocol);
        const peer = connect(openpi);
        await peer.next();
        peer.socket.send(openpiMessage());
        assert.instance(await peer.next(), Map, protocol);
        peer.socket.close();
      }
      if (protocol === 'act') stalled.end();
      const text = await inTime(refused, 'its end');
      if (protocol === 'act') assert.match(text, /^HTTP\/1\.1 503 [\s\S]*OVERLOADED/);
      stalled.destroy();
      await held(0);
    }
  });
});

test('what is over the budget alone is refused, and takes nobody with it', async () => {
  const limits = { heldBytes: 20_000 };
  await served(new FakePolicy(), { limits }, async ({ act, server }) => {
    const stalled = await tcp(act);
    stalled.write(head(100_000) + 'x'.repeat(1400));
    await until(async () => (await metric(server, 'semanticvla_held_bytes')) === 1400, 'the bytes');
    const refused = await post(act, 'x'.repeat(30_000));
    assert.is(refused.status, 503);
    assert.match(await refused.text(), /OVERLOADED/);
    await until(async () => (await metric(server, 'semanticvla_held_bytes')) === 1400, 'only the other');
    stalled.destroy();
  });
});

test('slow headers and slow bodies end with 408, idle connections end', async () => {
  const limits = { headersMs: 200, requestMs: 400, idleMs: 200 };
  await served(new FakePolicy(), { limits }, async ({ act, openpi, server }) => {
    const slowHeaders = await tcp(act);
    slowHeaders.write('POST /act HTTP/1.1\r\nhost: x\r\n');
    const slowBody = await tcp(act);
    slowBody.write(`${head(1000)}x`);
    const [first, second] = await Promise.all([answer(slowHeaders), answer(slowBody)]);
    assert.match(first, /^HTTP\/1\.1 408 [\s\S]*"TIMEOUT"/);
    assert.match(second, /^HTTP\/1\.1 408 /);
    const idle = await tcp(act);
    idle.write('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n');
    assert.match(await answer(idle), /^HTTP\/1\.1 200 /);
    // A WebSocket that answers no ping.
    const dead = await tcp(openpi.replace('ws', 'http'));
    dead.write(
      'GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n' +
        'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
    );
    await answer(dead);
    assert.is(await metric(server, 'semanticvla_disconnects_total{protocol="openpi",reason="idle"}'), 1);
  });
});

test('what is no HTTP gets 400 and a code', async () => {
  await served(new FakePolicy(), {}, async ({ act }) => {
    const noise = await tcp(act);
    noise.write('\u0000\u0001 hello\r\n\r\n');
    assert.match(await answer(noise), /^HTTP\/1\.1 400 [\s\S]*"REQUEST_INVALID"/);
    const long = await tcp(act);
    long.write(`GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(40_000)}\r\n\r\n`);
    assert.match(await answer(long), /^HTTP\/1\.1 431 /);
  });
});

test('connections beyond the limit: the one that idles longest goes, one at work stays', async () => {
  const policy = new FakePolicy();
  await served(policy, { limits: { connections: 2 } }, async ({ openpi, act }) => {
    const busy = connect(openpi);
    await busy.next();
    busy.socket.send(openpiMessage());
    await policy.called(1);
    const idle = connect(openpi);
    await idle.next();
    const third = connect(openpi);
    await third.next();
    assert.match((await idle.next()) as string, /^OVERLOADED: /);
    assert.is(await idle.closed, 1013);
    third.socket.send(openpiMessage());
    await until(async () => {
      const refused = connect(openpi);
      const end = await Promise.race([refused.next(), refused.closed]);
      refused.socket.terminate();
      return end === 1006;
    }, 'all at work, no place');
    assert.is((await fetch(`${act}/healthz`)).status, 200);
    policy.calls[0]!.finish();
    assert.instance(await busy.next(), Map);
    for (const { socket } of [busy, third]) socket.terminate();
  });
});

test('strangers give way to each other and to nobody else: 401s and idle ones keep no place', async () => {
  const token = 'correct-horse-battery-staple-0451';
  const policy = new FakePolicy({ immediate: true });
  await served(policy, { token, limits: { connections: 3 } }, async ({ act, openpi, server }) => {
    const mine = connect(openpi, { authorization: `Bearer ${token}` });
    await mine.next();
    const sockets: Socket[] = [];
    for (const url of [act, openpi.replace('ws', 'http')]) {
      for (const path of ['/healthz', '/metrics', '/act']) {
        for (let i = 0; i < 6; i++) {
          const socket = await tcp(url);
          socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`);
          await once(socket, 'data');
          sockets.push(socket);
        }
      }
    }
    for (let i = 0; i < 6; i++) assert.is(await connect(openpi).closed, 1006);
    assert.is((await post(act, actBody(), { authorization: `Bearer ${token}` })).status, 200);
    mine.socket.send(openpiMessage());
    assert.instance(await mine.next(), Map);
    for (const protocol of ['act', 'openpi']) {
      assert.ok((await metric(server, `semanticvla_connections{protocol="${protocol}"}`)) <= 6, protocol);
    }
    mine.socket.close();
    for (const socket of sockets) socket.destroy();
  });
});

test('a message of a WebSocket that is begun and not finished ends in its time', async () => {
  await served(new FakePolicy(), { limits: { requestMs: 300 } }, async ({ openpi, server }) => {
    const client = await RawClient.open(openpi);
    await client.send(frame(Buffer.alloc(1000)).subarray(0, 500));
    await client.until(1);
    assert.match(client.frames[0]!.payload.toString(), /^TIMEOUT: /);
    await client.end();
    await until(async () => (await metric(server, 'semanticvla_held_bytes')) === 0, 'nothing held');
    assert.is(await metric(server, 'semanticvla_disconnects_total{protocol="openpi",reason="late"}'), 1);
  });
});

test('pings within a message are not held, and do not hide what is', async () => {
  await served(new FakePolicy({ immediate: true }), {}, async ({ openpi, server }) => {
    const client = await RawClient.open(openpi);
    const held = (): Promise<number> => metric(server, 'semanticvla_held_bytes');
    for (let i = 0; i < 3; i++) await client.send(frame('are you there?', { first: 0x89 }));
    await client.until(3);
    await until(async () => (await held()) === 0, 'nothing held');
    await client.send(frame(Buffer.alloc(30_000), { first: 0x02 }));
    await until(async () => (await held()) > 29_000, 'the fragment held');
    for (let i = 0; i < 3; i++) await client.send(frame('are you there?', { first: 0x89 }));
    await client.until(6);
    assert.ok((await held()) > 29_000);
    client.socket.destroy();
    await until(async () => (await held()) === 0, 'nothing held');
  });
});

test('five clients that send without pause: every one is served in turn', async () => {
  const policy = new FakePolicy();
  await served(policy, {}, async ({ act }) => {
    const served = new Map<number, number>();
    let going = true;
    const clients = Array.from({ length: 5 }, async (_, i) => {
      while (going) if ((await post(act, actBody(i))).status === 200) served.set(i, (served.get(i) ?? 0) + 1);
    });
    for (let turn = 1; turn <= 100; turn++) (await inTime(policy.called(turn), 'a turn')).finish();
    going = false;
    for (let turn = 101; turn <= 105; turn++) void policy.called(turn).then((call) => call.finish());
    await Promise.all(clients);
    for (let i = 0; i < 5; i++) assert.ok(served.get(i)! >= 15, `client ${i}: ${served.get(i)} of 100 turns`);
  });
});

test('close: the running inference gets its answer, the waiting one a code, new ones no connection', async () => {
  const policy = new FakePolicy();
  await served(policy, { limits: { drainMs: 10_000 } }, async ({ act, openpi, server }) => {
    const idle = connect(openpi);
    await idle.next();
    const running = post(act, actBody(1));
    await policy.called(1);
    const waiting = post(act, actBody(2));
    await until(async () => (await metric(server, 'semanticvla_waiting')) === 1, 'a waiting request');
    const closed = server.close();
    const refused = await inTime(waiting, 'the refusal');
    assert.is(refused.status, 503);
    assert.match(await refused.text(), /DRAINING/);
    assert.is(await idle.closed, 1001);
    policy.calls[0]!.finish();
    assert.is((await running).status, 200);
    await inTime(closed, 'the close');
    try {
      await fetch(`${act}/healthz`);
    } catch {
      return;
    }
    throw new Error('it still answers');
  });
});

test('close ends in its time when the policy does not heed its signal and a client does not read', async () => {
  const policy = new FakePolicy({ deaf: true });
  await served(policy, { limits: { drainMs: 300 } }, async ({ act, openpi, server }) => {
    const pending = post(act, actBody(1)).catch(() => 'cut');
    await policy.called(1);
    const { closed: cut } = connect(openpi);
    await until(
      async () => (await metric(server, 'semanticvla_connections{protocol="openpi"}')) === 1,
      'a peer',
    );
    await inTime(server.close(), 'the close');
    assert.is(await pending, 'cut');
    await cut;
    policy.calls[0]!.finish();
  });
});

test.run();
