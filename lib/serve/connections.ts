/**
 * The connections of one port, and which of them gives way. There are as many places for those that have shown that they may
 * send requests (known ones) as for those that have not. When no place is free the one that has idled longest is closed; one with a
 * request under way keeps its place.
 */

import type { Socket } from 'node:net';
import type { HttpAnswer } from './httpAnswer.ts';
import { timeoutCheckMs } from './limits.ts';

export class Connection {
  readonly socket: Socket;
  /** Whose turns it takes: a network address; everything on this machine counts as one. */
  readonly client: string;
  isKnown = false;
  /** It has been told to go. */
  isLeaving = false;
  /** Requests under way. */
  busy = 0;
  /** Since when it idles, or has done its work: milliseconds of the monotonic clock. */
  since = performance.now();
  /** Its request has arrived but has no answer yet: an error of the next one is reported after that answer. */
  isAnswering = false;
  /** Sent after the answers under way; the last on this connection. */
  broken: HttpAnswer | null = null;
  /** Gives up its place. */
  leave: () => void;
  /** Called periodically. */
  check: (now: number) => void = () => {};

  constructor(socket: Socket) {
    this.socket = socket;
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

  /** @param places for known ones, and as many for others */
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

  /** For the `connection` event of a server. */
  accept(socket: Socket): Connection {
    this.#makeRoom(false);
    const connection = new Connection(socket);
    this.#open.set(socket, connection);
    socket.once('close', () => this.#open.delete(socket));
    // Errors after an answer, or after the request was handed over, have no other listener.
    socket.on('error', () => {});
    return connection;
  }

  of(socket: Socket): Connection {
    const connection = this.#open.get(socket);
    // The connection of this request is already gone.
    return connection ?? new Connection(socket);
  }

  /** It may send requests. False: all places are taken by busy connections. */
  admit(connection: Connection): boolean {
    if (!connection.isKnown && !this.#makeRoom(true)) return false;
    connection.isKnown = true;
    return true;
  }

  #makeRoom(isKnown: boolean): boolean {
    const others = [...this.#open.values()].filter((other) => other.isKnown === isKnown && !other.isLeaving);
    if (others.length < this.#places) return true;
    // A stranger keeps no place by being busy: all it may do is identify itself.
    const idle = others.filter(({ busy }) => !isKnown || busy === 0);
    if (idle.length === 0) return false;
    const first = idle.reduce((a, b) => (a.since <= b.since ? a : b));
    first.isLeaving = true;
    first.leave();
    return true;
  }

  /** Ends those without a request under way; the others end with their answer. */
  drain(): void {
    for (const connection of this.#open.values()) if (connection.busy === 0) connection.leave();
  }

  terminate(): void {
    clearInterval(this.#clock);
    for (const { socket } of this.#open.values()) socket.destroy();
  }
}
