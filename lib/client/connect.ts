/** Policies on other machines, by protocol. Loaded at the first connection, since local predictions need none of it. */

import { checkToken } from '../serve/access.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isolated } from '../support/isolated.ts';
import { expected } from '../support/options.ts';
import type { FleetOptions } from './fleetTransport.ts';
import type { RemoteOptions, RemotePolicy } from './remotePolicy.ts';
import type { OpenedTransport, Protocol } from './transport.ts';

/**
 * A policy behind `POST /act`: a server of this project, or the reference's.
 * @param url e.g. `http://gpu:8777`; or a fleet's directory (docs/fleet.md), e.g. `fleet+http://head:8000/fleet`
 * @throws (rejects) OPTION_*, REMOTE_UNREACHABLE, DEADLINE_EXCEEDED, UNAUTHORIZED, REMOTE_FAILED, the signal's reason
 */
export async function connectAct(url: string, options: RemoteOptions): Promise<RemotePolicy> {
  const { checkRemoteOptions, openRemote } = await import('./remotePolicy.ts');
  checkRemoteOptions(options, 'connectAct');
  const opened = await openTransport(url, options.token, fleetOptions(options), ['act']);
  return openRemote(opened, options);
}

/**
 * A policy behind openpi's WebSocket: a server of this project, or openpi's.
 * @param url e.g. `ws://gpu:8000`; or a fleet's directory (docs/fleet.md), e.g. `fleet+ws://head:8000/fleet`
 * @throws (rejects) OPTION_*, REMOTE_UNREACHABLE, DEADLINE_EXCEEDED, UNAUTHORIZED, REMOTE_FAILED, the signal's reason
 */
export async function connectOpenpi(url: string, options: RemoteOptions): Promise<RemotePolicy> {
  const { checkRemoteOptions, openRemote } = await import('./remotePolicy.ts');
  checkRemoteOptions(options, 'connectOpenpi');
  const opened = await openTransport(url, options.token, fleetOptions(options), ['openpi']);
  return openRemote(opened, options);
}

function fleetOptions({ deadlineMs, connectMs = deadlineMs, onEvent }: RemoteOptions): FleetOptions {
  return { connectMs, tell: isolated('onEvent of a remote policy', onEvent) };
}

/** Which protocol a URL means. */
const schemes = { act: ['http:', 'https:'], openpi: ['ws:', 'wss:'] } as const;

/** Before the URL of a directory: it is asked for the replica. */
const fleetPrefix = 'fleet+';

const instructionKeys = { act: 'instruction', openpi: 'prompt' } as const;

/** The client's end of the protocol that the URL names. @throws (rejects) OPTION_INVALID */
export async function openTransport(
  url: string,
  given: string | undefined,
  fleet: FleetOptions,
  allowed: readonly Protocol[] = ['act', 'openpi'],
): Promise<OpenedTransport> {
  const target = checkUrl(url, allowed, given);
  const { parsed, protocol, token } = target;
  const instructionKey = instructionKeys[protocol];
  const make =
    protocol === 'act'
      ? (await import('./actTransport.ts')).ActTransport
      : (await import('./openpiTransport.ts')).OpenpiTransport;
  if (!target.isFleet) {
    return { protocol, transport: new make({ url: parsed, token }), name: parsed.origin, instructionKey };
  }
  const { FleetTransport } = await import('./fleetTransport.ts');
  const { Directory } = await import('./directory.ts');
  // Directories speak HTTP, whatever their replicas speak.
  const asked = new URL(parsed.href.replace(/^ws/, 'http'));
  const transport = new FleetTransport({
    ...fleet,
    directory: new Directory({ url: asked, token }, protocol),
    open: (replica) => {
      const { parsed: address } = checkServerUrl(replica, token, [protocol]);
      return new make({ url: address, token });
    },
  });
  return { protocol, transport, name: `fleet+${parsed.href}`, instructionKey };
}

interface Target {
  /** The URL without its token and the word `fleet+`. */
  readonly parsed: URL;
  readonly protocol: Protocol;
  readonly isFleet: boolean;
  readonly token: string | undefined;
}

/** Of one server: a fleet is refused. @throws OPTION_INVALID */
export function checkServerUrl(
  url: string,
  given: string | undefined,
  allowed: readonly Protocol[] = ['act', 'openpi'],
): Target {
  if (url.startsWith(fleetPrefix))
    throw expected('OPTION_INVALID', 'the address of one server', 'url', 'a fleet');
  return checkUrl(url, allowed, given);
}

/**
 * A path is refused, except of a fleet, since it would be dropped or doubled. A token may be given as the URL's user or
 * password: `http://x:TOKEN@gpu:8777`.
 */
function checkUrl(url: string, allowed: readonly Protocol[], given: string | undefined): Target {
  const isFleet = url.startsWith(fleetPrefix);
  const plain = isFleet ? url.slice(fleetPrefix.length) : url;
  const parsed = URL.canParse(plain) ? new URL(plain) : null;
  const protocol = allowed.find((one) =>
    (schemes[one] as readonly (string | undefined)[]).includes(parsed?.protocol),
  );
  const rest =
    parsed && `${isFleet ? '' : parsed.pathname.replace(/^\/$/, '')}${parsed.search}${parsed.hash}`;
  if (parsed === null || protocol === undefined || rest !== '') {
    // Never quotes the password, nor a query, which may hold a token.
    const shown =
      parsed === null
        ? url.replace(/^.*@/, '')
        : `${isFleet ? fleetPrefix : ''}${parsed.protocol}//${parsed.host}${parsed.pathname}${parsed.search === '' ? '' : '?...'}`;
    const [first] = allowed.map((one) => schemes[one][0]);
    throw expected(
      'OPTION_INVALID',
      `an address like ${allowed.map((one) => `${schemes[one][0]}//host:port`).join(' or ')}, of a fleet ${fleetPrefix}${first}//host:port/path`,
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
  return { parsed, protocol, isFleet, token };
}
