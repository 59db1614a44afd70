/** What `servePolicy` starts once its options are checked: the listeners, their shutdown, and who closes what. */

import type { Logger } from 'pino';
import type { Policy } from '../types.ts';
import { makeGate } from './access.ts';
import type { ActAnswer } from './actAnswers.ts';
import { actForm, methodNotAllowed } from './actForm.ts';
import { HttpServer, type Page } from './httpServer.ts';
import { inferPage } from './inferPage.ts';
import { lerobotServer } from './lerobot/grpcServer.ts';
import type { ServeLimits } from './limits.ts';
import type { LiveOptions } from './live/liveFeed.ts';
import { livePages } from './live/livePages.ts';
import { isolatedLog, makeLog } from './log.ts';
import type { ObservationKeys } from './observationMap.ts';
import { oipPages, oipRealm } from './oipPages.ts';
import { openpiDialect } from './openpiDialect.ts';
import { commonPages } from './pages.ts';
import { PolicyService } from './policyService.ts';
import type { ExtraMetadata } from './serverMetadata.ts';
import type { ServeRecorder } from './serverMetrics.ts';
import { vlaEvalDialect, vlaEvalPath } from './vlaEvalDialect.ts';
import { WebSockets } from './webSockets.ts';

/** A running server. */
export interface PolicyServer extends AsyncDisposable {
  /** e.g. `http://127.0.0.1:8777`; null when not served. */
  readonly actUrl: string | null;
  /** e.g. `ws://127.0.0.1:8000`; null when not served. */
  readonly openpiUrl: string | null;
  /** What LeRobot's robot client takes as `--server_address`, e.g. `127.0.0.1:8080`; null when not served. */
  readonly lerobotAddress: string | null;
  /** The page that shows what happens, e.g. `http://127.0.0.1:8777/live`; null when not served. */
  readonly liveUrl: string | null;
  /** The text of `GET /metrics`. */
  metrics(): Promise<string>;
  /**
   * Refuses new requests, lets the running one finish, and closes every connection within `limits.drainMs`. Idempotent. The
   * policy stays open, since it belongs to the caller.
   */
  close(): Promise<void>;
}

/** All options, resolved; a port of null is not served. */
export interface ServerSettings {
  readonly policy: Policy;
  /** As it was given. */
  readonly host: string;
  /** The address that `host` resolves to. */
  readonly address: string;
  readonly ports: Readonly<Record<'act' | 'openpi' | 'lerobot', number | null>>;
  readonly token: string | undefined;
  readonly compat: boolean;
  readonly actAnswer: ActAnswer;
  readonly keys: ObservationKeys;
  readonly vlaEvalRows: number | undefined;
  readonly unnormKey: string | undefined;
  readonly metadata: ExtraMetadata;
  readonly limits: ServeLimits;
  readonly logger: Logger | undefined;
  readonly recorder: ServeRecorder | undefined;
  readonly live: LiveOptions | null;
}

/** Share of the drain time after which the running inference is aborted; the rest is for sending its answer. */
const inferenceShare = 0.75;

const aboutAct = `semanticvla: a robot policy behind POST /act, JSON with json_numpy arrays; answers a list of actions
POST /act       an observation; content-type: application/json
GET /v2         the Open Inference Protocol: POST /v2/models/semanticvla/infer
`;

const aboutOpenpi = `semanticvla: a robot policy behind openpi's WebSocket, msgpack; openpi_client's WebsocketClientPolicy asks it
WebSocket /     metadata first, then an answer a request
WebSocket /vla-eval  vla-eval's protocol, one action an answer
`;

/** Where vla-eval looks whether a model server is ready: it opens its port when it is. */
const vlaEvalHealth: Page = {
  method: 'GET',
  isOpen: true,
  answer: () => ({ status: 200, text: '{"status": "ok"}\n' }),
};

/** @throws (rejects) CAMERA_UNKNOWN, OPTION_INVALID, ADDRESS_UNAVAILABLE; then nothing is listening */
export async function startServer(settings: ServerSettings): Promise<PolicyServer> {
  const { logger } = settings;
  const log = logger === undefined ? makeLog('info') : isolatedLog(logger);
  const service = new PolicyService({ ...settings, log });
  const server = new Server(service);
  try {
    await server.listen(settings);
  } catch (error) {
    await server.close();
    throw error;
  }
  return server;
}

/** A listener and its connections. */
type Port = Pick<HttpServer, 'close' | 'connections'>;

class Server implements PolicyServer {
  readonly #service: PolicyService;
  readonly #ports: Port[] = [];
  #sockets: WebSockets | null = null;
  #closed: Promise<void> | null = null;
  #actUrl: string | null = null;
  #openpiUrl: string | null = null;
  #lerobotAddress: string | null = null;

  constructor(service: PolicyService) {
    this.#service = service;
  }

  get actUrl(): string | null {
    return this.#actUrl;
  }

  get openpiUrl(): string | null {
    return this.#openpiUrl;
  }

  get lerobotAddress(): string | null {
    return this.#lerobotAddress;
  }

  get liveUrl(): string | null {
    const base = this.#actUrl ?? this.#openpiUrl?.replace('ws:', 'http:');
    return this.#service.live === null || base === undefined ? null : `${base}/live`;
  }

  async listen({
    policy,
    keys,
    vlaEvalRows,
    host,
    address,
    ports,
    token,
    compat,
    actAnswer,
  }: ServerSettings): Promise<void> {
    const service = this.#service;
    const gate = makeGate(token, host);
    const name = host.includes(':') ? `[${host}]` : host;
    const { live } = service;
    const common = (about: string): [string, Page][] => [
      ...commonPages(service, about),
      ...(live === null ? [] : livePages(service, live)),
    ];
    if (ports.act !== null) {
      const act = inferPage(service, actForm(service, compat, actAnswer));
      const pages = new Map([...common(aboutAct), ...oipPages(service, policy, keys)]);
      pages.set('/act', compat ? { ...act, otherMethods: methodNotAllowed } : act);
      const port = new HttpServer(service, gate, 'act', pages, oipRealm);
      this.#ports.push(port);
      service.countConnections('act', () => port.connections.count);
      this.#actUrl = `http://${name}:${await port.listen(address, ports.act)}`;
    }
    if (ports.openpi !== null) {
      const pages = new Map(common(aboutOpenpi)).set('/health', vlaEvalHealth);
      const port = new HttpServer(service, gate, 'openpi', pages);
      this.#ports.push(port);
      const sockets = new WebSockets(port, service, (path) =>
        path === vlaEvalPath ? vlaEvalDialect(policy, keys, vlaEvalRows) : openpiDialect(service),
      );
      this.#sockets = sockets;
      service.countConnections('openpi', () => sockets.connections);
      this.#openpiUrl = `ws://${name}:${await port.listen(address, ports.openpi)}`;
    }
    if (ports.lerobot !== null) {
      const port = await lerobotServer({ service, policy, keys, gate });
      this.#ports.push(port);
      service.countConnections('lerobot', () => port.connections.count);
      this.#lerobotAddress = `${name}:${await port.listen(address, ports.lerobot)}`;
    }
    const lerobot = this.#lerobotAddress === null ? {} : { lerobot: this.#lerobotAddress };
    service.log.info(
      { act: this.#actUrl, openpi: this.#openpiUrl, ...lerobot, token: token !== undefined },
      'serving',
    );
  }

  metrics(): Promise<string> {
    return this.#service.metrics.text();
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    const { drainMs } = this.#service.limits;
    this.#service.log.info('draining');
    const terminate = (): void => {
      for (const { connections } of this.#ports) connections.terminate();
    };
    // A policy that ignores its signal, or a client that does not read, ends here.
    const force = setTimeout(terminate, drainMs);
    const drained = this.#service.drain(drainMs * inferenceShare);
    this.#sockets?.drain();
    this.#service.live?.close();
    await Promise.all(this.#ports.map((port) => port.close()));
    clearTimeout(force);
    terminate();
    void drained;
    this.#service.log.info('closed');
  }
}
