/** The WebSockets of a port. The path of a connection says what is spoken on it. */

import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { WebSocketServer } from 'ws';
import { endWith, failureAnswer } from './httpAnswer.ts';
import { type HttpServer, pathOf } from './httpServer.ts';
import { masksAreFast } from './masks.ts';
import type { PolicyService } from './policyService.ts';
import { type Dialect, SocketConnection } from './socketConnection.ts';

export class WebSockets {
  readonly #http: HttpServer;
  readonly #service: PolicyService;
  readonly #dialect: (path: string) => Dialect;
  readonly #server: WebSocketServer;
  readonly #open = new Set<SocketConnection>();
  readonly #pings: NodeJS.Timeout;

  /** @param dialect what a connection to this path speaks, made anew for each */
  constructor(http: HttpServer, service: PolicyService, dialect: (path: string) => Dialect) {
    const { limits, log } = service;
    this.#http = http;
    this.#service = service;
    this.#dialect = dialect;
    // Compressing two frames of 224 x 224 takes 10 ms and gains nothing on camera noise.
    this.#server = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      maxPayload: limits.bodyBytes,
      perMessageDeflate: false,
    });
    http.server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket as Socket, head));
    this.#pings = setInterval(() => {
      for (const connection of this.#open) connection.ping();
    }, limits.idleMs / 2);
    this.#pings.unref();
    if (!masksAreFast()) {
      log.info(
        'WebSocket messages are unmasked in JavaScript: two camera images of 224x224 take about 1.4 ms longer. Node 26 does it in C, and an older one beside the package bufferutil',
      );
    }
  }

  get connections(): number {
    return this.#open.size;
  }

  /** Tells each connection, once, to end as soon as none of its requests is running. */
  drain(): void {
    clearInterval(this.#pings);
    for (const connection of this.#open) connection.drain();
  }

  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const connection = this.#http.connections.of(socket);
    const refusal = this.#service.draining
      ? ({ status: 503, code: 'DRAINING', message: 'The server is shutting down.' } as const)
      : this.#http.refusal(request, connection, false);
    if (refusal !== null) {
      endWith(socket, failureAnswer(refusal));
      return;
    }
    this.#server.handleUpgrade(request, socket, head, (webSocket) => {
      const dialect = this.#dialect(pathOf(request));
      const opened = new SocketConnection(webSocket, connection, this.#service, dialect);
      this.#open.add(opened);
      webSocket.on('close', () => this.#open.delete(opened));
    });
  }
}
