/** Clients that leave, stall, flood or never read: the slot comes free, memory stays bounded, health answers. */

import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { FakePolicy, liberoPlatform } from './fakePolicy.ts';
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

/** Everything until the other side ends it. */
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
    platform: { ...liberoPlatform, chunk: 20_000 },
    dimensions: Array.from({ length: 8 }, (_, i) => `joint${i}`),
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
    socket.write('POST /act HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n');
    socket.write(`1800\r\n${'x'.repeat(0x1800)}\r\n0\r\n\r\n`);
    assert.match(await answer(socket), /^HTTP\/1\.1 413 /);
    assert.is(await metric(server, 'semanticvla_held_bytes'), 0);
    assert.is((await post(act, actBody())).status, 200);
  });
});

test('many uploads at once share one budget of memory', async () => {
  await served(new FakePolicy(), { limits: { heldBytes: 3000 } }, async ({ act, server }) => {
    const stalled = await Promise.all([tcp(act), tcp(act)]);
    for (const socket of stalled) socket.write(head(100_000) + 'x'.repeat(1400));
    await until(async () => (await metric(server, 'semanticvla_held_bytes')) === 2800, 'the bytes');
    const refused = await post(act, actBody());
    assert.is(refused.status, 503);
    assert.match(await refused.text(), /OVERLOADED/);
    for (const socket of stalled) socket.destroy();
    await until(async () => (await metric(server, 'semanticvla_held_bytes')) === 0, 'the release');
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

test('connections beyond the limit are refused, and come free', async () => {
  await served(new FakePolicy(), { limits: { connections: 2 } }, async ({ openpi }) => {
    const first = connect(openpi);
    await first.next();
    const second = connect(openpi);
    await second.next();
    assert.is(await connect(openpi).closed, 1006);
    first.socket.close();
    await first.closed;
    let third = connect(openpi);
    await until(async () => {
      if ((await Promise.race([third.next(), third.closed])) instanceof Map) return true;
      third = connect(openpi);
      return false;
    }, 'a free place');
    third.socket.close();
    second.socket.close();
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
