/** Handmade WebSocket frames, valid and invalid, and a client that is a bare socket. */

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { inTime, until } from './harness.ts';

export interface FrameForm {
  /** Default: end of message, binary. */
  readonly first?: number;
  /** Four bytes; null: not masked. */
  readonly key?: Buffer | null;
  /** Bytes of the length field; default: the fewest. */
  readonly lengthBytes?: 0 | 2 | 8;
  /** The length that the header claims; default: the real one. */
  readonly claimed?: bigint;
}

/** One frame of a client. */
export function frame(payload: Buffer | string, form: FrameForm = {}): Buffer {
  const { first = 0x82, key = Buffer.from([0x12, 0xc5, 0x00, 0xa9]) } = form;
  const bytes = Buffer.from(payload);
  const claimed = form.claimed ?? BigInt(bytes.length);
  const { lengthBytes = claimed < 126n ? 0 : claimed < 65536n ? 2 : 8 } = form;
  const masked = key === null ? 0 : 0x80;
  const head = Buffer.alloc(2 + lengthBytes);
  head[0] = first;
  head[1] = masked | (lengthBytes === 0 ? Number(claimed) : lengthBytes === 2 ? 126 : 127);
  if (lengthBytes === 2) head.writeUInt16BE(Number(claimed), 2);
  if (lengthBytes === 8) head.writeBigUInt64BE(claimed, 2);
  const body = key === null ? bytes : Buffer.from(bytes.map((byte, i) => byte ^ key[i & 3]!));
  return Buffer.concat([head, key ?? Buffer.alloc(0), body]);
}

export function closeFrame(code: number): Buffer {
  const payload = Buffer.alloc(2);
  payload.writeUInt16BE(code);
  return frame(payload, { first: 0x88 });
}

export interface ServerFrame {
  readonly opcode: number;
  readonly payload: Buffer;
}

/** An open WebSocket as what it is; the first frame, openpi's metadata, has been read. */
export class RawClient {
  readonly socket: Socket;
  readonly frames: ServerFrame[] = [];
  readonly closed: Promise<void>;
  #seen = Buffer.alloc(0);
  #isOpen = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    // Not `once` of node:events, which rejects with a reset.
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()));
    socket.on('error', () => {});
    socket.on('data', (data: Buffer) => this.#receive(data));
  }

  /** @param behind bytes sent together with the request, in one piece */
  static async open(url: string, behind: Buffer = Buffer.alloc(0)): Promise<RawClient> {
    const { hostname, port } = new URL(url);
    const socket = connect({ port: Number(port), host: hostname, noDelay: true });
    await once(socket, 'connect');
    const client = new RawClient(socket);
    const request =
      'GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n' +
      `sec-websocket-key: ${randomBytes(16).toString('base64')}\r\n\r\n`;
    socket.write(Buffer.concat([Buffer.from(request), behind]));
    await until(() => client.frames.length > 0, 'the metadata');
    client.frames.shift();
    return client;
  }

  /** @param piece bytes at a time, each sent separately; 0: all at once */
  async send(bytes: Buffer, piece = 0): Promise<void> {
    if (piece === 0) this.socket.write(bytes);
    for (let at = 0; piece > 0 && at < bytes.length; at += piece) {
      this.socket.write(bytes.subarray(at, at + piece));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Waits until there are this many frames, or the server has closed. */
  async until(count: number): Promise<void> {
    await until(() => this.frames.length >= count || this.socket.closed, `${count} frames`);
  }

  async end(): Promise<void> {
    await inTime(this.closed, 'the end');
  }

  #receive(data: Buffer): void {
    this.#seen = Buffer.concat([this.#seen, data]);
    if (!this.#isOpen) {
      const end = this.#seen.indexOf('\r\n\r\n');
      if (end < 0) return;
      this.#isOpen = true;
      this.#seen = this.#seen.subarray(end + 4);
    }
    for (;;) {
      const short = this.#seen[1] ?? 0;
      const size = short === 126 ? 4 : short === 127 ? 10 : 2;
      if (this.#seen.length < size) return;
      const length =
        size === 2 ? short : size === 4 ? this.#seen.readUInt16BE(2) : Number(this.#seen.readBigUInt64BE(2));
      if (this.#seen.length < size + length) return;
      this.frames.push({ opcode: this.#seen[0]!, payload: this.#seen.subarray(size, size + length) });
      this.#seen = this.#seen.subarray(size + length);
    }
  }
}
