/** Client of `POST /act`: one keep-alive connection, json_numpy bodies. Aborting a request closes its connection. */

import * as http from 'node:http';
import * as https from 'node:https';
import { decodeJsonNumpy, encodeArray } from '../serve/jsonNumpy.ts';
import { NdArray, type WireMap, type WireValue } from '../serve/ndarray.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { answerOfRows } from './remoteAnswer.ts';
import {
  maxAnswerBytes,
  type RemoteAnswer,
  remoteFailed,
  reported,
  type Transport,
  type TransportOptions,
  unreachable,
} from './transport.ts';

interface Reply {
  readonly status: number;
  readonly body: Buffer;
  /** Which policy answered; null if the server is not one of ours. */
  readonly policy: string | null;
}

export class ActTransport implements Transport {
  onLost: ((error: SemanticVlaError) => void) | null = null;
  /** Always true: between two requests there is no connection to lose. */
  readonly connected = true;
  readonly #url: URL;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #agent: http.Agent;
  #policy: string | null = null;

  constructor({ url, token }: TransportOptions) {
    this.#url = url;
    this.#headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const options = { keepAlive: true, maxSockets: 1, noDelay: true };
    this.#agent = url.protocol === 'https:' ? new https.Agent(options) : new http.Agent(options);
  }

  async connect(signal: AbortSignal): Promise<WireMap | null> {
    const reply = await this.#send('GET', '/metadata', null, signal);
    this.#policy = null;
    // The reference's server has no such page, but a 404 shows that it can be reached.
    if (reply.status === 404 || reply.status === 405) return null;
    if (reply.status !== 200) throw this.#refusal(reply);
    const value = this.#decode(reply.body);
    if (!(value instanceof Map)) throw remoteFailed(this.#url, 'metadata', 'something else');
    this.#policy = reply.policy;
    return value;
  }

  async request(fields: WireMap, signal: AbortSignal): Promise<RemoteAnswer> {
    const reply = await this.#send('POST', '/act', encodeFields(fields), signal);
    if (reply.status !== 200) throw this.#refusal(reply);
    if (reply.policy !== this.#policy) {
      throw new SemanticVlaError(
        'REMOTE_CHANGED',
        `Server ${this.#url.origin}: expected policy ${this.#policy ?? 'without a name'}, found ${reply.policy ?? 'one without a name'}.`,
      );
    }
    const value = this.#decode(reply.body);
    // The reference's server, and ours with --compat, report every failure like this.
    if (value === 'error') throw remoteFailed(this.#url, 'actions', '"error"; its log tells why');
    return answerOfRows(this.#url, value);
  }

  close(): void {
    this.#agent.destroy();
  }

  #decode(body: Buffer): WireValue {
    try {
      return decodeJsonNumpy(body);
    } catch {
      throw remoteFailed(this.#url, 'an answer in JSON', 'something else');
    }
  }

  /** The error in our own form, or the bare status. */
  #refusal({ status, body }: Reply): SemanticVlaError {
    try {
      const { error } = JSON.parse(body.toString()) as { error?: { code?: unknown; message?: unknown } };
      if (typeof error?.code === 'string') return reported(this.#url, error.code, String(error.message));
    } catch {
      // Not JSON: another server, or a proxy.
    }
    return remoteFailed(this.#url, 'actions', `HTTP status ${status}`);
  }

  async #send(
    method: 'GET' | 'POST',
    path: string,
    body: Buffer | null,
    signal: AbortSignal,
  ): Promise<Reply> {
    for (;;) {
      const reply = await this.#sendOnce(method, path, body, signal);
      // The server closed the keep-alive connection just as this request was sent on it: send it again on a new one.
      if (reply !== 'stale') return reply;
    }
  }

  #sendOnce(
    method: 'GET' | 'POST',
    path: string,
    body: Buffer | null,
    signal: AbortSignal,
  ): Promise<Reply | 'stale'> {
    const { promise, settle } = deferred<Reply | 'stale'>();
    const send = this.#url.protocol === 'https:' ? https.request : http.request;
    const request = send(new URL(path, this.#url), {
      method,
      agent: this.#agent,
      signal,
      headers: {
        ...this.#headers,
        // asked once per connection, so it is not kept alive
        ...(body === null
          ? { connection: 'close' }
          : { 'content-type': 'application/json', 'content-length': body.length }),
      },
    });
    request.on('error', (error: NodeJS.ErrnoException) => {
      if (request.reusedSocket && error.code === 'ECONNRESET' && !signal.aborted) settle(null, 'stale');
      else
        settle(signal.aborted ? signal.reason : unreachable(this.#url, error.code ?? error.message, error));
    });
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      let length = 0;
      response.on('data', (chunk: Buffer) => {
        length += chunk.length;
        chunks.push(chunk);
        if (length <= maxAnswerBytes) return;
        settle(remoteFailed(this.#url, `an answer of at most ${maxAnswerBytes} bytes`, 'more'));
        request.destroy();
      });
      response.on('error', (error) =>
        settle(signal.aborted ? signal.reason : unreachable(this.#url, error.message, error)),
      );
      response.on('end', () => {
        const policy = response.headers['x-semanticvla-policy'];
        settle(null, {
          status: response.statusCode ?? 0,
          body: Buffer.concat(chunks),
          policy: typeof policy === 'string' ? policy : null,
        });
      });
    });
    request.end(body ?? undefined);
    return promise;
  }
}

function deferred<T>(): { promise: Promise<T>; settle: (error: unknown, value?: T) => void } {
  let settle!: (error: unknown, value?: T) => void;
  const promise = new Promise<T>((resolve, reject) => {
    settle = (error, value) => (error === null ? resolve(value as T) : reject(error));
  });
  return { promise, settle };
}

/** Flat: the arrays and the instruction. */
function encodeFields(fields: WireMap): Buffer {
  const members = [...fields].map(([key, value]) => {
    const text = value instanceof NdArray ? encodeArray(value, 'compact') : JSON.stringify(value);
    return `${JSON.stringify(key)}:${text}`;
  });
  return Buffer.from(`{${members.join(',')}}`);
}
