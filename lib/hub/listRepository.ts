/** Lists a repository at a revision: the commit, and each file with its size and check sum. */

import { SemanticVlaError } from '../support/errors.ts';
import { type HubName, inWords, isCommit } from './hubName.ts';
import { hubFetch, refusal, unreachable } from './hubRequest.ts';
import type { HubSettings } from './hubSettings.ts';

export interface HubFile {
  /** With forward slashes. */
  readonly path: string;
  readonly size: number;
  /** Name of the blob, which is also the sum that its bytes must have. */
  readonly sum: { readonly kind: 'sha256' | 'git'; readonly hex: string };
}

export interface Listing {
  readonly commit: string;
  readonly files: readonly HubFile[];
}

/** More files than any repository of a policy has; an endless list is not followed. */
const mostFiles = 10_000;

/**
 * @throws (rejects) CHECKPOINT_NOT_FOUND, UNAUTHORIZED, REMOTE_UNREACHABLE, REMOTE_FAILED (also if the answer is not a list of
 *   files), the signal's reason
 */
export async function listRepository(
  name: HubName,
  settings: HubSettings,
  signal?: AbortSignal,
): Promise<Listing> {
  const { HubApiError, listFiles, modelInfo } = await import('@huggingface/hub');
  let code: string | null = null;
  const asked: typeof fetch = async (url, init) => {
    const response = await hubFetch(settings, url as string | URL, init, signal);
    code = response.headers.get('x-error-code');
    return response;
  };
  const common = { hubUrl: settings.endpoint, fetch: asked };
  const files: HubFile[] = [];
  try {
    const info = await modelInfo({
      ...common,
      name: name.repo,
      revision: name.revision,
      additionalFields: ['sha'],
    });
    const commit: unknown = info.sha;
    if (typeof commit !== 'string' || !isCommit(commit)) throw malformed(name, 'a commit', commit);
    const list = listFiles({
      ...common,
      repo: { type: 'model', name: name.repo },
      revision: commit,
      recursive: true,
    });
    for await (const { type, path, size, oid, lfs } of list) {
      if (type === 'directory') continue;
      if (type !== 'file') throw malformed(name, 'files and folders', type ?? null);
      const sum: HubFile['sum'] = lfs ? { kind: 'sha256', hex: lfs.oid } : { kind: 'git', hex: oid ?? '' };
      const file = { path, size: lfs?.size ?? size, sum };
      check(name, file);
      files.push(file);
      if (files.length > mostFiles) throw malformed(name, `at most ${mostFiles} files`, 'more');
    }
    return { commit, files };
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof SemanticVlaError) throw error;
    if (error instanceof HubApiError) throw refusal(name, settings, error.statusCode, code);
    if (error instanceof SyntaxError) throw malformed(name, 'JSON', error.message);
    throw unreachable(name, settings, error);
  }
}

/** Refuses paths that leave the folder, and malformed check sums. */
function check(name: HubName, { path, size, sum }: HubFile): void {
  const isPath =
    typeof path === 'string' &&
    path.length <= 1024 &&
    path
      .split('/')
      .every((part) => part !== '' && part !== '.' && part !== '..' && !/[\\\p{Cc}]/u.test(part));
  if (!isPath) throw malformed(name, 'paths below the repository', path);
  if (!(Number.isSafeInteger(size) && size >= 0)) throw malformed(name, `a size of ${path}`, size);
  const isSum = sum.kind === 'sha256' ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/;
  if (!isSum.test(sum.hex)) throw malformed(name, `a check sum of ${path}`, sum.hex);
}

function malformed(name: HubName, what: string, found: unknown): SemanticVlaError {
  return new SemanticVlaError(
    'REMOTE_FAILED',
    `${inWords(name)}: expected ${what} in the hub's answer, found ${JSON.stringify(found)?.slice(0, 200)}. Check HF_ENDPOINT.`,
  );
}
