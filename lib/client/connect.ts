/** Policies on other machines, by protocol. Loaded at the first connection, since local predictions need none of it. */

import { checkToken } from '../serve/access.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { expected } from '../support/options.ts';
import type { RemoteOptions, RemotePolicy } from './remotePolicy.ts';
import type { InstructionKey } from './requestFields.ts';
import type { Transport } from './transport.ts';

/**
 * A policy behind `POST /act`: a server of this project, or the reference's.
 * @param url e.g. `http://gpu:8777`
 * @throws (rejects) OPTION_*, REMOTE_UNREACHABLE, DEADLINE_EXCEEDED, UNAUTHORIZED, REMOTE_FAILED, the signal's reason
 */
export async function connectAct(url: string, options: RemoteOptions): Promise<RemotePolicy> {
  const { checkRemoteOptions, openRemote } = await import('./remotePolicy.ts');
  checkRemoteOptions(options, 'connectAct');
  const { transport, parsed, instructionKey } = await openTransport(url, options.token, ['act']);
  return openRemote(transport, parsed, options, instructionKey);
}

/**
 * A policy behind openpi's WebSocket: a server of this project, or openpi's.
 * @param url e.g. `ws://gpu:8000`
 * @throws (rejects) OPTION_*, REMOTE_UNREACHABLE, DEADLINE_EXCEEDED, UNAUTHORIZED, REMOTE_FAILED, the signal's reason
 */
export async function connectOpenpi(url: string, options: RemoteOptions): Promise<RemotePolicy> {
  const { checkRemoteOptions, openRemote } = await import('./remotePolicy.ts');
  checkRemoteOptions(options, 'connectOpenpi');
  const { transport, parsed, instructionKey } = await openTransport(url, options.token, ['openpi']);
  return openRemote(transport, parsed, options, instructionKey);
}

/** Which protocol a URL means. */
const schemes = { act: ['http:', 'https:'], openpi: ['ws:', 'wss:'] } as const;

export type Protocol = keyof typeof schemes;

export interface OpenedTransport {
  readonly protocol: Protocol;
  /** Not connected yet. */
  readonly transport: Transport;
  /** The URL without its token. */
  readonly parsed: URL;
  readonly instructionKey: InstructionKey;
}

/** The client's end of the protocol that the URL names. @throws (rejects) OPTION_INVALID */
export async function openTransport(
  url: string,
  given: string | undefined,
  allowed: readonly Protocol[] = ['act', 'openpi'],
): Promise<OpenedTransport> {
  const { parsed, token } = checkUrl(
    url,
    allowed.flatMap((protocol) => [...schemes[protocol]]),
    given,
  );
  if ((schemes.act as readonly string[]).includes(parsed.protocol)) {
    const { ActTransport } = await import('./actTransport.ts');
    const transport = new ActTransport({ url: parsed, token });
    return { protocol: 'act', transport, parsed, instructionKey: 'instruction' };
  }
  const { OpenpiTransport } = await import('./openpiTransport.ts');
  const transport = new OpenpiTransport({ url: parsed, token });
  return { protocol: 'openpi', transport, parsed, instructionKey: 'prompt' };
}

export interface Target {
  /** The URL without its token, for messages. */
  readonly parsed: URL;
  readonly token: string | undefined;
}

/**
 * A path is refused, since it would be dropped or doubled. A token may be given as the URL's user or password:
 * `http://x:TOKEN@gpu:8777`.
 */
export function checkUrl(url: string, protocols: readonly string[], given: string | undefined): Target {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (
    parsed === null ||
    !protocols.includes(parsed.protocol) ||
    parsed.pathname !== '/' ||
    parsed.search !== ''
  ) {
    // Never quotes the password, nor a query, which may hold a token.
    const shown =
      parsed === null
        ? url.replace(/^.*@/, '')
        : `${parsed.protocol}//${parsed.host}${parsed.pathname}${parsed.search === '' ? '' : '?...'}`;
    throw expected(
      'OPTION_INVALID',
      `an address like ${['http:', 'ws:'].filter((one) => protocols.includes(one)).join('//host:port or ')}//host:port`,
      'url',
      shown,
    );
  }
  const inside = decodeURIComponent(parsed.password || parsed.username);
  const token = given ?? (inside === '' ? undefined : inside);
  checkToken(token);
  if (given !== undefined && inside !== '')
    throw new SemanticVlaError('OPTION_INVALID', 'Expected the option token or one in the URL, found both.');
  parsed.username = '';
  parsed.password = '';
  return { parsed, token };
}
