/** Requests to a hub: authorization, how long an answer may take, and what a refusal means. */

import { whenAborted } from '../support/abort.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { type HubName, inWords } from './hubName.ts';
import type { HubSettings } from './hubSettings.ts';

/** A connection counts as lost after this long without an answer or without a further byte of one. */
export const silenceMs = 30_000;

/**
 * `fetch` with the token of this hub, which is sent nowhere else: `fetch` itself drops it if a redirection leads to another
 * host.
 * @throws (rejects) the signal's reason, or the error of `fetch` about the connection
 */
export async function hubFetch(
  settings: HubSettings,
  url: string | URL,
  init: RequestInit = {},
  signal?: AbortSignal,
): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.delete('authorization');
  headers.set('user-agent', 'semanticvla');
  if (settings.token !== null && new URL(url).origin === new URL(settings.endpoint).origin)
    headers.set('authorization', `Bearer ${settings.token}`);
  const silence = new AbortController();
  const timer = setTimeout(
    () => silence.abort(new Error(`no answer within ${silenceMs / 1000} s`)),
    silenceMs,
  );
  const stop = whenAborted(signal, (reason) => silence.abort(reason));
  try {
    return await fetch(url, { ...init, headers, signal: silence.signal });
  } finally {
    clearTimeout(timer);
    stop();
  }
}

/** Whether asking again might help. */
export function isPassing(status: number): boolean {
  return status === 408 || status === 425 || status === 429 || status >= 500;
}

/** The error for an answer that is a refusal. */
export function refusal(
  name: HubName,
  settings: HubSettings,
  status: number,
  code: string | null,
): SemanticVlaError {
  const what = `${inWords(name)} at ${settings.endpoint}`;
  const login =
    settings.token === null
      ? 'Set HF_TOKEN to a token that may read it (hf auth login saves one).'
      : 'The token that was sent (HF_TOKEN, or the saved one) may not read it.';
  if (code === 'GatedRepo' || status === 403) {
    return new SemanticVlaError(
      'UNAUTHORIZED',
      `${what}: expected to be let in, found status ${status}: access has to be granted first. Ask for it on the repository's page. ${login}`,
    );
  }
  if (code === 'RevisionNotFound') {
    return new SemanticVlaError(
      'CHECKPOINT_NOT_FOUND',
      `${what}: expected a branch, tag or commit ${name.revision}, found none. Look at the repository's list of commits.`,
    );
  }
  if (status === 401 || status === 404) {
    return new SemanticVlaError(
      'CHECKPOINT_NOT_FOUND',
      `${what}: expected a repository, found status ${status}: there is none of this name, or it is private. ${login}`,
    );
  }
  return new SemanticVlaError(
    'REMOTE_FAILED',
    `${what}: expected an answer, found status ${status}. Try again later; what was fetched is kept.`,
  );
}

export function unreachable(name: HubName, settings: HubSettings, cause: unknown): SemanticVlaError {
  const { message, cause: inner } = cause as Error;
  const why = inner instanceof Error ? inner.message || (inner as NodeJS.ErrnoException).code : message;
  return new SemanticVlaError(
    'REMOTE_UNREACHABLE',
    `${inWords(name)}: expected an answer of ${settings.endpoint}, found: ${why}. Check the network; what was fetched is kept, and the next run goes on from there.`,
    { cause },
  );
}
