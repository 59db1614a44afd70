/** Streams of WebSocket frames, right and wrong, cut in several ways; what arrives is counted, and only that is held. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeMsgpackMap, encodeMsgpackNumpy } from '../../lib/serve/msgpackNumpy.ts';
import type { NdArray } from '../../lib/serve/ndarray.ts';
import type { ActionChunk, Observation, PredictOptions } from '../../lib/types.ts';
import { FakePolicy } from './fakePolicy.ts';
import { closeFrame, frame, RawClient } from './frames.ts';
import { fields, image, metric, openpiMessage, served, until } from './harness.ts';

const test = suite('streams of frames');

const message = openpiMessage(1);
const whole = (payload: Buffer | string, first: number): Buffer => frame(payload, { first });
const ping = whole('are you there?', 0x89);
const [begin, middle, end] = [message.subarray(0, 50), message.subarray(50, 51), message.subarray(51)];
const limit = 4000;

interface Stream {
  readonly name: string;
  readonly bytes: Buffer;
  /** Frames that the server sends to it before anybody closes. */
  readonly frames: number;
}

function stream(name: string, frames: number, ...parts: Buffer[]): Stream {
  return { name, frames, bytes: Buffer.concat(parts) };
}

const good: readonly Stream[] = [
  stream('a message', 1, frame(message)),
  stream('a message with a length longer than needed', 1, frame(message, { lengthBytes: 8 })),
  stream('a key of zeros', 1, frame(message, { key: Buffer.alloc(4) })),
  stream('two messages', 2, frame(message), frame(openpiMessage(2))),
  stream('a ping', 1, ping),
  stream('an empty ping and a pong nobody asked for', 1, whole('', 0x89), whole('x', 0x8a)),
  stream('a message of two frames', 1, whole(begin, 0x02), whole(Buffer.concat([middle, end]), 0x80)),
  stream(
    'of three, a ping and an empty one between',
    2,
    ...[whole(begin, 0x02), ping, whole(middle, 0x00), whole('', 0x00), whole(end, 0x80)],
  ),
  stream(
    'a message after one of two frames',
    2,
    whole(begin, 0x02),
    whole(Buffer.concat([middle, end]), 0x80),
    frame(message),
  ),
  stream('a message between pings', 3, ping, frame(message), ping),
];

const bad: readonly Stream[] = [
  stream('text', 2, whole('text', 0x81)),
  stream('no msgpack', 2, frame(Buffer.from([0xc1]))),
  stream('an empty message', 2, frame('')),
  stream('not masked', 1, frame(message, { key: null })),
  stream('a ping not masked', 1, frame('x', { first: 0x89, key: null })),
  ...[0x40, 0x20, 0x10].map((bit) => stream(`reserved bit ${bit}`, 1, whole(message, 0x82 | bit))),
  ...[0x3, 0x7, 0xb, 0xf].map((kind) => stream(`kind ${kind}`, 1, whole(message, 0x80 | kind))),
  stream('a continuation of nothing', 1, whole(message, 0x80)),
  stream('a message within another', 1, whole(begin, 0x02), frame(message)),
  stream('a text within a message', 1, whole(begin, 0x02), whole('text', 0x01)),
  stream('a ping in two frames', 1, whole('x', 0x09)),
  stream('a ping that is too long', 1, whole(Buffer.alloc(126), 0x89)),
  stream('text that is no UTF-8', 1, whole(Buffer.from([0xff, 0xfe]), 0x81)),
  stream('over the limit by one', 1, frame(Buffer.alloc(limit + 1))),
  stream('over the limit in two frames', 1, whole(Buffer.alloc(limit), 0x02), whole(Buffer.alloc(1), 0x80)),
  stream('claims 4 GB', 1, frame(message, { claimed: 2n ** 32n })),
  stream('claims more than numbers hold', 1, frame(message, { claimed: 2n ** 63n + 1n })),
  stream('claims all bits', 1, frame('', { claimed: 2n ** 64n - 1n })),
  stream('a close code that is none', 1, closeFrame(999)),
  stream('half a close code', 1, whole('x', 0x88)),
  stream('a close in two frames', 1, whole('', 0x08)),
  stream('a message behind the close', 1, closeFrame(1000), frame(message)),
  stream('a message behind a fault', 1, whole(message, 0x80), frame(message)),
];

/** What came back, without the times contained in an answer. */
async function reply(url: string, { bytes, frames }: Stream, piece: number): Promise<string[]> {
  const client = await RawClient.open(url);
  await client.send(bytes, piece);
  await client.until(frames);
  client.socket.write(closeFrame(1000));
  await client.end();
  return client.frames.map(({ opcode, payload }) => {
    if (opcode !== 0x82) return `${opcode.toString(16)} ${payload.toString('latin1')}`;
    return `actions ${[...(decodeMsgpackMap(payload).get('actions') as NdArray).numbers()]}`;
  });
}

test('however a stream is cut, it gets the same answer, and nothing is held in the end', async () => {
  const limits = { bodyBytes: limit };
  await served(new FakePolicy({ immediate: true }), { limits }, async ({ openpi, server }) => {
    for (const stream of [...good, ...bad]) {
      const wanted = await reply(openpi, stream, 0);
      assert.ok(wanted.length >= stream.frames, `${stream.name}: ${wanted}`);
      for (const piece of [1, 3, 64, 1000]) {
        if (stream.bytes.length / piece > 1000) continue;
        const found = await reply(openpi, stream, piece);
        // Pings are answered at once, messages a moment later.
        assert.equal(found.toSorted(), wanted.toSorted(), `${stream.name}, in pieces of ${piece}`);
      }
    }
    await until(async () => (await metric(server, 'semanticvla_held_bytes')) === 0, 'nothing held');
  });
});

test('good streams are answered, bad ones end with the code of the standard', async () => {
  const codes: Readonly<Record<string, number>> = {
    'not masked': 1002,
    'a continuation of nothing': 1002,
    'text that is no UTF-8': 1007,
    'over the limit by one': 1009,
    'claims 4 GB': 1009,
    'no msgpack': 1011,
  };
  await served(new FakePolicy({ immediate: true }), { limits: { bodyBytes: limit } }, async ({ openpi }) => {
    for (const stream of good) {
      const answers = await reply(openpi, stream, 0);
      assert.equal(answers.at(-1), '88 \x03\xe8', stream.name);
      assert.is(answers.length, stream.frames + 1, stream.name);
    }
    for (const stream of bad.filter(({ name }) => name in codes)) {
      const last = (await reply(openpi, stream, 0)).at(-1)!;
      const code = (last.charCodeAt(3) << 8) | last.charCodeAt(4);
      assert.is(code, codes[stream.name], stream.name);
    }
  });
});

test('a message right behind the request, before the connection is open', async () => {
  await served(new FakePolicy({ immediate: true }), {}, async ({ openpi }) => {
    const cut = 40;
    const client = await RawClient.open(openpi, frame(message).subarray(0, cut));
    await client.send(frame(message).subarray(cut));
    await client.until(1);
    assert.is(client.frames[0]!.opcode, 0x82);
    client.socket.destroy();
  });
});

test('gone at upload: nothing is held', async () => {
  await served(new FakePolicy({ immediate: true }), {}, async ({ openpi, server }) => {
    const client = await RawClient.open(openpi);
    await client.send(frame(Buffer.alloc(100_000)).subarray(0, 50_000));
    await until(async () => (await metric(server, 'semanticvla_held_bytes')) > 40_000, 'bytes held');
    client.socket.destroy();
    await until(async () => (await metric(server, 'semanticvla_held_bytes')) === 0, 'bytes released');
    const line = 'semanticvla_disconnects_total{protocol="openpi",reason="upload"}';
    assert.is(await metric(server, line), 1);
  });
});

test('a message that there is no memory for: OVERLOADED, close 1013, and the next one is served', async () => {
  const limits = { heldBytes: 20_000 };
  await served(new FakePolicy({ immediate: true }), { limits }, async ({ openpi, server }) => {
    const client = await RawClient.open(openpi);
    await client.send(frame(Buffer.alloc(300_000)));
    await client.until(2);
    assert.match(client.frames[0]!.payload.toString(), /^OVERLOADED: /);
    assert.is(client.frames[1]!.payload.readUInt16BE(), 1013);
    client.socket.write(closeFrame(1013));
    await client.end();
    await until(async () => (await metric(server, 'semanticvla_held_bytes')) === 0, 'nothing held');
    assert.ok((await metric(server, 'semanticvla_rejected_total{reason="memory"}')) >= 1);
    const next = await RawClient.open(openpi);
    await next.send(frame(message));
    await next.until(1);
    assert.is(next.frames[0]!.opcode, 0x82);
    next.socket.destroy();
  });
});

test('messages that arrive in turns, in memory that is used again and again, are not mixed', async () => {
  const levels = new Set<number>();
  class Looking extends FakePolicy {
    override predict(observation: Observation, options: PredictOptions): Promise<ActionChunk> {
      const { data } = observation.images.full_image!;
      // Compare it now: the memory will be reused for another message.
      assert.ok(data.every((value) => value === data[0]));
      assert.is(observation.state?.[0], data[0]);
      levels.add(data[0]!);
      return super.predict(observation, options);
    }
  }
  await served(new Looking({ immediate: true }), {}, async ({ openpi }) => {
    const rounds = 5;
    const clients = await Promise.all(Array.from({ length: 10 }, () => RawClient.open(openpi)));
    for (let round = 0; round < rounds; round++) {
      const frames = clients.map((_, i) => {
        const level = 1 + i + round * clients.length;
        const size = 20 + ((i * 37 + round * 11) % 180);
        const key = Buffer.from([level, 7 * level, 11 * level, 13 * level]);
        const map = new Map([...fields(level), ['full_image', image(size, level)] as const]);
        return frame(encodeMsgpackNumpy(map), { key });
      });
      const pieces = 7;
      for (let piece = 0; piece < pieces; piece++) {
        for (const [i, { socket }] of clients.entries()) {
          const { length } = frames[i]!;
          socket.write(
            frames[i]!.subarray(
              Math.floor((piece * length) / pieces),
              Math.floor(((piece + 1) * length) / pieces),
            ),
          );
        }
        await new Promise((resolve) => setImmediate(resolve));
      }
      for (const [i, client] of clients.entries()) {
        await client.until(1);
        const [answer] = client.frames.splice(0);
        if (answer!.opcode === 0x82) continue;
        // A newer one took the waiting place; the connection is closed for it.
        assert.match(answer!.payload.toString(), /^OVERLOADED: /);
        client.socket.destroy();
        clients[i] = await RawClient.open(openpi);
      }
    }
    for (const { socket } of clients) socket.destroy();
  });
  assert.ok(levels.size >= 10, `${levels.size} inferences`);
});

test.run();
