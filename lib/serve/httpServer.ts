/** One port: Node's HTTP server, its pages, and access to them. Requests of one connection are served one at a time, in order. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Server as NetServer, Socket } from 'node:net';
import { SemanticVlaError } from '../support/errors.ts';
import type { Denial, Gate } from './access.ts';
import { type Connection, Connections } from './connections.ts';
import type { Failure } from './failure.ts';
import { endWith, failureAnswer, type HttpAnswer, linger, send } from './httpAnswer.ts';
import { timeoutCheckMs } from './limits.ts';
import type { PolicyService } from './policyService.ts';
import type { Protocol } from './serverMetrics.ts';

export interface Page {
  readonly method: 'GET' | 'POST';
  /** No token is needed: an orchestrator that probes health has none. */
  readonly isOpen?: boolean;
  /** A browser opens it: it is told to ask its user for the token. */
  readonly asksBrowser?: boolean;
  /** The answer to other methods; default: this server's own 405. */
  readonly otherMethods?: HttpAnswer;
  /** Resolves to null if the client is gone, so that there is nobody to answer. */
  answer(request: IncomingMessage, response: ServerResponse, connection: Connection): Answered;
}

/** Paths whose failures have a form of their own. */
export interface Realm {
  readonly prefix: string;
  /** What is said of a path where nothing is. */
  readonly nothing: string;
  failure(failure: Failure): HttpAnswer;
}

/** Without the query and a slash at the end. */
export function pathOf({ url = '' }: IncomingMessage): string {
  const path = url.split('?', 1)[0]!;
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

export type Answered = HttpAnswer | Promise<HttpAnswer | null>;

/** How many requests one connection may send before their turn. */
const mostAhead = 8;

export const denials: Readonly<Record<Denial['code'], (denial: Denial) => Failure>> = {
  UNAUTHORIZED: ({ code, message }) => ({ status: 401, code, message }),
  FORBIDDEN: ({ code, message }) => ({ status: 403, code, message }),
};

export const noPlaces: Failure = {
  status: 503,
  code: 'OVERLOADED',
  message: 'All places for connections are taken by others that are at work. Ask again later.',
};

const brokenByCode: Readonly<Record<string, Failure>> = {
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, code: 'TIMEOUT', message: 'Request Timeout' },
  HPE_HEADER_OVERFLOW: { status: 431, code: 'REQUEST_TOO_LARGE', message: 'Request Header Fields Too Large' },
};

/** A refusal for want of the token, so that a browser asks for it. */
function askingBrowser(answer: HttpAnswer): HttpAnswer {
  if (answer.status !== 401) return answer;
  const realm = 'Basic realm="semanticvla: any user, the token as password", charset="UTF-8"';
  return { ...answer, headers: { ...answer.headers, 'www-authenticate': realm } };
}

export class HttpServer {
  readonly server: Server;
  readonly connections: Connections;
  readonly #service: PolicyService;
  readonly #gate: Gate;
  readonly #protocol: Protocol;
  readonly #pages: ReadonlyMap<string, Page>;
  readonly #realm: Realm | null;
  /** Requests that arrived while an earlier one of the same connection was not yet answered. */
  readonly #ahead = new WeakMap<Connection, (() => void)[]>();

  constructor(
    service: PolicyService,
    gate: Gate,
    protocol: Protocol,
    pages: ReadonlyMap<string, Page>,
    realm: Realm | null = null,
  ) {
    const { limits } = service;
    this.#service = service;
    this.#gate = gate;
    this.#protocol = protocol;
    this.#pages = pages;
    this.#realm = realm;
    this.connections = new Connections(limits.connections);
    this.server = createServer({
      keepAliveTimeout: limits.idleMs,
      headersTimeout: Math.min(limits.headersMs, limits.requestMs),
      requestTimeout: limits.requestMs,
      connectionsCheckingInterval: timeoutCheckMs,
      noDelay: true,
    });
    this.server.on('connection', (socket: Socket) => {
      const connection = this.connections.accept(socket);
      // Node sets no time limit on a client that does not read its answer.
      connection.check = (now) => {
        const isStuck = connection.busy === 0 && socket.writableLength > 0;
        if (isStuck && now - connection.since > limits.idleMs) socket.destroy();
      };
    });
    const onRequest = (request: IncomingMessage, response: ServerResponse): void =>
      this.#take(request, response);
    // "100 Continue" is sent where the body is read.
    this.server.on('request', onRequest).on('checkContinue', onRequest);
    this.server.on('clientError', (error: NodeJS.ErrnoException, socket) =>
      this.#broken(error, socket as Socket),
    );
  }

  /** Resolves to the port. @throws (rejects) ADDRESS_UNAVAILABLE */
  listen(host: string, port: number): Promise<number> {
    return listenOn(this.server, host, port);
  }

  /** Accepts no new connections and ends those without a running request. Resolves when all have ended. */
  close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      if (this.server.listening) this.server.close(() => resolve());
      else resolve();
    });
    this.connections.drain();
    return closed;
  }

  /** Why a request is turned away: access denied, or no free place for the connection. null if it is let in. */
  refusal(request: IncomingMessage, connection: Connection, isOpen: boolean): Failure | null {
    const denial = this.#gate(request, isOpen);
    if (denial !== null) {
      this.#service.metrics.rejected('token');
      this.#service.log.warn({ protocol: this.#protocol, code: denial.code }, 'request refused');
      return denials[denial.code](denial);
    }
    if (isOpen || this.connections.admit(connection)) return null;
    this.#service.metrics.rejected('places');
    return noPlaces;
  }

  #take(request: IncomingMessage, response: ServerResponse): void {
    const connection = this.connections.of(request.socket);
    if (connection.busy === 0) {
      void this.#serve(request, response, connection);
      return;
    }
    const ahead = this.#ahead.get(connection) ?? [];
    this.#ahead.set(connection, ahead);
    if (ahead.length < mostAhead) {
      ahead.push(() => void this.#serve(request, response, connection));
      return;
    }
    const message = `Expected at most ${mostAhead} requests ahead of their answers.`;
    send(response, failureAnswer({ status: 503, code: 'OVERLOADED', message }), true);
  }

  async #serve(request: IncomingMessage, response: ServerResponse, connection: Connection): Promise<void> {
    connection.begin();
    let answer: HttpAnswer | null;
    try {
      answer = await this.#answer(request, response, connection);
    } catch (error) {
      answer = failureAnswer(this.#service.failed(this.#protocol, error));
    }
    connection.end();
    if (answer === null || response.destroyed) {
      request.socket.destroy();
      return;
    }
    const { draining, limits, metrics } = this.#service;
    const left = request.complete ? 0 : Number(request.headers['content-length'] ?? 0);
    const isLast = draining || left > limits.bodyBytes;
    send(response, answer, isLast);
    if (left > limits.bodyBytes) response.once('finish', () => linger(request.socket));
    if (request.socket.writableLength > limits.unsentBytes) {
      metrics.disconnected(this.#protocol, 'slow');
      request.socket.destroy();
      return;
    }
    const next = this.#ahead.get(connection)?.shift();
    const { broken } = connection;
    if (next !== undefined) next();
    else if (broken !== null) response.once('finish', () => endWith(request.socket, broken));
  }

  #answer(request: IncomingMessage, response: ServerResponse, connection: Connection): Answered {
    const { method } = request;
    const path = pathOf(request);
    const page = this.#pages.get(path);
    const realm = this.#realmOf(path);
    const worded = realm?.failure ?? failureAnswer;
    const refusal = this.refusal(request, connection, page?.isOpen === true);
    if (refusal !== null)
      return page?.asksBrowser === true ? askingBrowser(worded(refusal)) : worded(refusal);
    if (page === undefined) {
      const known = [...this.#pages.keys()].filter((other) => this.#realmOf(other) === null);
      const message = realm?.nothing ?? `Nothing is here. Expected one of ${known.join(' ')}.`;
      return worded({ status: 404, code: 'NOT_FOUND', message });
    }
    if (method === page.method || (method === 'HEAD' && page.method === 'GET'))
      return page.answer(request, response, connection);
    const failure = { status: 405, code: 'METHOD_NOT_ALLOWED', message: `Expected ${page.method}.` } as const;
    return { ...(page.otherMethods ?? worded(failure)), headers: { allow: page.method } };
  }

  #realmOf(path: string): Realm | null {
    const realm = this.#realm;
    return realm !== null && (path === realm.prefix || path.startsWith(`${realm.prefix}/`)) ? realm : null;
  }

  /** Answers input that is not HTTP, headers that are too large, or a request that is too slow. */
  #broken(error: NodeJS.ErrnoException, socket: Socket): void {
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    const failure = brokenByCode[error.code ?? ''];
    const answer = failureAnswer(failure ?? { status: 400, code: 'REQUEST_INVALID', message: 'Bad Request' });
    const connection = this.connections.of(socket);
    // The answer to the previous request must go first, or the client would take this one for it.
    if (connection.isAnswering) connection.broken = answer;
    else endWith(socket, answer);
  }
}

/** Resolves to the port. @throws (rejects) ADDRESS_UNAVAILABLE */
export async function listenOn(server: NetServer, host: string, port: number): Promise<number> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port }, () => {
        server.off('error', reject);
        resolve();
      });
    });
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'an error';
    throw new SemanticVlaError(
      'ADDRESS_UNAVAILABLE',
      `Listening on ${host} port ${port}: expected a free port, found ${code}. Choose another port, or end what has it.`,
      { cause },
    );
  }
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a TCP server has an address');
  return address.port;
}
