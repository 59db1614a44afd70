/**
 * Client of openpi's WebSocket. The protocol has no request numbers: answers come in the order of the requests. The answer to
 * an abandoned request is therefore awaited and dropped; if two of them are pending, the connection is given up.
 */

import { type RawData, WebSocket } from 'ws';
import { decodeMsgpackMap, encodeMsgpackNumpy } from '../serve/msgpackNumpy.ts';
import type { WireMap } from '../serve/ndarray.ts';
import { whenAborted } from '../support/abort.ts';
import type { SemanticVlaError } from '../support/errors.ts';
import { answerOfMap } from './remoteAnswer.ts';
import {
  maxAnswerBytes,
  type RemoteAnswer,
  remoteFailed,
  reported,
  type Transport,
  type TransportOptions,
  unreachable,
} from './transport.ts';

interface Waiter {
  readonly resolve: (map: WireMap) => void;
  readonly reject: (error: unknown) => void;
  abandoned: boolean;
}

const mostAbandoned = 2;

export class OpenpiTransport implements Transport {
  onLost: ((error: SemanticVlaError) => void) | null = null;
  readonly url: URL;
  readonly #headers: Readonly<Record<string, string>>;
  #socket: WebSocket | null = null;
  #waiters: Waiter[] = [];

  constructor({ url, token }: TransportOptions) {
    this.url = url;
    this.#headers = token === undefined ? {} : { authorization: `Api-Key ${token}` };
  }

  get connected(): boolean {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  async connect(signal: AbortSignal): Promise<WireMap | null> {
    this.close();
    signal.throwIfAborted();
    const socket = new WebSocket(this.url, {
      perMessageDeflate: false,
      maxPayload: maxAnswerBytes,
      headers: this.#headers,
      followRedirects: false,
    });
    this.#socket = socket;
    const metadata = this.#wait(socket, signal);
    let error: SemanticVlaError | null = null;
    socket.on('unexpected-response', (request, response) => {
      const { statusCode = 0 } = response;
      error =
        statusCode === 401
          ? reported(this.url, 'UNAUTHORIZED', 'the token is missing or wrong.')
          : unreachable(this.url, `HTTP status ${statusCode}`);
      request.destroy();
      this.#lost(socket, error);
    });
    socket.on('error', (cause) => {
      error ??= unreachable(this.url, (cause as NodeJS.ErrnoException).code ?? cause.message, cause);
    });
    socket.on('message', (data, isBinary) => this.#receive(socket, data, isBinary));
    socket.on('close', (code) => this.#lost(socket, error ?? unreachable(this.url, `close code ${code}`)));
    try {
      return await metadata;
    } catch (reason) {
      socket.terminate();
      throw reason;
    }
  }

  async request(fields: WireMap, signal: AbortSignal): Promise<RemoteAnswer> {
    const socket = this.#socket;
    if (socket === null || !this.connected) throw unreachable(this.url, 'none');
    signal.throwIfAborted();
    const answer = this.#wait(socket, signal);
    // Send errors are reported by `close`.
    socket.send(encodeMsgpackNumpy(fields), () => {});
    return answerOfMap(this.url, await answer);
  }

  close(): void {
    const socket = this.#socket;
    this.#socket = null;
    if (socket === null) return;
    socket.close(1000);
    // A server that does not answer the close frame would keep the process alive.
    const timer = setTimeout(() => socket.terminate(), 1000);
    timer.unref();
    socket.once('close', () => clearTimeout(timer));
    this.#rejectAll(unreachable(this.url, 'that it was closed here'));
  }

  #wait(socket: WebSocket, signal: AbortSignal): Promise<WireMap> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        resolve: (map) => {
          stop();
          resolve(map);
        },
        reject: (error) => {
          stop();
          reject(error);
        },
        abandoned: false,
      };
      const stop = whenAborted(signal, (reason) => {
        waiter.abandoned = true;
        reject(reason);
        if (this.#waiters.filter(({ abandoned }) => abandoned).length >= mostAbandoned) socket.terminate();
      });
      this.#waiters.push(waiter);
    });
  }

  #receive(socket: WebSocket, data: RawData, isBinary: boolean): void {
    if (socket !== this.#socket) return;
    const waiter = this.#waiters.shift();
    if (waiter === undefined) {
      // An unrequested message: later ones could not be told from answers.
      socket.terminate();
      return;
    }
    if (!isBinary) {
      const [, code, message] = /^([A-Z_]+): (.*)$/s.exec(String(data)) ?? [];
      waiter.reject(
        code === undefined
          ? // A traceback of openpi's own server: its last line says what happened.
            remoteFailed(
              this.url,
              'actions',
              `an error: ${String(data).trim().split('\n').at(-1)}`.slice(0, 500),
            )
          : reported(this.url, code, message ?? ''),
      );
      return;
    }
    try {
      waiter.resolve(decodeMsgpackMap(data as Buffer));
    } catch {
      waiter.reject(remoteFailed(this.url, 'an answer in msgpack', 'something else'));
      socket.terminate();
    }
  }

  #lost(socket: WebSocket, error: SemanticVlaError): void {
    if (socket !== this.#socket) return;
    this.#socket = null;
    const idle = this.#waiters.every(({ abandoned }) => abandoned);
    this.#rejectAll(error);
    if (idle) this.onLost?.(error);
  }

  #rejectAll(error: SemanticVlaError): void {
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
  }
}
