import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type WebSocket, WebSocketServer } from 'ws';
import { maskFrame } from '../../lib/client/messageFrame.ts';
import { OpenpiTransport } from '../../lib/client/openpiTransport.ts';
import { readFrameHead } from '../../lib/serve/frameHead.ts';
import { decodeMsgpackMap, encodeMsgpackNumpy } from '../../lib/serve/msgpackNumpy.ts';
import { float64Array, NdArray, type WireValue } from '../../lib/serve/ndarray.ts';

const test = suite('frames of the client');

test('heads of every length, a key of its own each time, and the payload behind it', () => {
  const keys = new Set<number>();
  for (const length of [0, 1, 125, 126, 127, 65535, 65536, 300_001]) {
    const payload = Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 31) & 255));
    const before = Buffer.from(payload);
    const bytes = maskFrame(payload);
    const head = readFrameHead(bytes)!;
    assert.equal([head.first, head.isMasked, head.payloadBytes], [0x82, true, length]);
    assert.is(head.size, bytes.length);
    const key = bytes.subarray(-4);
    assert.ok(before.equals(payload.map((byte, i) => byte ^ key[i & 3]!)), `${length} bytes`);
    keys.add(head.key);
  }
  assert.ok(keys.size > 1);
});

test('another server understands them, with pings between', async () => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false });
  await once(server, 'listening');
  server.on('connection', (socket: WebSocket) => {
    socket.send(encodeMsgpackNumpy(new Map([['server', 'another']])));
    socket.on('message', (data: Buffer) => {
      const { shape, data: pixels } = decodeMsgpackMap(data).get('image') as NdArray;
      const sum = pixels.reduce((total, value) => total + value, 0);
      socket.ping();
      socket.send(
        encodeMsgpackNumpy(new Map([['actions', float64Array(Float64Array.of(shape[0]!, sum), [1, 2])]])),
      );
    });
  });
  const { port } = server.address() as AddressInfo;
  const transport = new OpenpiTransport({ url: new URL(`ws://127.0.0.1:${port}`), token: undefined });
  const { signal } = new AbortController();
  try {
    assert.is((await transport.connect(signal))?.get('server'), 'another');
    for (const side of [1, 4, 60, 224]) {
      const pixels = Uint8Array.from({ length: side * side * 3 }, (_, i) => (i * 7) & 255);
      const fields = new Map<string, WireValue>([['image', new NdArray('|u1', [side, side, 3], pixels)]]);
      const { actions } = await transport.request(fields, signal);
      assert.equal([...actions], [side, pixels.reduce((total, value) => total + value, 0)]);
      assert.is(pixels[1] ?? 7, 7, "what was sent is the caller's, and as it was");
    }
  } finally {
    transport.close();
    server.close();
  }
});

test.run();
