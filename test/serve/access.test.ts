import { createServer } from 'node:net';
import { Writable } from 'node:stream';
import { pino } from 'pino';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeGate } from '../../lib/serve/access.ts';
import { type ServeOptions, servePolicy } from '../../lib/serve/servePolicy.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { FakePolicy } from './fakePolicy.ts';
import { actBody, connect, metric, openpiMessage, post, served, silent } from './harness.ts';

const test = suite('who may ask');

const token = 'correct-horse-battery-staple-0451';

async function refusedStart(options: ServeOptions, code: string): Promise<string> {
  try {
    const server = await servePolicy(new FakePolicy(), { logger: silent, ...options });
    await server.close();
  } catch (error) {
    assert.instance(error, SemanticVlaError);
    assert.is((error as SemanticVlaError).code, code);
    return (error as SemanticVlaError).message;
  }
  throw new Error(`started with ${JSON.stringify(options)}`);
}

test('an address that other machines reach is refused without a token', async () => {
  for (const host of ['0.0.0.0', '::', '192.0.2.1', '::ffff:10.0.0.1']) {
    assert.match(await refusedStart({ host, act: { port: 0 }, openpi: false }, 'OPTION_REQUIRED'), /token/);
  }
  await refusedStart({ host: 'no such host', act: { port: 0 }, openpi: false }, 'ADDRESS_UNAVAILABLE');
});

test('options that nobody reads, weak tokens and nothing to serve are refused', async () => {
  await refusedStart({ compat: true } as ServeOptions, 'OPTION_UNKNOWN');
  await refusedStart({ act: { port: 70_000 } }, 'OPTION_INVALID');
  await refusedStart({ act: false, openpi: false }, 'OPTION_INVALID');
  await refusedStart({ limits: { bodyBytes: 0 } }, 'OPTION_INVALID');
  await refusedStart({ keys: { cameras: { left: 'x' } } }, 'CAMERA_UNKNOWN');
  await refusedStart({ metadata: { platform: 'x' } }, 'OPTION_INVALID');
  const message = await refusedStart({ token: 'hunter2' }, 'OPTION_INVALID');
  assert.not.match(message, /hunter2/);
});

test('a port that is taken', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => other.once('listening', resolve));
  const address = other.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  assert.match(await refusedStart({ act: { port }, openpi: false }, 'ADDRESS_UNAVAILABLE'), /EADDRINUSE/);
  other.close();
});

test('the gate: either scheme, the whole token, nothing else', () => {
  const gate = makeGate(token);
  for (const authorization of [`Bearer ${token}`, `Api-Key ${token}`, `bearer  ${token} `]) {
    assert.is(gate({ headers: { authorization } }), null, authorization);
  }
  const wrong = [
    undefined,
    '',
    token,
    `Basic ${token}`,
    `Bearer ${token}x`,
    `Bearer ${token.slice(0, -1)}`,
    'Bearer',
    `Bearer ${token} x`,
  ];
  for (const authorization of wrong) {
    const headers = authorization === undefined ? {} : { authorization };
    assert.is(gate({ headers })?.code, 'UNAUTHORIZED', String(authorization));
  }
  assert.is(makeGate(undefined)({ headers: {} }), null);
  assert.is(makeGate(undefined)({ headers: { origin: 'https://example.com' } })?.code, 'FORBIDDEN');
});

test('with a token: 401 without reading the body, health open, and the token in no log', async () => {
  const lines: string[] = [];
  const sink = new Writable({
    write(line: Buffer, _encoding, done) {
      lines.push(line.toString());
      done();
    },
  });
  const logger = pino({ level: 'trace' }, sink);
  const policy = new FakePolicy({ immediate: true });
  await served(policy, { token, logger }, async ({ act, openpi, server }) => {
    const wrong = 'Bearer wrong-horse-battery-staple-0451';
    const denied = await post(act, actBody(), { authorization: wrong });
    assert.is(denied.status, 401);
    assert.is(denied.headers.get('www-authenticate'), 'Bearer');
    assert.is((await fetch(`${act}/metrics`)).status, 401);
    assert.is((await fetch(`${act}/metadata`)).status, 401);
    assert.is((await fetch(`${act}/healthz`)).status, 200);
    assert.is((await fetch(`${act}/readyz`)).status, 200);
    const bearer = { authorization: `Bearer ${token}` };
    assert.is((await post(act, actBody(), bearer)).status, 200);
    assert.is((await post(act, '{', bearer)).status, 400);
    assert.is((await fetch(`${act}/metrics`, { headers: bearer })).status, 200);

    const outside = connect(openpi, { authorization: wrong });
    assert.is(await outside.closed, 1006);
    const inside = connect(openpi, { authorization: `Api-Key ${token}` });
    await inside.next();
    inside.socket.send(openpiMessage());
    await inside.next();
    inside.socket.close();
    assert.is(await metric(server, 'semanticvla_rejected_total{reason="token"}'), 4);
  });
  const log = lines.join('');
  assert.match(log, /"code":"OK"/);
  assert.not.match(log, /battery-staple/);
  assert.not.match(log, /authorization/i);
});

test('without a token a web page is refused', async () => {
  await served(new FakePolicy({ immediate: true }), {}, async ({ act, openpi }) => {
    assert.is((await post(act, actBody(), { origin: 'https://example.com' })).status, 403);
    assert.is(await connect(openpi, { origin: 'https://example.com' }).closed, 1006);
  });
});

test.run();
