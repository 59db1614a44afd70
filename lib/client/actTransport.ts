/** Client of `POST /act`: one keep-alive connection, json_numpy bodies. Aborting a request closes its connection. */

import type { Agent } from 'node:http';
import { decodeJsonNumpy, encodeArray } from '../serve/jsonNumpy.ts';
import { NdArray, type WireMap, type WireValue } from '../serve/ndarray.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { type Asked, exchange, oneConnection, type Reply } from './exchange.ts';
import { answerOfRows } from './remoteAnswer.ts';
import {
  type RemoteAnswer,
  refusalOf,
  remoteFailed,
  type Transport,
  type TransportOptions,
} from './transport.ts';

export class ActTransport implements Transport {
  onLost: ((error: SemanticVlaError) => void) | null = null;
  /** Always true: between two requests there is no connection to lose. */
  readonly connected = true;
  readonly url: URL;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #agent: Agent;
  #policy: string | null = null;

  constructor({ url, token }: TransportOptions) {
    this.url = url;
    this.#headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    this.#agent = oneConnection(url);
  }

  async connect(signal: AbortSignal): Promise<WireMap | null> {
    const reply = await this.#send('GET', '/metadata', null, signal);
    this.#policy = null;
    // The reference's server has no such page, but a 404 shows that it can be reached.
    if (reply.status === 404 || reply.status === 405) return null;
    if (reply.status !== 200) throw refusalOf(this.url, reply);
    const value = this.#decode(reply.body);
    if (!(value instanceof Map)) throw remoteFailed(this.url, 'metadata', 'something else');
    this.#policy = policyOf(reply);
    return value;
  }

  async request(fields: WireMap, signal: AbortSignal): Promise<RemoteAnswer> {
    const reply = await this.#send('POST', '/act', encodeFields(fields), signal);
    if (reply.status !== 200) throw refusalOf(this.url, reply);
    const policy = policyOf(reply);
    if (policy !== this.#policy) {
      throw new SemanticVlaError(
        'REMOTE_CHANGED',
        `Server ${this.url.origin}: expected policy ${this.#policy ?? 'without a name'}, found ${policy ?? 'one without a name'}.`,
      );
    }
    const value = this.#decode(reply.body);
    // The reference's server, and ours with --compat, report every failure like this.
    if (value === 'error') throw remoteFailed(this.url, 'actions', '"error"; its log tells why');
    return answerOfRows(this.url, value);
  }

  close(): void {
    this.#agent.destroy();
  }

  #decode(body: Buffer): WireValue {
    try {
      return decodeJsonNumpy(body);
    } catch {
      throw remoteFailed(this.url, 'an answer in JSON', 'something else');
    }
  }

  #send(method: Asked['method'], path: string, body: Buffer | null, signal: AbortSignal): Promise<Reply> {
    return exchange(
      { method, url: new URL(path, this.url), headers: this.#headers, body, signal },
      this.#agent,
    );
  }
}

/** Which policy answered; null if the server is not one of ours. */
function policyOf({ headers }: Reply): string | null {
  const policy = headers['x-semanticvla-policy'];
  return typeof policy === 'string' ? policy : null;
}

/** Flat: the arrays and the instruction. */
function encodeFields(fields: WireMap): Buffer {
  const members = [...fields].map(([key, value]) => {
    const text = value instanceof NdArray ? encodeArray(value, 'compact') : JSON.stringify(value);
    return `${JSON.stringify(key)}:${text}`;
  });
  return Buffer.from(`{${members.join(',')}}`);
}
