/**
 * openpi's WebSocket protocol: a metadata frame first, then one binary msgpack frame for each request and each answer; an
 * error is a text frame and a close (openpi, websocket_policy_server.py). The text here is `CODE: message`, not a trace.
 */

import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { type RawData, WebSocket, WebSocketServer } from 'ws';
import type { ActionChunk } from '../types.ts';
import type { Gate } from './access.ts';
import type { Body } from './bodyPool.ts';
import { ClientGone } from './clientGone.ts';
import { directSocket, isDirect } from './directSocket.ts';
import { type Failure, failureBody } from './failure.ts';
import { MessageReader } from './messageReader.ts';
import { decodeMsgpackMap, encodeMsgpackNumpy } from './msgpackNumpy.ts';
import { float64Array, invalidRequest, NdArray, type WireValue } from './ndarray.ts';
import type { PolicyService } from './policyService.ts';

/** RFC 6455: 1011 internal error, which openpi uses for all; 1013 try again later; 1001 going away. */
function closeCode({ code }: Failure): number {
  if (code === 'DRAINING') return 1001;
  return code === 'OVERLOADED' ? 1013 : 1011;
}

/** Enough for a head, and for whole frames of the small kinds. */
const scratchBytes = 8 * 2 ** 10;

export interface OpenpiSocketOptions {
  readonly service: PolicyService;
  readonly gate: Gate;
  /** Read connections past Node's streams, where this Node lets them be. */
  readonly directReads: boolean;
}

export class OpenpiSocket {
  readonly #service: PolicyService;
  readonly #server: WebSocketServer;
  readonly #directReads: boolean;
  readonly #scratch = Buffer.allocUnsafeSlow(scratchBytes);
  /** Requests under way. */
  readonly #open = new WeakMap<WebSocket, Set<AbortController>>();
  /** Heard from since the last ping. */
  readonly #alive = new WeakSet<WebSocket>();
  readonly #pings: NodeJS.Timeout;

  constructor(app: FastifyInstance, { service, gate, directReads }: OpenpiSocketOptions) {
    const { limits, metrics, log } = service;
    this.#service = service;
    this.#directReads = directReads;
    // Compression costs 10 ms on two frames of 224 x 224 and wins nothing on camera noise.
    this.#server = new WebSocketServer({
      noServer: true,
      maxPayload: limits.bodyBytes,
      perMessageDeflate: false,
    });
    app.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on('error', () => socket.destroy());
      const denied = gate(request.headers);
      if (denied !== null) {
        metrics.rejected('token');
        log.warn({ protocol: 'openpi', code: denied }, 'connection refused');
        return refuseUpgrade(socket, denied === 'UNAUTHORIZED' ? 401 : 403, denied);
      }
      if (service.draining) return refuseUpgrade(socket, 503, 'DRAINING');
      if (this.#server.clients.size >= limits.connections) return refuseUpgrade(socket, 503, 'OVERLOADED');
      this.#upgrade(request, socket, head);
    });
    this.#pings = setInterval(() => this.#ping(), limits.idleMs / 2);
    this.#pings.unref();
  }

  get connections(): number {
    return this.#server.clients.size;
  }

  /** Ends connections without a request under way; the others end with their answer. */
  drain(): void {
    clearInterval(this.#pings);
    for (const connection of this.#server.clients)
      if (!this.#isBusy(connection)) connection.close(1001, 'DRAINING');
  }

  terminate(): void {
    clearInterval(this.#pings);
    for (const connection of this.#server.clients) connection.terminate();
    this.#server.close();
  }

  #isBusy(connection: WebSocket): boolean {
    return (this.#open.get(connection)?.size ?? 0) > 0;
  }

  #ping(): void {
    for (const connection of this.#server.clients) {
      if (!this.#alive.has(connection) && !this.#isBusy(connection)) {
        this.#service.metrics.disconnected('openpi', 'idle');
        connection.terminate();
        continue;
      }
      this.#alive.delete(connection);
      connection.ping();
    }
  }

  #upgrade(request: IncomingMessage, accepted: Duplex, head: Buffer): void {
    if (!this.#directReads || !isDirect(accepted)) {
      this.#service.readsSlowly();
      this.#server.handleUpgrade(request, accepted, head, (connection) => void this.#serve(connection));
      return;
    }
    const { bodies, limits, metrics } = this.#service;
    const { bodyBytes } = limits;
    let connection: WebSocket | null = null;
    let onMessage: ((message: Body) => void) | null = null;
    const reader = new MessageReader(
      { bodies, bodyBytes, scratch: this.#scratch },
      {
        get isOpen() {
          // What `ws` has yet to read comes first.
          return (
            connection?.readyState === WebSocket.OPEN &&
            socket.readableFlowing === true &&
            socket.readableLength === 0
          );
        },
        message: (body) => onMessage?.(body),
        refused: (error) => {
          if (connection !== null) this.#fail(connection, error);
        },
        other: (bytes) => {
          if (connection !== null) socket.push(bytes);
        },
      },
    );
    const socket = directSocket(accepted, reader);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      if (reader.end()) metrics.disconnected('openpi', 'upload');
    });
    this.#server.handleUpgrade(request, socket, Buffer.alloc(0), (opened) => {
      connection = opened;
      onMessage = this.#serve(opened);
      reader.take(head);
    });
  }

  /** @returns takes messages that were read past `ws` */
  #serve(connection: WebSocket): (message: Body) => void {
    const { metrics, log, metadata } = this.#service;
    const callers = new Set<AbortController>();
    this.#open.set(connection, callers);
    let prevTotalMs: number | null = null;
    this.#alive.add(connection);
    log.info({ protocol: 'openpi' }, 'connected');
    connection.on('pong', () => this.#alive.add(connection));
    // Also a message over maxPayload ends here; ws closes with 1009 itself.
    connection.on('error', (error) =>
      log.warn({ protocol: 'openpi', reason: error.message }, 'connection failed'),
    );
    connection.on('close', (code) => {
      log.info({ protocol: 'openpi', closeCode: code }, 'disconnected');
      if (callers.size > 0) metrics.disconnected('openpi', 'inference');
      for (const caller of callers) caller.abort(new ClientGone());
    });
    const answer = async (read: () => Uint8Array): Promise<void> => {
      this.#alive.add(connection);
      const start = performance.now();
      const caller = new AbortController();
      callers.add(caller);
      const answered = await this.#answer(connection, read, prevTotalMs, caller);
      if (answered) prevTotalMs = performance.now() - start;
      callers.delete(caller);
      if (this.#service.draining && callers.size === 0) connection.close(1001, 'DRAINING');
    };
    connection.on('message', (data, isBinary) => void answer(() => messageBytes(data, isBinary)));
    this.#send(connection, encodeMsgpackNumpy(metadata));
    return (body) => void answer(() => body.bytes()).finally(() => body.release());
  }

  /** Never rejects. Resolves to true when the answer is on its way. */
  async #answer(
    connection: WebSocket,
    read: () => Uint8Array,
    prevTotalMs: number | null,
    caller: AbortController,
  ): Promise<boolean> {
    const service = this.#service;
    const start = performance.now();
    try {
      const bytes = read();
      const { chunk, inferMs } = await service.infer(decodeMsgpackMap(bytes), caller);
      if (!this.#send(connection, encodeAnswer(chunk, inferMs, prevTotalMs))) return false;
      const totalMs = performance.now() - start;
      service.metrics.request('openpi', 'OK', totalMs / 1000);
      service.log.info({ protocol: 'openpi', code: 'OK', bytes: bytes.length, inferMs, totalMs }, 'request');
      return true;
    } catch (error) {
      if (caller.signal.reason instanceof ClientGone) return false;
      this.#fail(connection, error);
      return false;
    }
  }

  #fail(connection: WebSocket, error: unknown): void {
    const failure = this.#service.failed('openpi', error);
    if (this.#send(connection, `${failure.code}: ${failure.message}`)) {
      connection.close(closeCode(failure), failure.code);
    }
  }

  /** False when the client reads too slowly and its connection has ended for it. */
  #send(connection: WebSocket, data: Buffer | string): boolean {
    if (connection.bufferedAmount + data.length > this.#service.limits.unsentBytes) {
      this.#service.metrics.disconnected('openpi', 'slow');
      this.#service.log.warn({ protocol: 'openpi', unsent: connection.bufferedAmount }, 'slow consumer');
      connection.terminate();
      return false;
    }
    // Errors of a send arrive as `close`.
    connection.send(data, { binary: typeof data !== 'string' }, () => {});
    return true;
  }
}

function messageBytes(data: RawData, isBinary: boolean): Uint8Array {
  if (!isBinary) throw invalidRequest('a binary frame', 'a text frame');
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}

/** `normalized` is ours: a client of this project needs it, others do not look for it. */
function encodeAnswer(chunk: ActionChunk, inferMs: number, prevTotalMs: number | null): Buffer {
  const { normalized, shape } = chunk;
  const timing = new Map<string, WireValue>([['infer_ms', inferMs]]);
  if (prevTotalMs !== null) timing.set('prev_total_ms', prevTotalMs);
  const answer = new Map<string, WireValue>([['actions', float64Array(chunk.actions, shape)]]);
  if (normalized.length === chunk.actions.length) {
    const { buffer, byteOffset, byteLength } = normalized;
    answer.set('normalized', new NdArray('<f4', shape, new Uint8Array(buffer, byteOffset, byteLength)));
  }
  return encodeMsgpackNumpy(answer.set('server_timing', timing));
}

const statusText: Readonly<Record<number, string>> = {
  401: 'Unauthorized',
  403: 'Forbidden',
  503: 'Service Unavailable',
};

function refuseUpgrade(socket: Duplex, status: number, code: Failure['code']): void {
  const body = failureBody({ code, message: 'The connection is refused.' });
  socket.end(
    `HTTP/1.1 ${status} ${statusText[status]}\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
