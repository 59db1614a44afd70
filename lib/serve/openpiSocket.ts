/**
 * openpi's WebSocket protocol (websocket_policy_server.py): a metadata frame first, then one binary msgpack frame per request
 * and per answer, in the order of the requests. An error is a text frame, followed by a close once nothing else is running. The
 * text here is `CODE: message`, not a stack trace.
 */

import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { WebSocketServer } from 'ws';
import { installCommand } from '../support/packageCommand.ts';
import { endWith, failureAnswer } from './httpAnswer.ts';
import type { HttpServer } from './httpServer.ts';
import { masksAreFast } from './masks.ts';
import { OpenpiConnection } from './openpiConnection.ts';
import type { PolicyService } from './policyService.ts';

export class OpenpiSocket {
  readonly #http: HttpServer;
  readonly #service: PolicyService;
  readonly #server: WebSocketServer;
  readonly #open = new Set<OpenpiConnection>();
  readonly #pings: NodeJS.Timeout;

  constructor(http: HttpServer, service: PolicyService) {
    const { limits, log } = service;
    this.#http = http;
    this.#service = service;
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
        `WebSocket messages are unmasked in JavaScript: two camera images of 224x224 take about 1.4 ms longer. Node 26 does it in C, and an older one with: ${installCommand(['bufferutil'])}`,
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
      const opened = new OpenpiConnection(webSocket, connection, this.#service);
      this.#open.add(opened);
      webSocket.on('close', () => this.#open.delete(opened));
    });
  }
}
