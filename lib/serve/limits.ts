/** Upper bounds on what a server holds and how long it waits. Each can be set; none can be switched off. */

import { checkOptions, expected } from '../support/options.ts';

/** How often expired connections are looked for. Node's default of 30 s would make every shorter timeout untrue. */
export const timeoutCheckMs = 500;

/** Bounds of a server: sizes, times, connections. */
export interface ServeLimits {
  /** Bytes of one HTTP body or WebSocket message. */
  readonly bodyBytes: number;
  /** Bytes of requests held at once, over all connections, unfinished ones too; beyond it whoever holds most gives way. */
  readonly heldBytes: number;
  /** Bytes that may wait in one connection for a client that does not read; beyond it the connection ends. */
  readonly unsentBytes: number;
  /**
   * Connections at once per protocol that may send requests, and as many others; beyond it the one that has idled longest is closed.
   * Node's `fetch` keeps about 100 for 50 requests at once, and closing one while its next request is on the way is
   * a failed request, so the default is above that.
   */
  readonly connections: number;
  /** Milliseconds for the headers of a request. */
  readonly headersMs: number;
  /** Milliseconds for a whole request, headers and body, or for a whole message of a WebSocket. */
  readonly requestMs: number;
  /** Milliseconds that a connection may idle: HTTP keep-alive, and a WebSocket that answers no ping. */
  readonly idleMs: number;
  /** Milliseconds that `close` waits for the running inference and for answers under way. */
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
