/** BareClient for openpi's WebSocket: a connection that is kept, and one frame made before, masked as every client must. */

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { encodeMsgpackNumpy } from '../../lib/serve/msgpackNumpy.ts';
import { float64Array, NdArray, type WireValue } from '../../lib/serve/ndarray.ts';
import { BareClient, noise, openSocket } from './peer.ts';

/** What `liberoBody` is for the other protocol. */
export function liberoMessage(instruction = 'pick up the black bowl'): Buffer {
  const image = (): NdArray => new NdArray('|u1', [224, 224, 3], noise());
  return encodeMsgpackNumpy(
    new Map<string, WireValue>([
      ['full_image', image()],
      ['wrist_image', image()],
      ['state', float64Array(new Float64Array(8), [8])],
      ['prompt', instruction],
    ]),
  );
}

/** One binary frame of a client (RFC 6455, section 5.2), with a length of 64 bits. */
export function clientFrame(message: Buffer): Buffer {
  const mask = randomBytes(4);
  const head = Buffer.alloc(10);
  head.writeUInt16BE(0x82ff);
  head.writeBigUInt64BE(BigInt(message.length), 2);
  const masked = Buffer.from(message.map((byte, i) => byte ^ mask[i & 3]!));
  return Buffer.concat([head, mask, masked]);
}

/** An open WebSocket as what it is, a socket; the first frame, openpi's metadata, has been read. */
export async function openWebSocket(url: string): Promise<Socket> {
  const socket = await openSocket(url);
  socket.write(
    'GET / HTTP/1.1\r\nhost: bench\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n' +
      `sec-websocket-key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
  );
  let seen = Buffer.alloc(0);
  for (;;) {
    const [data] = (await once(socket, 'data')) as [Buffer];
    seen = Buffer.concat([seen, data]);
    const end = seen.indexOf('\r\n\r\n');
    if (end >= 0 && frameEnd(seen.subarray(end + 4)) !== null) return socket;
  }
}

/** Where the first frame of a server ends; null while it is not all there. */
function frameEnd(bytes: Buffer): number | null {
  if (bytes.length < 10) return null;
  const short = bytes[1]!;
  const end =
    short < 126
      ? 2 + short
      : short === 126
        ? 4 + bytes.readUInt16BE(2)
        : 10 + Number(bytes.readBigUInt64BE(2));
  return bytes.length >= end ? end : null;
}

export async function openBareWebSocket(url: string, message: Buffer): Promise<BareClient> {
  return new BareClient(await openWebSocket(url), clientFrame(message), (answer) => {
    const end = frameEnd(answer);
    if (end === null) return null;
    // A binary frame holds actions, a text frame an error.
    return { status: answer[0] === 0x82 ? 200 : 500, body: answer.subarray(0, end) };
  });
}
