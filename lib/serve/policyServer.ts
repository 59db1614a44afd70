/** What `servePolicy` starts once its options are checked: listeners, their end, and who closes what. */

import type { FastifyInstance } from 'fastify';
import { type Logger, pino } from 'pino';
import type { Policy } from '../types.ts';
import { makeGate } from './access.ts';
import { ActConnections } from './actConnections.ts';
import { addActRoute } from './actRoute.ts';
import { listen, makeListener } from './httpListener.ts';
import type { ServeLimits } from './limits.ts';
import type { ObservationKeys } from './observationMap.ts';
import { OpenpiSocket } from './openpiSocket.ts';
import { PolicyService } from './policyService.ts';
import type { PolicyServer } from './servePolicy.ts';
import type { ExtraMetadata } from './serverMetadata.ts';
import type { ServeRecorder } from './serverMetrics.ts';

/** Every option resolved; a port of null is not served. */
export interface ServerSettings {
  readonly policy: Policy;
  readonly host: string;
  readonly ports: { readonly act: number | null; readonly openpi: number | null };
  readonly token: string | undefined;
  readonly compat: boolean;
  readonly keys: ObservationKeys;
  readonly unnormKey: string | undefined;
  readonly metadata: ExtraMetadata;
  readonly limits: ServeLimits;
  readonly logger: Logger | undefined;
  readonly recorder: ServeRecorder | undefined;
  /** Read connections past Node's streams; false: as on a Node that does not let them be. */
  readonly directReads: boolean;
}

/** Of the time to drain, what the running inference gets before it is aborted; the rest is for its answer. */
const inferenceShare = 0.75;

/** @throws (rejects) CAMERA_UNKNOWN, OPTION_INVALID, ADDRESS_UNAVAILABLE; nothing listens then */
export async function startServer(settings: ServerSettings): Promise<PolicyServer> {
  const { logger, host, ports } = settings;
  const service = new PolicyService({ ...settings, log: logger ?? pino(pino.destination(2)) });
  const server = new Server(service, settings);
  try {
    await server.listen(host, ports);
  } catch (error) {
    await server.close();
    throw error;
  }
  return server;
}

class Server implements PolicyServer {
  readonly #service: PolicyService;
  readonly #settings: Pick<ServerSettings, 'token' | 'compat' | 'directReads'>;
  readonly #apps: FastifyInstance[] = [];
  #acts: ActConnections | null = null;
  #socket: OpenpiSocket | null = null;
  #closed: Promise<void> | null = null;
  #actUrl: string | null = null;
  #openpiUrl: string | null = null;

  constructor(service: PolicyService, settings: Pick<ServerSettings, 'token' | 'compat' | 'directReads'>) {
    this.#service = service;
    this.#settings = settings;
  }

  get actUrl(): string | null {
    return this.#actUrl;
  }

  get openpiUrl(): string | null {
    return this.#openpiUrl;
  }

  async listen(
    host: string,
    ports: { readonly act: number | null; readonly openpi: number | null },
  ): Promise<void> {
    const service = this.#service;
    const { token, compat, directReads } = this.#settings;
    const gate = makeGate(token);
    const name = host.includes(':') ? `[${host}]` : host;
    if (ports.act !== null) {
      const app = makeListener(service, gate);
      this.#apps.push(app);
      addActRoute(app, service, compat);
      this.#acts = new ActConnections(app.server, { service, gate, compat, directReads });
      let connections = 0;
      app.server.on('connection', (socket) => {
        connections++;
        socket.once('close', () => connections--);
      });
      service.countConnections('act', () => connections);
      this.#actUrl = `http://${name}:${await listen(app, host, ports.act)}`;
    }
    if (ports.openpi !== null) {
      const app = makeListener(service, gate);
      this.#apps.push(app);
      const socket = new OpenpiSocket(app, { service, gate, directReads });
      this.#socket = socket;
      service.countConnections('openpi', () => socket.connections);
      this.#openpiUrl = `ws://${name}:${await listen(app, host, ports.openpi)}`;
    }
    service.log.info({ act: this.#actUrl, openpi: this.#openpiUrl, token: token !== undefined }, 'serving');
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
    // A policy that does not heed its signal, or a client that does not read, ends here.
    const force = setTimeout(() => {
      this.#acts?.terminate();
      this.#socket?.terminate();
      for (const app of this.#apps) app.server.closeAllConnections();
    }, drainMs);
    const drained = this.#service.drain(drainMs * inferenceShare);
    this.#acts?.drain();
    this.#socket?.drain();
    await Promise.all(this.#apps.map((app) => app.close()));
    clearTimeout(force);
    this.#acts?.terminate();
    this.#socket?.terminate();
    void drained;
    this.#service.log.info('closed');
  }
}
