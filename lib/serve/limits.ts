/** Upper bounds on what a server holds in memory and how long it waits. Each can be set; none can be switched off. */

import { checkOptions, expected } from '../support/options.ts';

/** How often expired connections are searched for. With Node's default of 30 s every shorter timeout would come too late. */
export const timeoutCheckMs = 500;

/** Limits of a server: sizes, times, connections. */
export interface ServeLimits {
  /** Bytes of one HTTP body or WebSocket message. */
  readonly bodyBytes: number;
  /** Bytes of requests held at once over all connections, including unfinished ones; beyond it the largest is dropped. */
  readonly heldBytes: number;
  /** Bytes that may wait in one connection for a client that does not read; beyond it the connection is closed. */
  readonly unsentBytes: number;
  /**
   * Connections per protocol that have shown that they may send requests, and as many others; beyond it the longest idle one is
   * closed. Node's `fetch` opens about 100 for 50 requests at once, and closing one while its next request is on the way
   * fails that request, so the default is higher.
   */
  readonly connections: number;
  /** Milliseconds for the headers of a request. */
  readonly headersMs: number;
  /** Milliseconds for a whole request (headers and body) or a whole WebSocket message. */
  readonly requestMs: number;
  /** Milliseconds that a connection may be idle: HTTP keep-alive, and a WebSocket that answers no ping. */
  readonly idleMs: number;
  /** Milliseconds that `close` waits for the running inference and unsent answers. */
  readonly drainMs: number;
}

export const defaultLimits: ServeLimits = {
  bodyBytes: 32 * 2 ** 20,
  heldBytes: 48 * 2 ** 20,
  unsentBytes: 4 * 2 ** 20,
  connections: 128,
  headersMs: 5_000,
  requestMs: 15_000,
  idleMs: 60_000,
  drainMs: 2_000,
};

const names = Object.keys(defaultLimits) as (keyof ServeLimits)[];

/**
 * The defaults with `given` over them.
 * @throws OPTION_UNKNOWN, OPTION_INVALID
 */
export function resolveLimits(given: Partial<ServeLimits> = {}): ServeLimits {
  checkOptions(given, names, 'limits');
  for (const name of names) {
    const value: unknown = given[name];
    if (value !== undefined && !(Number.isSafeInteger(value) && (value as number) > 0)) {
      throw expected('OPTION_INVALID', 'a positive integer', `limits.${name}`, value);
    }
  }
  return { ...defaultLimits, ...given };
}
