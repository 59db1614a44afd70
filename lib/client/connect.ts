/** Policies on other machines, by protocol. Loaded at the first connection: who only predicts needs none of it. */

import { checkToken } from '../serve/access.ts';
import { expected } from '../support/options.ts';
import type { RemoteOptions, RemotePolicy } from './remotePolicy.ts';

/**
 * A policy behind `POST /act`: a server of this project, or the reference's.
 * @param url e.g. `http://gpu:8777`
 * @throws (rejects) OPTION_*, REMOTE_UNREACHABLE, DEADLINE_EXCEEDED, UNAUTHORIZED, REMOTE_FAILED, the signal's reason
 */
export async function connectAct(url: string, options: RemoteOptions): Promise<RemotePolicy> {
  const { checkRemoteOptions, openRemote } = await import('./remotePolicy.ts');
  checkRemoteOptions(options, 'connectAct');
  checkToken(options.token);
  const parsed = checkUrl(url, ['http:', 'https:']);
  const { ActTransport } = await import('./actTransport.ts');
  return openRemote(new ActTransport({ url: parsed, token: options.token }), parsed, options, 'instruction');
}

/**
 * A policy behind openpi's WebSocket: a server of this project, or openpi's.
 * @param url e.g. `ws://gpu:8000`
 * @throws (rejects) OPTION_*, REMOTE_UNREACHABLE, DEADLINE_EXCEEDED, UNAUTHORIZED, REMOTE_FAILED, the signal's reason
 */
export async function connectOpenpi(url: string, options: RemoteOptions): Promise<RemotePolicy> {
  const { checkRemoteOptions, openRemote } = await import('./remotePolicy.ts');
  checkRemoteOptions(options, 'connectOpenpi');
  checkToken(options.token);
  const parsed = checkUrl(url, ['ws:', 'wss:']);
  const { OpenpiTransport } = await import('./openpiTransport.ts');
  return openRemote(new OpenpiTransport({ url: parsed, token: options.token }), parsed, options, 'prompt');
}

/** A path would be dropped or doubled, a password would end up in logs: neither is taken. */
function checkUrl(url: string, protocols: readonly string[]): URL {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (
    parsed === null ||
    !protocols.includes(parsed.protocol) ||
    parsed.username !== '' ||
    parsed.pathname !== '/' ||
    parsed.search !== ''
  ) {
    // Never the password, if it holds one.
    const shown = parsed === null || parsed.username === '' ? url : parsed.host;
    throw expected('OPTION_INVALID', `an address like ${protocols[0]}//host:port`, 'url', shown);
  }
  return parsed;
}
