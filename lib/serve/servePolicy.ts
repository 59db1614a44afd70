/** A policy on the network: both protocols in one process, on one port each, until `close`. */

import type { FastifyInstance } from 'fastify';
import { type Logger, pino } from 'pino';
import { SemanticVlaError } from '../errors.ts';
import { checkOptions, expected } from '../options.ts';
import type { Policy } from '../types.ts';
import { checkAddress, checkToken, makeGate } from './access.ts';
import { addActRoute } from './actRoute.ts';
import { listen, makeListener } from './httpListener.ts';
import { resolveLimits, type ServeLimits } from './limits.ts';
import type { ObservationKeys } from './observationMap.ts';
import { OpenpiSocket } from './openpiSocket.ts';
import { PolicyService } from './policyService.ts';
import type { ExtraMetadata } from './serverMetadata.ts';

export interface ServeOptions {
  /** Address to listen on; default 127.0.0.1. One that other machines reach needs a token. */
  readonly host?: string;
  /** `POST /act`; default port 8777, and 20101 for ALOHA, as the reference's scripts use. `false`: not served. */
  readonly act?: { readonly port?: number; readonly compat?: boolean } | false;
  /** openpi's WebSocket; default port 8000. `false`: not served. */
  readonly openpi?: { readonly port?: number } | false;
  /** At least 16 characters. Without one only this machine is served, and no web pages on it. */
  readonly token?: string;
  /** Which key of a request holds which camera, the state and the instruction. */
  readonly keys?: ObservationKeys;
  /** Dataset whose statistics (un)normalize; default: the policy's. */
  readonly unnormKey?: string;
  /** More for the metadata that clients get and compare, e.g. a name or a digest of the checkpoint. */
  readonly metadata?: ExtraMetadata;
  readonly limits?: Partial<ServeLimits>;
  /** Default: JSON lines of level `info` to standard error. */
  readonly logger?: Logger;
}

const optionNames = [
  'host',
  'act',
  'openpi',
  'token',
  'keys',
  'unnormKey',
  'metadata',
  'limits',
  'logger',
] as const satisfies readonly (keyof ServeOptions)[];

export interface PolicyServer extends AsyncDisposable {
  /** e.g. `http://127.0.0.1:8777`; null when not served. */
  readonly actUrl: string | null;
  /** e.g. `ws://127.0.0.1:8000`; null when not served. */
  readonly openpiUrl: string | null;
  /** What `GET /metrics` answers. */
  metrics(): Promise<string>;
  /**
   * Refuses new requests, lets the running one end, and closes every connection within `limits.drainMs`. Idempotent. The
   * policy stays open: it is the caller's.
   */
  close(): Promise<void>;
}

/** Ports of openpi's and the reference's servers. */
const defaultPorts = { act: 8777, aloha: 20101, openpi: 8000 };

/** Of the time to drain, what the running inference gets before it is aborted; the rest is for its answer. */
const inferenceShare = 0.75;

/**
 * Serves `policy` until `close`.
 * @throws (rejects) OPTION_INVALID, OPTION_UNKNOWN, CAMERA_UNKNOWN; OPTION_REQUIRED an address that other machines reach
 *   without a token; ADDRESS_UNAVAILABLE
 */
export async function servePolicy(policy: Policy, options: ServeOptions = {}): Promise<PolicyServer> {
  checkOptions(options, optionNames, 'servePolicy');
  const { host = '127.0.0.1', act = {}, openpi = {}, token } = options;
  if (act === false && openpi === false) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      'Expected act or openpi to be served, found both switched off.',
    );
  }
  checkToken(token);
  if (act !== false) checkOptions(act, ['port', 'compat'], 'act');
  if (openpi !== false) checkOptions(openpi, ['port'], 'openpi');
  const actPort = policy.platform.name === 'aloha' ? defaultPorts.aloha : defaultPorts.act;
  const ports = {
    act: act === false ? null : checkPort('act.port', act.port ?? actPort),
    openpi: openpi === false ? null : checkPort('openpi.port', openpi.port ?? defaultPorts.openpi),
  };
  await checkAddress(host, token);
  const service = new PolicyService({
    policy,
    keys: options.keys ?? {},
    unnormKey: options.unnormKey,
    metadata: options.metadata ?? {},
    limits: resolveLimits(options.limits),
    log: options.logger ?? pino(pino.destination(2)),
  });
  const server = new Server(service, token, act !== false && act.compat === true);
  try {
    await server.listen(host, ports);
  } catch (error) {
    await server.close();
    throw error;
  }
  return server;
}

function checkPort(name: string, port: unknown): number {
  if (Number.isInteger(port) && (port as number) >= 0 && (port as number) <= 65535) return port as number;
  throw expected('OPTION_INVALID', 'a port in 0..65535', name, port);
}

class Server implements PolicyServer {
  readonly #service: PolicyService;
  readonly #token: string | undefined;
  readonly #compat: boolean;
  readonly #apps: FastifyInstance[] = [];
  #socket: OpenpiSocket | null = null;
  #closed: Promise<void> | null = null;
  #actUrl: string | null = null;
  #openpiUrl: string | null = null;

  constructor(service: PolicyService, token: string | undefined, compat: boolean) {
    this.#service = service;
    this.#token = token;
    this.#compat = compat;
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
    const gate = makeGate(this.#token);
    const name = host.includes(':') ? `[${host}]` : host;
    if (ports.act !== null) {
      const app = makeListener(service, gate);
      this.#apps.push(app);
      addActRoute(app, service, this.#compat);
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
      const socket = new OpenpiSocket(app, service, gate);
      this.#socket = socket;
      service.countConnections('openpi', () => socket.connections);
      this.#openpiUrl = `ws://${name}:${await listen(app, host, ports.openpi)}`;
    }
    service.log.info(
      { act: this.#actUrl, openpi: this.#openpiUrl, token: this.#token !== undefined },
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
    // A policy that does not heed its signal, or a client that does not read, ends here.
    const force = setTimeout(() => {
      this.#socket?.terminate();
      for (const app of this.#apps) app.server.closeAllConnections();
    }, drainMs);
    const drained = this.#service.drain(drainMs * inferenceShare);
    this.#socket?.drain();
    await Promise.all(this.#apps.map((app) => app.close()));
    clearTimeout(force);
    this.#socket?.terminate();
    void drained;
    this.#service.log.info('closed');
  }
}
