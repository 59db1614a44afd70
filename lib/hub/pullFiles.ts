/** Fetches files of a repository into the hub's cache; files that are already there are not fetched again. */

import { statfs } from 'node:fs/promises';
import { SemanticVlaError } from '../support/errors.ts';
import { makeFolder } from '../support/makeFolder.ts';
import { fetchBlob } from './fetchBlob.ts';
import type { HubCache } from './hubCache.ts';
import { type HubName, inWords } from './hubName.ts';
import type { HubSettings } from './hubSettings.ts';
import type { HubFile } from './listRepository.ts';

export interface PullRequest {
  readonly name: HubName;
  readonly settings: HubSettings;
  readonly cache: HubCache;
  readonly commit: string;
  /** Their links are made in this order, once all bytes of all files are there: the last link means that the others exist. */
  readonly files: readonly HubFile[];
  readonly onBytes?: (done: number, total: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Concurrent requests: more would not use a connection better, and with fewer small files would wait for large ones. */
const lanes = 4;

/**
 * @returns the number of bytes fetched now
 * @throws (rejects) OUTPUT_NO_SPACE before anything is fetched; the codes of fetchBlob; the signal's reason
 */
export async function pullFiles(request: PullRequest): Promise<number> {
  const { name, settings, cache, commit, files, onBytes, signal: given } = request;
  const missing: HubFile[] = [];
  for (const file of files) if (!(await cache.has(commit, file.path, file.size))) missing.push(file);
  // files with the same content share one blob
  const blobs = [...new Map(missing.map((file) => [file.sum.hex, file])).values()];
  const total = files.reduce((sum, { size }) => sum + size, 0);
  const here = new Map(files.map((file) => [file.sum.hex, missing.includes(file) ? 0 : file.size]));
  const tell = (): void =>
    onBytes?.(
      files.reduce((sum, file) => sum + here.get(file.sum.hex)!, 0),
      total,
    );
  tell();
  await checkSpace(request, blobs);
  const stop = new AbortController();
  const signal = given === undefined ? stop.signal : AbortSignal.any([given, stop.signal]);
  let fetched = 0;
  const waiting = [...blobs];
  const lane = async (): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const { size, sum } = file;
      let first: number | null = null;
      const onFile = (bytes: number): void => {
        first ??= bytes;
        here.set(sum.hex, bytes);
        tell();
      };
      await fetchBlob({ name, commit, file, cache, settings, onBytes: onFile, signal });
      fetched += size - Math.min(first ?? 0, size);
    }
  };
  const running = Array.from({ length: lanes }, lane);
  try {
    await Promise.all(running);
  } catch (error) {
    // the first failure is the one reported; nothing is written after it
    stop.abort(error);
    await Promise.allSettled(running);
    given?.throwIfAborted();
    throw error;
  }
  for (const file of missing) await cache.link(commit, file.path, file.sum.hex);
  return fetched;
}

async function checkSpace({ name, cache }: PullRequest, files: readonly HubFile[]): Promise<void> {
  if (files.length === 0) return;
  await makeFolder(cache.folder).catch((cause: NodeJS.ErrnoException) => {
    throw new SemanticVlaError(
      'CACHE_UNWRITABLE',
      `${cache.folder}: expected to make it, found ${cause.code}. Set HF_HUB_CACHE to a folder that can be written.`,
      { cause },
    );
  });
  const needed = files.reduce((sum, { size }) => sum + size, 0);
  const { bavail, bsize } = await statfs(cache.folder);
  const free = bavail * bsize;
  // a partly fetched file is counted completely, so this overestimates by at most its size
  if (free >= needed) return;
  throw new SemanticVlaError(
    'OUTPUT_NO_SPACE',
    `${cache.folder}: expected room for ${needed} bytes of ${inWords(name)}, found ${free}. Make room, or set HF_HUB_CACHE to a folder on a larger disk.`,
  );
}
