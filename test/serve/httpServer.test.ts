/** Requests as bytes on a connection: framings, cuts, order, limits. */

import { once } from 'node:events';
import { type Socket, connect as tcp } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { WireValue } from '../../lib/serve/ndarray.ts';
import type { ActionChunk, Observation, PredictOptions } from '../../lib/types.ts';
import { FakePolicy } from './fakePolicy.ts';
import { actBody, fields, image, inTime, metric, post, served, toJson, until } from './harness.ts';
import { hostileJson } from './hostile.ts';

const test = suite('HTTP server');

interface Reply {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly text: string;
}

/** A connection for raw bytes: sends them and collects the answers. */
class Wire {
  readonly socket: Socket;
  #received = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {});
    socket.on('data', (data) => {
      this.#received = Buffer.concat([this.#received, data]);
    });
  }

  static async open(url: string): Promise<Wire> {
    const { hostname, port } = new URL(url);
    const socket = tcp({ port: Number(port), host: hostname, noDelay: true });
    await once(socket, 'connect');
    return new Wire(socket);
  }

  async reply(): Promise<Reply> {
    let size = 0;
    let end = -1;
    await until(() => {
      end = this.#received.indexOf('\r\n\r\n');
      if (end < 0) return false;
      size = end + 4 + Number(/content-length: (\d+)/i.exec(this.#received.toString('latin1', 0, end))?.[1]);
      return this.#received.length >= size;
    }, 'an answer');
    const [first, ...lines] = this.#received.toString('latin1', 0, end).split('\r\n');
    const text = this.#received.toString('utf8', end + 4, size);
    this.#received = this.#received.subarray(size);
    const headers = lines.map((line): [string, string] => {
      const [name, ...rest] = line.split(': ');
      return [name!.toLowerCase(), rest.join(': ')];
    });
    return { status: Number(first!.split(' ')[1]), headers: new Map(headers), text };
  }
}

const head = (length: number, more = ''): string =>
  `POST /act HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n${more}\r\n`;

function request(body: string | Buffer, more = ''): Buffer {
  const bytes = Buffer.from(body);
  return Buffer.concat([Buffer.from(head(bytes.length, more)), bytes]);
}

function chunked(body: string | Buffer): Buffer {
  const bytes = Buffer.from(body);
  return Buffer.concat([
    Buffer.from(
      'POST /act HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n',
    ),
    Buffer.from(`${bytes.length.toString(16)}\r\n`),
    bytes,
    Buffer.from('\r\n0\r\n\r\n'),
  ]);
}

test('a length or chunks, the answers are alike: good requests, refusals and the hostile corpus', async () => {
  const withoutCamera = new Map(fields());
  withoutCamera.delete('wrist_image');
  const escaped = actBody(3).replaceAll('A', '\\u0041');
  const bodies: [string, string | Buffer][] = [
    ['good', actBody(1)],
    ['encoded', JSON.stringify({ encoded: actBody(2) })],
    ['escaped base64', escaped],
    ['larger than a piece', actBody(1, 200)],
    ['no camera', toJson(withoutCamera)],
    ...hostileJson(),
  ];
  for (const compat of [false, true]) {
    await served(new FakePolicy({ immediate: true }), { act: { port: 0, compat } }, async ({ act }) => {
      const short = await Wire.open(act);
      const long = await Wire.open(act);
      for (const [name, body] of bodies) {
        short.socket.write(request(body));
        long.socket.write(chunked(body));
        const [a, b] = [await short.reply(), await long.reply()];
        assert.equal([a.status, a.text], [b.status, b.text], name);
        const without = ({ headers }: Reply): [string, string][] =>
          [...headers].filter(([key]) => key !== 'date').sort();
        assert.equal(without(a), without(b), name);
      }
      for (const { socket } of [short, long]) socket.destroy();
    });
  }
});

test('any cut of a request, between any two bytes', async () => {
  await served(new FakePolicy({ immediate: true }), {}, async ({ act }) => {
    const bytes = request(actBody(4));
    const wanted = await (await post(act, actBody(4))).text();
    const size = head(actBody(4).length).length;
    for (const cut of [1, 19, size - 2, size, size + 1, size + 40, bytes.length - 1]) {
      const wire = await Wire.open(act);
      wire.socket.write(bytes.subarray(0, cut));
      await new Promise((resolve) => setTimeout(resolve, 20));
      wire.socket.write(bytes.subarray(cut));
      const { status, text } = await wire.reply();
      assert.equal([status, text], [200, wanted], `cut at ${cut}`);
      wire.socket.write(bytes);
      assert.is((await wire.reply()).text, wanted, `the next on it, cut at ${cut}`);
      wire.socket.destroy();
    }
  });
});

test('one connection: actions, then another page, then actions again', async () => {
  await served(new FakePolicy({ immediate: true }), {}, async ({ act, server }) => {
    const wire = await Wire.open(act);
    wire.socket.write(request(actBody(1)));
    assert.is((await wire.reply()).status, 200);
    wire.socket.write('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n');
    assert.is((await wire.reply()).text, 'OK\n');
    wire.socket.write(request(actBody(2)));
    assert.is((await wire.reply()).status, 200);
    assert.is(await metric(server, 'semanticvla_connections{protocol="act"}'), 1);
    wire.socket.destroy();
    await until(
      async () => (await metric(server, 'semanticvla_connections{protocol="act"}')) === 0,
      'its end',
    );
  });
});

test('requests that come behind each other are answered in order, of whatever form', async () => {
  const policy = new FakePolicy();
  await served(policy, {}, async ({ act }) => {
    const wire = await Wire.open(act);
    const get = Buffer.from('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n');
    wire.socket.write(Buffer.concat([request(actBody(1)), request(actBody(2)), get]));
    (await inTime(policy.called(1), 'the first')).finish();
    (await inTime(policy.called(2), 'the second')).finish();
    assert.is(policy.calls[1]!.observation.state?.[0], 2);
    for (const wanted of [/^\[/, /^\[/, /^OK\n$/]) assert.match((await wire.reply()).text, wanted);
    assert.is(policy.mostRunning, 1);
    wire.socket.destroy();
  });
});

test('a body that memory is refused for: 503, the rest of it dropped, the connection good for the next', async () => {
  await served(
    new FakePolicy({ immediate: true }),
    { limits: { heldBytes: 20_000 } },
    async ({ act, server }) => {
      const wire = await Wire.open(act);
      const body = Buffer.alloc(300_000, 'x');
      wire.socket.write(request(body));
      const { status, headers, text } = await wire.reply();
      assert.is(status, 503);
      assert.is(headers.get('retry-after'), '1');
      assert.match(text, /OVERLOADED/);
      wire.socket.write(request(actBody(1)));
      assert.is((await wire.reply()).status, 200);
      assert.is(await metric(server, 'semanticvla_held_bytes'), 0);
      assert.is(await metric(server, 'semanticvla_rejected_total{reason="memory"}'), 1);
      wire.socket.destroy();
    },
  );
});

test('a connection that says nothing ends, before its first request and after one', async () => {
  await served(
    new FakePolicy({ immediate: true }),
    { limits: { headersMs: 200, idleMs: 300 } },
    async ({ act }) => {
      const silent = await Wire.open(act);
      const served = await Wire.open(act);
      served.socket.write(request(actBody(1)));
      assert.is((await served.reply()).headers.get('keep-alive'), 'timeout=0');
      await inTime(Promise.all([once(silent.socket, 'close'), once(served.socket, 'close')]), 'their ends');
    },
  );
});

test('bodies that arrive in turns, in memory that is used again and again, are not mixed', async () => {
  const levels: number[] = [];
  class Looking extends FakePolicy {
    override predict(observation: Observation, options: PredictOptions): Promise<ActionChunk> {
      const { data } = observation.images.full_image!;
      // Compare it now: the memory will be reused for another request.
      assert.ok(data.every((value) => value === data[0]));
      levels.push(data[0]!);
      assert.is(observation.state?.[0], data[0]);
      return super.predict(observation, options);
    }
  }
  await served(new Looking({ immediate: true }), {}, async ({ act }) => {
    const wires = await Promise.all(Array.from({ length: 12 }, () => Wire.open(act)));
    for (let round = 0; round < 5; round++) {
      const requests = wires.map((_, i) => {
        const level = 1 + i + round * wires.length;
        const size = 20 + ((i * 37 + round * 11) % 180);
        const body = new Map<string, WireValue>([...fields(level), ['full_image', image(size, level)]]);
        return request(toJson(body));
      });
      const pieces = 7;
      for (let piece = 0; piece < pieces; piece++) {
        for (const [i, wire] of wires.entries()) {
          const { length } = requests[i]!;
          wire.socket.write(
            requests[i]!.subarray(
              Math.floor((piece * length) / pieces),
              Math.floor(((piece + 1) * length) / pieces),
            ),
          );
        }
        await new Promise((resolve) => setImmediate(resolve));
      }
      for (const wire of wires) {
        const { status } = await wire.reply();
        assert.ok(status === 200 || status === 503);
      }
    }
    for (const { socket } of wires) socket.destroy();
  });
  assert.ok(new Set(levels).size >= 20, `${levels.length} inferences`);
});

test('a token is looked for on every request, also behind a good one', async () => {
  const token = 'correct-horse-battery-staple-0451';
  const policy = new FakePolicy({ immediate: true });
  await served(policy, { token }, async ({ act }) => {
    const wire = await Wire.open(act);
    const good = `authorization: Bearer ${token}\r\n`;
    for (const [more, status] of [
      [good, 200],
      [good, 200],
      [good.replace('staple', 'stable'), 401],
      ['', 401],
      [good, 200],
    ] as const) {
      wire.socket.write(request(actBody(1), more));
      assert.is((await wire.reply()).status, status);
    }
    assert.is(policy.calls.length, 3);
    wire.socket.destroy();
  });
});

test.run();
