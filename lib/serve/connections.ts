/**
 * The connections of one port, and which one is closed when there are too many. Connections that have shown that they may send
 * requests ("known") have a number of places; all others together have as many. When none is free, the connection that has
 * been idle longest is closed; a known one with a running request keeps its place.
 */

import type { Socket } from 'node:net';
import type { HttpAnswer } from './httpAnswer.ts';
import { timeoutCheckMs } from './limits.ts';

export class Connection {
  readonly socket: Socket;
  /** Clients take turns by this name: the network address; everything on this machine counts as one client. */
  readonly client: string;
  readonly port: number | undefined;
  isKnown = false;
  /** Whether it has been told to close. */
  isLeaving = false;
  /** Number of running requests. */
  busy = 0;
  /** Start of the current idle time or of the latest request, in milliseconds of the monotonic clock. */
  since = performance.now();
  /** A request has arrived and is not answered yet: an error in the next one is reported after that answer. */
  isAnswering = false;
  /** Sent after the running answers; the last answer on this connection. */
  broken: HttpAnswer | null = null;
  /** Closes the connection to free its place. */
  leave: () => void;
  /** Called periodically, to enforce time limits. */
  check: (now: number) => void = () => {};

  constructor(socket: Socket) {
    this.socket = socket;
    this.port = socket.remotePort;
    this.client = isLocal(socket.remoteAddress) ? 'local' : socket.remoteAddress!;
    this.leave = () => socket.destroy();
  }

  begin(): void {
    this.busy++;
    this.since = performance.now();
  }

  end(): void {
    this.busy--;
    this.since = performance.now();
  }
}

function isLocal(address: string | undefined): boolean {
  return address === undefined || address === '::1' || /^(?:::ffff:)?127\./.test(address);
}

export class Connections {
  readonly #places: number;
  readonly #open = new Map<Socket, Connection>();
  readonly #clock: NodeJS.Timeout;

  /** @param places number for known connections, and again for all others */
  constructor(places: number) {
    this.#places = places;
    this.#clock = setInterval(() => {
      const now = performance.now();
      for (const connection of this.#open.values()) connection.check(now);
    }, timeoutCheckMs);
    this.#clock.unref();
  }

  get count(): number {
    return this.#open.size;
  }

  /** Call this on the server's `connection` event. */
  accept(socket: Socket): Connection {
    this.#makeRoom(false);
    const connection = new Connection(socket);
    this.#open.set(socket, connection);
    socket.once('close', () => this.#open.delete(socket));
    // An error after the answer, or after the request was handed over, has no other listener.
    socket.on('error', () => {});
    return connection;
  }

  of(socket: Socket): Connection {
    const connection = this.#open.get(socket);
    // Undefined if the connection of this request is already gone.
    return connection ?? new Connection(socket);
  }

  /** Marks the connection as allowed to send requests. Returns false if all places are taken by busy connections. */
  admit(connection: Connection): boolean {
    if (!connection.isKnown && !this.#makeRoom(true)) return false;
    connection.isKnown = true;
    return true;
  }

  #makeRoom(isKnown: boolean): boolean {
    const others = [...this.#open.values()].filter((other) => other.isKnown === isKnown && !other.isLeaving);
    if (others.length < this.#places) return true;
    // An unknown connection keeps no place by being busy: all it may do is identify itself.
    const idle = others.filter(({ busy }) => !isKnown || busy === 0);
    if (idle.length === 0) return false;
    const first = idle.reduce((a, b) => (a.since <= b.since ? a : b));
    first.isLeaving = true;
    first.leave();
    return true;
  }

  /** Closes connections without a running request; the others close after their answer. */
  drain(): void {
    for (const connection of this.#open.values()) if (connection.busy === 0) connection.leave();
  }

  terminate(): void {
    clearInterval(this.#clock);
    for (const { socket } of this.#open.values()) socket.destroy();
  }
}
