/**
 * A connection to the port of `POST /act`. Requests of the one form that actHead.ts knows are served here; at the first of
 * another form the connection goes to Node's HTTP server, with every byte of it, and stays there.
 */

import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Gate } from './access.ts';
import { answerAct, clientLeft, failedAnswer, type HttpAnswer } from './actAnswer.ts';
import { type ActHead, isSameHead, readActHead } from './actHead.ts';
import type { Body } from './bodyPool.ts';
import { endWith, requestTimeout } from './brokenRequest.ts';
import { ClientGone } from './clientGone.ts';
import { directSocket } from './directSocket.ts';
import { isJsonType, jsonType } from './jsonType.ts';
import type { PolicyService } from './policyService.ts';

export interface ActConnectionOptions {
  readonly service: PolicyService;
  readonly gate: Gate;
  readonly compat: boolean;
  /** For heads, and shared: what is read into it is taken out of it at once. */
  readonly scratch: Buffer;
  /** Takes a connection from its first byte on. */
  readonly toHttp: (socket: Socket) => void;
}

/** A request whose body is still to come. */
interface Upload {
  /** null: already refused, and what is still to come is dropped, so that the client gets to read its answer. */
  body: Body | null;
  /** Bytes still to come. */
  missing: number;
}

export class ActConnection {
  readonly #socket: Socket;
  readonly #options: ActConnectionOptions;
  /** The last that was served. */
  #head: { readonly bytes: Buffer; readonly head: ActHead } | null = null;
  /** Between two requests this and `#caller` are null. */
  #upload: Upload | null = null;
  /** Of the request that is being answered. */
  #caller: AbortController | null = null;
  /** What came behind the request that is being answered. */
  #early: Buffer | null = null;
  /** Whose memory is being read into; null: `scratch`. */
  #target: Body | null = null;
  #deadline: number;
  readonly #onEnd = (): void => this.#end();
  readonly #onClose = (): void => this.#leave();
  /** `close` comes behind it. */
  readonly #onError = (): void => {};

  /** @param accepted one that `isDirect` */
  constructor(accepted: Socket, options: ActConnectionOptions) {
    this.#options = options;
    this.#deadline = performance.now() + options.service.limits.headersMs;
    this.#socket = directSocket(accepted, {
      room: () => this.#room(),
      received: (bytes) => this.#received(bytes),
    });
    this.#socket.on('end', this.#onEnd).on('close', this.#onClose).on('error', this.#onError).resume();
  }

  /** Ends now, unless a request is under way; that one ends it with its answer. */
  drain(): void {
    if (this.#upload === null && this.#caller === null) this.#socket.destroy();
  }

  terminate(): void {
    this.#socket.destroy();
  }

  /** Ends what took too long, by `now` of the monotonic clock. */
  expire(now: number): void {
    if (now < this.#deadline) return;
    this.#deadline = Number.POSITIVE_INFINITY;
    // Nobody waits for an answer, or it has been given.
    if (this.#upload === null || this.#upload.body === null) {
      this.#socket.destroy();
      return;
    }
    // Before the memory goes that is being read into.
    this.#socket.pause();
    endWith(this.#socket, ...requestTimeout);
  }

  #room(): Buffer {
    this.#target = this.#upload?.body ?? null;
    return this.#target?.room() ?? this.#options.scratch;
  }

  #received(bytes: number): void {
    const upload = this.#upload;
    if (upload !== null && this.#target !== null) this.#count(upload, bytes, (body) => body.arrived(bytes));
    else this.#receive(this.#options.scratch.subarray(0, bytes));
  }

  #receive(bytes: Buffer): void {
    if (this.#caller !== null) this.#keep(bytes);
    else if (this.#upload !== null) this.#take(this.#upload, bytes);
    else this.#begin(bytes);
  }

  #begin(bytes: Buffer): void {
    const { service } = this.#options;
    const head = this.#readHead(bytes);
    if (head === null || service.draining) {
      this.#handOver(bytes);
      return;
    }
    const upload: Upload = { body: service.bodies.begin(head.bodyBytes), missing: head.bodyBytes };
    this.#upload = upload;
    this.#deadline = performance.now() + service.limits.requestMs;
    if (bytes.length > head.size) this.#take(upload, bytes.subarray(head.size));
  }

  /** null: not for here; what is refused before its body is Node's to refuse. */
  #readHead(bytes: Buffer): ActHead | null {
    const before = this.#head;
    if (before !== null && isSameHead(bytes, before.bytes)) return before.head;
    const head = readActHead(bytes);
    if (head === null || !this.#isServed(head)) return null;
    this.#head = { bytes: Buffer.from(bytes.subarray(0, head.size)), head };
    return head;
  }

  #isServed({ headers, bodyBytes }: ActHead): boolean {
    const { service, gate } = this.#options;
    const isSmall = bodyBytes <= service.limits.bodyBytes;
    return isSmall && isJsonType(headers['content-type']) && gate(headers) === null;
  }

  #take(upload: Upload, bytes: Buffer): void {
    const own = bytes.subarray(0, upload.missing);
    if (own.length < bytes.length) this.#keep(bytes.subarray(own.length));
    this.#count(upload, own.length, (body) => body.append(own));
  }

  #count(upload: Upload, bytes: number, add: (body: Body) => void): void {
    upload.missing -= bytes;
    if (upload.body !== null) {
      try {
        add(upload.body);
      } catch (error) {
        upload.body.release();
        upload.body = null;
        this.#write(failedAnswer(error, this.#options.service, this.#options.compat));
      }
    }
    if (upload.missing > 0) return;
    this.#upload = null;
    if (upload.body === null) this.#next();
    else void this.#answer(upload.body);
  }

  async #answer(body: Body): Promise<void> {
    const { service, compat } = this.#options;
    this.#deadline = Number.POSITIVE_INFINITY;
    this.#caller = new AbortController();
    const answer = await answerAct(body, service, compat, this.#caller);
    this.#caller = null;
    if (answer === null) return;
    this.#write(answer);
    this.#next();
  }

  #next(): void {
    const { service } = this.#options;
    if (service.draining || this.#socket.destroyed) {
      this.#socket.end();
      return;
    }
    this.#deadline = performance.now() + service.limits.idleMs;
    const early = this.#early;
    if (early === null) return;
    this.#early = null;
    this.#socket.resume();
    this.#receive(early);
  }

  /** Nothing more is read until the answer is written, so this is one piece at most. */
  #keep(bytes: Buffer): void {
    this.#socket.pause();
    this.#early = Buffer.from(bytes);
  }

  #write({ status, headers, text }: HttpAnswer): void {
    const { service } = this.#options;
    if (this.#socket.destroyed) return;
    let head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: ${jsonType}\r\n`;
    for (const name in headers) head += `${name}: ${headers[name]}\r\n`;
    head += `date: ${new Date().toUTCString()}\r\ncontent-length: ${Buffer.byteLength(text)}\r\n`;
    head += service.draining
      ? 'connection: close\r\n\r\n'
      : `connection: keep-alive\r\nkeep-alive: timeout=${Math.floor(service.limits.idleMs / 1000)}\r\n\r\n`;
    this.#socket.write(head + text);
    if (this.#socket.writableLength <= service.limits.unsentBytes) return;
    service.metrics.disconnected('act', 'slow');
    this.#socket.destroy();
  }

  #handOver(bytes: Buffer): void {
    const socket = this.#socket;
    this.#deadline = Number.POSITIVE_INFINITY;
    socket.pause();
    socket.off('end', this.#onEnd).off('close', this.#onClose).off('error', this.#onError);
    socket.unshift(Buffer.from(bytes));
    this.#options.toHttp(socket);
    socket.resume();
  }

  /** Also a client that only says that it sends no more is gone, as for Node. */
  #end(): void {
    this.#leave();
    this.#socket.end();
  }

  #leave(): void {
    this.#deadline = Number.POSITIVE_INFINITY;
    this.#caller?.abort(new ClientGone());
    const body = this.#upload?.body;
    this.#upload = null;
    if (body === undefined || body === null) return;
    body.release();
    clientLeft(this.#options.service, 'upload');
  }
}
