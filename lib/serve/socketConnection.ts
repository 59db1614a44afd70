/**
 * One WebSocket, whatever protocol is spoken on it: its bytes are counted as they arrive, and answers are sent in the order of
 * the messages.
 */

import { type RawData, WebSocket } from 'ws';
import type { SemanticVlaError } from '../support/errors.ts';
import type { Lease } from './byteBudget.ts';
import { ClientGone } from './clientGone.ts';
import { collectSoon, largeBytes } from './collect.ts';
import type { Connection } from './connections.ts';
import type { Failure } from './failure.ts';
import { timeoutCheckMs } from './limits.ts';
import { invalidRequest } from './ndarray.ts';
import type { Inference, PolicyService } from './policyService.ts';
import type { Protocol } from './serverMetrics.ts';
import type { WireFields } from './wireFields.ts';

/** What one connection speaks, and what it remembers between messages. */
export interface Dialect {
  readonly protocol: Protocol;
  /** The first frame; null: the client speaks first. */
  readonly greeting: Buffer | null;
  /** Whether its clients answer pings at any time. A simulator that computes does not; TCP then tells whether it is there. */
  readonly answersPings: boolean;
  /** Whether a message that fails ends the connection, once nothing else is under way. */
  readonly endsOnFailure: boolean;
  /** @throws REQUEST_INVALID */
  read(bytes: Uint8Array): Message;
  /** What a client reads of a failure that is not one of a message. */
  failure(failure: Failure): Buffer | string;
}

export interface Message {
  /** @returns null if this message has no answer @throws (rejects) any error of `ask`, or REQUEST_INVALID */
  answer(ask: (fields: WireFields) => Promise<Inference>): Promise<Reply | null>;
  /** What a client reads when `answer` rejects. */
  failure(failure: Failure): Buffer | string;
}

export interface Reply {
  /** Written when it is its turn. */
  frame(): Buffer;
  /** It was handed to the socket. */
  sent?(): void;
}

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

/** What was refused, and what the client reads of it. */
interface Refused {
  readonly failure: Failure;
  readonly words: Buffer | string;
}

export class SocketConnection {
  readonly #socket: WebSocket;
  readonly #connection: Connection;
  readonly #service: PolicyService;
  readonly #dialect: Dialect;
  readonly #callers = new Set<AbortController>();
  /** The message that is arriving; null: none has begun. */
  #arriving: Lease | null = null;
  /** Bytes of it, without the surcharge for short pieces. */
  #arrived = 0;
  /** Settles when all earlier answers have been sent. */
  #sent: Promise<void> = Promise.resolve();
  /** The reason with which the connection closes once nothing is running. */
  #ending: Failure | null = null;
  #isHeard = true;

  constructor(socket: WebSocket, connection: Connection, service: PolicyService, dialect: Dialect) {
    this.#socket = socket;
    this.#connection = connection;
    this.#service = service;
    this.#dialect = dialect;
    connection.since = performance.now();
    if (!dialect.answersPings) connection.socket.setKeepAlive(true, service.limits.idleMs);
    connection.leave = () => this.#leave();
    connection.check = (now) => this.#check(now);
    const { metrics, log } = service;
    const { protocol, greeting } = dialect;
    // Runs before the listener of ws, so that bytes are counted before ws makes a message of them.
    connection.socket.prependListener('data', (piece: Buffer) => this.#count(piece));
    socket.on('message', (data, isBinary) => this.#take(data, isBinary));
    socket.on('ping', (data) => this.#control(data));
    socket.on('pong', (data) => {
      this.#isHeard = true;
      this.#control(data);
    });
    // A message over maxPayload ends here too; ws itself closes with 1009.
    socket.on('error', (error) => log.warn({ protocol, reason: error.message }, 'connection failed'));
    socket.on('close', (code) => {
      log.info({ protocol, closeCode: code }, 'disconnected');
      if (this.#arriving !== null) metrics.disconnected(protocol, 'upload');
      if (this.#callers.size > 0) metrics.disconnected(protocol, 'inference');
      this.#arriving?.release();
      this.#arriving = null;
      if (this.#arrived >= largeBytes) collectSoon();
      for (const caller of this.#callers) caller.abort(new ClientGone());
    });
    log.info({ protocol }, 'connected');
    if (greeting !== null) this.#send(greeting);
  }

  drain(): void {
    this.#endWhenIdle(drained);
  }

  /** Pings the client; ends the connection if it has not answered the previous ping. */
  ping(): void {
    if (!this.#dialect.answersPings) return;
    if (this.#isHeard || this.#connection.busy > 0) {
      this.#isHeard = false;
      this.#socket.ping();
      return;
    }
    this.#service.metrics.disconnected(this.#dialect.protocol, 'idle');
    this.#socket.terminate();
  }

  #count(piece: Buffer): void {
    this.#arriving ??= this.#service.budget.lease((error) => this.#revoked(error));
    this.#arrived += piece.length;
    if (this.#arrived >= largeBytes) collectSoon();
    try {
      this.#arriving.add(Math.max(piece.length, leastPieceBytes));
    } catch (error) {
      this.#cut(this.#service.failed(this.#dialect.protocol, error));
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
    this.#service.metrics.disconnected(this.#dialect.protocol, 'late');
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
    this.#send(this.#dialect.failure(failure));
    this.#socket.close(closeCode(failure), failure.code);
    // A timer left behind would hold the socket, and with it all that came of the message.
    const timer = setTimeout(() => this.#socket.terminate(), timeoutCheckMs).unref();
    this.#socket.once('close', () => clearTimeout(timer));
  }

  /** Another request needs the memory. */
  #revoked(error: SemanticVlaError): void {
    this.#arriving = null;
    this.#cut(this.#service.failed(this.#dialect.protocol, error));
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
  async #answer(data: RawData, isBinary: boolean, caller: AbortController): Promise<Reply | Refused | null> {
    const service = this.#service;
    const dialect = this.#dialect;
    const start = performance.now();
    let message: Message | null = null;
    const lease = service.budget.lease((error) => caller.abort(error));
    try {
      const bytes = messageBytes(data, isBinary);
      lease.add(bytes.length);
      lease.arrived();
      const ticket = { caller, asker: this.#connection, lease, protocol: dialect.protocol };
      message = dialect.read(bytes);
      return await message.answer(async (fields) => {
        const inference = await service.infer(fields, ticket);
        const { inferMs } = inference;
        const totalMs = performance.now() - start;
        service.answered(dialect.protocol, { bytes: bytes.length, inferMs, totalMs });
        return inference;
      });
    } catch (error) {
      if (caller.signal.reason instanceof ClientGone) return null;
      const failure = service.failed(dialect.protocol, error);
      return { failure, words: (message ?? dialect).failure(failure) };
    } finally {
      lease.release();
    }
  }

  #write(answer: Reply | Refused): void {
    if ('frame' in answer) {
      if (this.#send(answer.frame())) answer.sent?.();
      return;
    }
    this.#send(answer.words);
    if (this.#dialect.endsOnFailure) this.#endWhenIdle(answer.failure);
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
      const { protocol } = this.#dialect;
      metrics.disconnected(protocol, 'slow');
      log.warn({ protocol, unsent: socket.bufferedAmount }, 'slow consumer');
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
