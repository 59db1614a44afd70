/** All connections to the port of `POST /act` that Node's HTTP server has not got. */

import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { ActConnection, type ActConnectionOptions } from './actConnection.ts';
import { timeoutCheckMs } from './brokenRequest.ts';
import { isDirect } from './directSocket.ts';

/** Enough for a head of the form; what is behind it in here is copied. */
const scratchBytes = 8 * 2 ** 10;

export interface ActConnectionsOptions extends Omit<ActConnectionOptions, 'toHttp' | 'scratch'> {
  /** Read connections past Node's streams, where this Node lets them be. */
  readonly directReads: boolean;
}

export class ActConnections {
  readonly #open = new Set<ActConnection>();
  readonly #clock: NodeJS.Timeout;

  /** Comes before Node's own listener, which gets what is handed over. */
  constructor(server: Server, { directReads, ...options }: ActConnectionsOptions) {
    const [toHttp] = server.listeners('connection') as ((socket: Socket) => void)[];
    if (toHttp === undefined) throw new Error('an HTTP server listens to its connections');
    const scratch = Buffer.allocUnsafeSlow(scratchBytes);
    server.off('connection', toHttp);
    server.on('connection', (accepted: Socket) => {
      if (!directReads || !isDirect(accepted)) {
        options.service.readsSlowly();
        toHttp.call(server, accepted);
        return;
      }
      const connection: ActConnection = new ActConnection(accepted, {
        ...options,
        scratch,
        toHttp: (socket) => {
          this.#open.delete(connection);
          toHttp.call(server, socket);
        },
      });
      this.#open.add(connection);
      accepted.once('close', () => this.#open.delete(connection));
    });
    this.#clock = setInterval(() => this.#expire(), timeoutCheckMs);
    this.#clock.unref();
  }

  /** Ends connections without a request under way; the others end with their answer. */
  drain(): void {
    for (const connection of this.#open) connection.drain();
  }

  terminate(): void {
    clearInterval(this.#clock);
    for (const connection of this.#open) connection.terminate();
  }

  #expire(): void {
    const now = performance.now();
    for (const connection of this.#open) connection.expire(now);
  }
}
