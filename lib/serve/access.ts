/** Who may send requests: anybody on this machine or, with a token, anybody who has it; never a web page. */

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import type { IncomingHttpHeaders } from 'node:http';
import { BlockList, isIP, isIPv6 } from 'node:net';
import { hostname } from 'node:os';
import { SemanticVlaError } from '../support/errors.ts';
import { expected } from '../support/options.ts';

/** A shorter token could be guessed over the network. */
const minTokenLength = 16;

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Checks that a token fits into a header. @throws OPTION_INVALID, which never quotes the token */
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

export interface AddressOptions {
  readonly host: string;
  readonly token: string | undefined;
  /** Whether other machines may send requests without a token. */
  readonly insecureNoAuth: boolean;
}

/**
 * The address to listen on: the first that `host` resolves to. Refused unless all of them are local or access is controlled.
 * An empty host, as from an unset variable, would mean every address.
 * @throws (rejects) OPTION_INVALID, OPTION_REQUIRED, ADDRESS_UNAVAILABLE
 */
export async function checkAddress({ host, token, insecureNoAuth }: AddressOptions): Promise<string> {
  if (typeof host !== 'string' || host.trim() === '')
    throw expected('OPTION_INVALID', 'an address such as 127.0.0.1', 'host', host);
  if (insecureNoAuth && token !== undefined) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      'Expected a token or insecureNoAuth (--insecure-no-auth), found both. Take one away; SEMANTICVLA_TOKEN counts too.',
    );
  }
  let addresses: readonly { readonly address: string }[];
  try {
    addresses = await lookup(host, { all: true });
  } catch (cause) {
    throw new SemanticVlaError(
      'ADDRESS_UNAVAILABLE',
      `Option host: expected an address, found ${JSON.stringify(host)}.`,
      { cause },
    );
  }
  const outside = addresses.find(({ address }) => !isLoopback(address));
  if (outside !== undefined && token === undefined && !insecureNoAuth) {
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      `Expected a token to serve on ${host} (${outside.address}), which other machines reach, found none. ` +
        'Pass a token, serve on 127.0.0.1, or, where everybody on the network may move the robot, pass --insecure-no-auth ' +
        '(insecureNoAuth).',
    );
  }
  return addresses[0]!.address;
}

function isLoopback(address: string): boolean {
  return loopback.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
}

/** Why a request is refused. */
export interface Denial {
  readonly code: 'UNAUTHORIZED' | 'FORBIDDEN';
  readonly message: string;
}

export interface Asked {
  readonly headers: IncomingHttpHeaders;
  /** Names and values alternate. */
  readonly rawHeaders?: readonly string[];
}

/** @param isOpen whether the page needs no token. Returns null if the request is let in */
export type Gate = (request: Asked, isOpen?: boolean) => Denial | null;

const unauthorized: Denial = {
  code: 'UNAUTHORIZED',
  message:
    'Expected the header `Authorization: Bearer <token>` or `Api-Key <token>`, or a URL like http://x:<token>@host, ' +
    'with the right token.',
};

const webPage: Denial = { code: 'FORBIDDEN', message: 'Requests of web pages are refused without a token.' };

/** @param host the one that the server listens on */
export function makeGate(token: string | undefined, host = '127.0.0.1'): Gate {
  return token === undefined ? openGate(host) : tokenGate(token);
}

/**
 * Accepts `Authorization: Bearer <token>`, openpi's `Api-Key <token>`, or Basic with the token as user or password, for clients
 * that can only be given a URL. What is compared, in constant time, are digests under a key of this process, so the time taken
 * reveals neither length nor content.
 */
function tokenGate(token: string): Gate {
  const key = randomBytes(32);
  const digest = (text: string): Buffer => createHmac('sha256', key).update(text).digest();
  const wanted = digest(token);
  const isRight = (given: string): boolean => timingSafeEqual(digest(given), wanted);
  return ({ headers: { authorization = '', origin } }, isOpen = false) => {
    if (isOpen) return null;
    const [, scheme = '', value = ''] = /^(Bearer|Api-Key|Basic) +(\S+) *$/i.exec(authorization) ?? [];
    if (scheme.toLowerCase() !== 'basic') return isRight(value) ? null : unauthorized;
    const pair = Buffer.from(value, 'base64').toString('latin1');
    const colon = pair.indexOf(':');
    const [user, password] = [isRight(pair.slice(0, Math.max(colon, 0))), isRight(pair.slice(colon + 1))];
    if (!user && !password) return unauthorized;
    // A browser adds remembered credentials to requests of any page.
    return origin === undefined ? null : webPage;
  };
}

/**
 * Without a token, a request with an `Origin` is refused: it comes from a web page, and every page open on this machine could
 * send one. A page can also pretend to belong to this server, by a name that first resolves to the page's server and then to
 * this machine (DNS rebinding); so the `Host` must be a name that nobody else can own.
 */
function openGate(host: string): Gate {
  const own = new Set([host.toLowerCase(), hostname().toLowerCase()]);
  return ({ headers, rawHeaders = [] }, isOpen = false) => {
    const hosts = rawHeaders.filter((text, i) => i % 2 === 0 && text.toLowerCase() === 'host').length;
    const name = hostName(headers.host);
    if (hosts > 1 || !isOwnName(name, own)) {
      const found = hosts > 1 ? `${hosts} of them` : JSON.stringify((headers.host ?? '').slice(0, 80));
      return {
        code: 'FORBIDDEN',
        message:
          `Header host: expected an address or a name of this machine, found ${found}. Without a token others are ` +
          'refused: use an address, serve on that name (--host), or use a token.',
      };
    }
    return isOpen || headers.origin === undefined ? null : webPage;
  };
}

/** The name without port and brackets, in lower case; null if malformed. Browsers always send one, HTTP/1.0 clients need not. */
function hostName(header: string | undefined): string | null {
  if (header === undefined || header === '') return '';
  const [, six, name] = /^(?:\[([0-9a-f:.]+)\]|([\w.-]+))(?::\d{0,5})?$/i.exec(header) ?? [];
  return (six ?? name)?.toLowerCase().replace(/\.$/, '') ?? null;
}

/** Names that nobody can register as a domain: those without a dot, and those of home networks. */
function isOwnName(name: string | null, own: ReadonlySet<string>): boolean {
  if (name === null) return false;
  return (
    isIP(name) !== 0 || !name.includes('.') || /\.(?:localhost|local|internal)$/.test(name) || own.has(name)
  );
}
