/** Who may ask: anybody on this machine, or anybody with the token. */

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import type { IncomingHttpHeaders } from 'node:http';
import { BlockList, isIPv6 } from 'node:net';
import { SemanticVlaError } from '../errors.ts';
import { expected } from '../options.ts';

/** Shorter ones can be guessed over a network. */
const minTokenLength = 16;

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** A token as it fits in a header. @throws OPTION_INVALID; never quotes the token */
export function checkToken(token: unknown): asserts token is string | undefined {
  if (token === undefined) return;
  if (typeof token !== 'string') throw expected('OPTION_INVALID', 'a string', 'token', typeof token);
  if (token.length < minTokenLength || !/^[\x21-\x7e]+$/.test(token)) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Option token: expected at least ${minTokenLength} printable ASCII characters without spaces, found another text ` +
        `of ${token.length}. \`openssl rand -hex 32\` makes one.`,
    );
  }
}

/**
 * The addresses that `host` means, refused unless they are loopback ones or there is a token.
 * @throws (rejects) OPTION_REQUIRED, ADDRESS_UNAVAILABLE
 */
export async function checkAddress(host: string, token: string | undefined): Promise<void> {
  if (token !== undefined) return;
  let addresses: readonly { readonly address: string }[];
  try {
    addresses = await lookup(host, { all: true });
  } catch (cause) {
    throw new SemanticVlaError(
      'ADDRESS_UNAVAILABLE',
      `Option host: expected an address, found ${JSON.stringify(host)}.`,
      {
        cause,
      },
    );
  }
  const outside = addresses.find(({ address }) => !isLoopback(address));
  if (outside === undefined) return;
  throw new SemanticVlaError(
    'OPTION_REQUIRED',
    `Expected a token to serve on ${host} (${outside.address}), which other machines reach, found none. ` +
      'Pass a token, or serve on 127.0.0.1.',
  );
}

function isLoopback(address: string): boolean {
  return loopback.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
}

/** Tells whether a request may come in; null when it may. */
export type Gate = (headers: IncomingHttpHeaders) => 'UNAUTHORIZED' | 'FORBIDDEN' | null;

/**
 * `Authorization: Bearer <token>` or, as openpi sends it, `Api-Key <token>`. Compared by digests under a key of this
 * process, in constant time, so that neither length nor content shows in the time taken. Without a token a request with
 * an `Origin` is refused: it comes from a web page, and every page that is open on this machine could send one.
 */
export function makeGate(token: string | undefined): Gate {
  if (token === undefined) return ({ origin }) => (origin === undefined ? null : 'FORBIDDEN');
  const key = randomBytes(32);
  const digest = (text: string): Buffer => createHmac('sha256', key).update(text).digest();
  const wanted = digest(token);
  return ({ authorization }) => {
    const given = /^(?:Bearer|Api-Key) +(\S+) *$/i.exec(authorization ?? '')?.[1] ?? '';
    return timingSafeEqual(digest(given), wanted) ? null : 'UNAUTHORIZED';
  };
}
