/** One WebSocket: its bytes are counted as they arrive, and answers are sent in the order of the requests. */

import { type RawData, WebSocket } from 'ws';
import type { SemanticVlaError } from '../support/errors.ts';
import type { ActionChunk } from '../types.ts';
import type { Lease } from './byteBudget.ts';
import { ClientGone } from './clientGone.ts';
import { collectSoon, largeBytes } from './collect.ts';
import type { Connection } from './connections.ts';
import type { Failure } from './failure.ts';
import { timeoutCheckMs } from './limits.ts';
import { decodeMsgpackRequest, encodeMsgpackNumpy } from './msgpackNumpy.ts';
import { float64Array, invalidRequest, NdArray, type WireValue } from './ndarray.ts';
import type { PolicyService } from './policyService.ts';

/** RFC 6455: 1011 internal error, which openpi uses for everything; 1013 try again later; 1001 going away; 1008 policy. */
const closeCodes: Partial<Record<Failure['code'], number>> = {
  DRAINING: 1001,
  OVERLOADED: 1013,
  TIMEOUT: 1008,
};

function closeCode({ code }: Failure): number {
  return closeCodes[code] ?? 1011;
}

/** Length of the header and mask key of a client's control frame. */
const controlHeadBytes = 6;
/** The least that a piece of a message counts for, however short it is. */
const leastPieceBytes = 512;
/** How many requests may be running before no more is read. */
const mostUnderWay = 32;

/** An answer waiting for its turn; a frame is written only then. */
type Answer = { readonly frame: (prevTotalMs: number | null) => Buffer; readonly start: number } | Failure;

export class OpenpiConnection {
  readonly #socket: WebSocket;
  readonly #connection: Connection;
  readonly #service: PolicyService;
  readonly #callers = new Set<AbortController>();
  /** The message that is arriving; null: none has begun. */
  #arriving: Lease | null = null;
  /** Bytes of it, without the surcharge for short pieces. */
  #arrived = 0;
  /** Settles when all earlier answers have been sent. */
  #sent: Promise<void> = Promise.resolve();
  #prevTotalMs: number | null = null;
  /** The reason with which the connection closes once nothing is running. */
  #ending: Failure | null = null;
  #isHeard = true;

  constructor(socket: WebSocket, connection: Connection, service: PolicyService) {
    this.#socket = socket;
    this.#connection = connection;
    this.#service = service;
    connection.since = performance.now();
    connection.leave = () => this.#leave();
    connection.check = (now) => this.#check(now);
    const { metrics, log } = service;
    // Runs before the listener of ws, so that bytes are counted before ws makes a message of them.
    connection.socket.prependListener('data', (piece: Buffer) => this.#count(piece));
    socket.on('message', (data, isBinary) => this.#take(data, isBinary));
    socket.on('ping', (data) => this.#control(data));
    socket.on('pong', (data) => {
      this.#isHeard = true;
      this.#control(data);
    });
    // A message over maxPayload ends here too; ws itself closes with 1009.
    socket.on('error', (error) =>
      log.warn({ protocol: 'openpi', reason: error.message }, 'connection failed'),
    );
    socket.on('close', (code) => {
      log.info({ protocol: 'openpi', closeCode: code }, 'disconnected');
      if (this.#arriving !== null) metrics.disconnected('openpi', 'upload');
      if (this.#callers.size > 0) metrics.disconnected('openpi', 'inference');
      this.#arriving?.release();
      this.#arriving = null;
      if (this.#arrived >= largeBytes) collectSoon();
      for (const caller of this.#callers) caller.abort(new ClientGone());
    });
    log.info({ protocol: 'openpi' }, 'connected');
    this.#send(encodeMsgpackNumpy(service.metadata));
  }

  drain(): void {
    this.#endWhenIdle(drained);
  }

  /** Pings the client; ends the connection if it has not answered the previous ping. */
  ping(): void {
    if (this.#isHeard || this.#connection.busy > 0) {
      this.#isHeard = false;
      this.#socket.ping();
      return;
    }
    this.#service.metrics.disconnected('openpi', 'idle');
    this.#socket.terminate();
  }

  #count(piece: Buffer): void {
    this.#arriving ??= this.#service.budget.lease((error) => this.#revoked(error));
    this.#arrived += piece.length;
    if (this.#arrived >= largeBytes) collectSoon();
    try {
      this.#arriving.add(Math.max(piece.length, leastPieceBytes));
    } catch (error) {
      this.#cut(this.#service.failed('openpi', error));
    }
  }

  /** A control frame is not part of a message, even if it arrives within one: its bytes are subtracted. */
  #control(data: Buffer): void {
    const bytes = data.length + controlHeadBytes;
    this.#arrived = Math.max(0, this.#arrived - bytes);
    if (this.#arrived === 0) this.#whole();
  }

  /** A message is complete. The beginning of the next one, if it came in the same piece, is not counted. */
  #whole(): void {
    this.#arriving?.release();
    this.#arriving = null;
    this.#arrived = 0;
  }

  #check(now: number): void {
    const lease = this.#arriving;
    const { requestMs } = this.#service.limits;
    const isOpen = this.#socket.readyState === WebSocket.OPEN;
    if (!isOpen || lease === null || now - lease.begun < requestMs) return;
    this.#service.metrics.disconnected('openpi', 'late');
    this.#cut({
      status: 408,
      code: 'TIMEOUT',
      message: `Expected a whole message within ${requestMs} ms.`,
    });
  }

  /** Refuses the message that is arriving. What follows it cannot be told apart from it, so the connection ends. */
  #cut(failure: Failure): void {
    if (this.#socket.readyState !== WebSocket.OPEN) {
      this.#socket.terminate();
      return;
    }
    this.#socket.pause();
    this.#send(`${failure.code}: ${failure.message}`);
    this.#socket.close(closeCode(failure), failure.code);
    // A timer left behind would hold the socket, and with it all that came of the message.
    const timer = setTimeout(() => this.#socket.terminate(), timeoutCheckMs).unref();
    this.#socket.once('close', () => clearTimeout(timer));
  }

  /** Another request needs the memory. */
  #revoked(error: SemanticVlaError): void {
    this.#arriving = null;
    this.#cut(this.#service.failed('openpi', error));
    this.#socket.terminate();
  }

  #leave(): void {
    if (this.#service.draining) this.drain();
    else this.#cut({ status: 503, code: 'OVERLOADED', message: 'Others need the place of this connection.' });
  }

  #take(data: RawData, isBinary: boolean): void {
    this.#whole();
    this.#isHeard = true;
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    const caller = new AbortController();
    this.#callers.add(caller);
    this.#connection.begin();
    if (this.#callers.size >= mostUnderWay) this.#socket.pause();
    const answer = this.#answer(data, isBinary, caller);
    this.#sent = this.#sent.then(async () => {
      const ready = await answer;
      this.#callers.delete(caller);
      this.#connection.end();
      if (this.#callers.size < mostUnderWay && this.#socket.isPaused) this.#socket.resume();
      if (ready !== null) this.#write(ready);
      this.#endIfIdle();
    });
  }

  /** Never rejects. null: the client is gone, so that there is nobody to answer. */
  async #answer(data: RawData, isBinary: boolean, caller: AbortController): Promise<Answer | null> {
    const service = this.#service;
    const start = performance.now();
    const lease = service.budget.lease((error) => caller.abort(error));
    try {
      const bytes = messageBytes(data, isBinary);
      lease.add(bytes.length);
      lease.arrived();
      const ticket = { caller, asker: this.#connection, lease };
      const { chunk, inferMs } = await service.infer(decodeMsgpackRequest(bytes), ticket);
      const totalMs = performance.now() - start;
      service.answered('openpi', { bytes: bytes.length, inferMs, totalMs });
      return { frame: (prevTotalMs) => encodeAnswer(chunk, inferMs, prevTotalMs), start };
    } catch (error) {
      return caller.signal.reason instanceof ClientGone ? null : service.failed('openpi', error);
    } finally {
      lease.release();
    }
  }

  #write(answer: Answer): void {
    if ('frame' in answer) {
      if (this.#send(answer.frame(this.#prevTotalMs))) this.#prevTotalMs = performance.now() - answer.start;
      return;
    }
    this.#send(`${answer.code}: ${answer.message}`);
    this.#endWhenIdle(answer);
  }

  #endWhenIdle(failure: Failure): void {
    this.#ending ??= failure;
    this.#endIfIdle();
  }

  #endIfIdle(): void {
    if (this.#ending === null && this.#service.draining) this.#ending = drained;
    if (this.#ending === null || this.#callers.size > 0) return;
    // First read what was sent together with the failed request.
    setImmediate(() => {
      const failure = this.#ending!;
      const isIdle = this.#callers.size === 0 && (this.#arriving === null || failure === drained);
      if (isIdle) this.#socket.close(closeCode(failure), failure.code);
    });
  }

  /** Returns false if the client reads too slowly and was disconnected for it. */
  #send(data: Buffer | string): boolean {
    const socket = this.#socket;
    const { limits, metrics, log } = this.#service;
    if (socket.bufferedAmount + data.length > limits.unsentBytes) {
      metrics.disconnected('openpi', 'slow');
      log.warn({ protocol: 'openpi', unsent: socket.bufferedAmount }, 'slow consumer');
      socket.terminate();
      return false;
    }
    // An error of a send is reported by `close`.
    socket.send(data, { binary: typeof data !== 'string' }, () => {});
    return true;
  }
}

const drained: Failure = { status: 503, code: 'DRAINING', message: '' };

function messageBytes(data: RawData, isBinary: boolean): Uint8Array {
  if (!isBinary) throw invalidRequest('a binary frame', 'a text frame');
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}

/** `normalized` is an addition to openpi: a client of this project needs it, others ignore it. */
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
