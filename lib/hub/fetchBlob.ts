/**
 * Fetches one file of a repository into the cache's blobs: by range, from where an earlier attempt ended, again after each
 * interruption, and kept only if it has the check sum stated in the hub's list.
 */

import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pause, whenAborted } from '../support/abort.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { reason } from '../support/fileAccess.ts';
import { syncFile } from '../support/fileHandles.ts';
import { makeFolder } from '../support/makeFolder.ts';
import type { HubCache } from './hubCache.ts';
import { type HubName, inWords } from './hubName.ts';
import { hubFetch, isPassing, refusal, silenceMs, unreachable } from './hubRequest.ts';
import type { HubSettings } from './hubSettings.ts';
import type { HubFile } from './listRepository.ts';

export interface BlobRequest {
  readonly name: HubName;
  readonly commit: string;
  readonly file: HubFile;
  readonly cache: HubCache;
  readonly settings: HubSettings;
  /** Bytes present so far, of `file.size`; may decrease if a part turns out to be damaged. */
  readonly onBytes: (bytes: number) => void;
  readonly signal: AbortSignal;
}

/** Gives up after this many attempts without a single new byte. */
const attempts = 5;
const firstPauseMs = 500;
const longestPauseMs = 8000;

/**
 * Afterwards the blob is there.
 * @throws (rejects) CHECKPOINT_CHANGED if the bytes twice differ from those of the list; UNAUTHORIZED, CHECKPOINT_NOT_FOUND,
 *   REMOTE_UNREACHABLE, REMOTE_FAILED; CACHE_UNWRITABLE; the signal's reason
 */
export async function fetchBlob(request: BlobRequest): Promise<void> {
  const { cache, file, onBytes, signal } = request;
  const target = cache.blob(file.sum.hex);
  if (await isWhole(target, file.size)) {
    onBytes(file.size);
    return;
  }
  // Python's unfinished files have another name, since it holds a lock on them that Node cannot see
  const part = `${target}.semanticvla.incomplete`;
  try {
    await makeFolder(dirname(target));
    for (let again = 0; ; again++) {
      const sum = await complete(request, part);
      if (sum === file.sum.hex) break;
      await rm(part, { force: true });
      onBytes(0);
      if (again > 0) throw damaged(request, sum);
    }
    await rename(part, target).catch(async (error: unknown) => {
      // another process doing the same was first
      if (!(reason(error) === 'ENOENT' && (await isWhole(target, file.size)))) throw error;
    });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof SemanticVlaError) throw error;
    const why = reason(error);
    const next =
      why === 'ENOSPC'
        ? 'Make room, or set HF_HUB_CACHE to a folder on a larger disk; what was fetched is kept.'
        : 'Set HF_HUB_CACHE to a folder that can be written.';
    throw new SemanticVlaError('CACHE_UNWRITABLE', `${part}: expected to write it, found ${why}. ${next}`, {
      cause: error,
    });
  }
}

async function isWhole(path: string, size: number): Promise<boolean> {
  return stat(path).then(
    (info) => info.isFile() && info.size === size,
    () => false,
  );
}

/** Fetches the missing rest of the part. @returns the check sum of the whole */
async function complete({ signal, ...request }: BlobRequest, part: string): Promise<string> {
  const { name, settings, file, onBytes } = request;
  const handle = await open(part, 'a+').then(async (made) => {
    await made.close();
    return open(part, 'r+');
  });
  try {
    const { size } = await handle.stat();
    const sum = sumOf(file);
    let have = size > file.size ? 0 : size;
    await hashPart(handle, have, sum, signal);
    let state = { have, sum };
    onBytes(have);
    for (let idle = 0; state.have < file.size; ) {
      signal.throwIfAborted();
      const before = state.have;
      let failure: unknown = null;
      try {
        state = await readOn({ ...request, signal }, handle, state);
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof SemanticVlaError || isLocal(error)) throw error;
        failure = error;
        const { size: written } = await handle.stat();
        if (written !== state.have) {
          // what arrived before the interruption is on disk, and its sum is computed from there
          have = Math.min(written, file.size);
          const anew = sumOf(file);
          await hashPart(handle, have, anew, signal);
          state = { have, sum: anew };
        }
      }
      if (state.have >= file.size) break;
      idle = state.have > before ? 0 : idle + 1;
      if (idle >= attempts)
        throw unreachable(name, settings, failure ?? new Error('an answer without bytes'));
      await pause(Math.min(longestPauseMs, firstPauseMs * 2 ** idle), signal);
    }
    await handle.truncate(file.size);
    await syncFile(handle);
    return state.sum.digest('hex');
  } finally {
    await handle.close();
  }
}

interface Reading {
  readonly have: number;
  readonly sum: Hash;
}

/** One request, from the end of the part to the end of the answer. Writes in order; the sum covers what is written. */
async function readOn(request: BlobRequest, handle: FileHandle, { have, sum }: Reading): Promise<Reading> {
  const { name, commit, file, settings, onBytes, signal } = request;
  const path = file.path.split('/').map(encodeURIComponent).join('/');
  const url = `${settings.endpoint}/${name.repo}/resolve/${commit}/${path}`;
  const headers = { 'accept-encoding': 'identity', ...(have > 0 ? { range: `bytes=${have}-` } : {}) };
  const response = await hubFetch(settings, url, { headers }, signal);
  if (isPassing(response.status)) throw new Error(`status ${response.status}`);
  let at = have;
  let running = sum;
  if (response.status === 200) {
    // the server does not support ranges: start from the beginning
    at = 0;
    if (have > 0) running = sumOf(file);
  } else if (response.status !== 206 || startOf(response) !== have) {
    await response.body?.cancel();
    throw refusal(name, settings, response.status, response.headers.get('x-error-code'));
  }
  const reader = response.body!.getReader();
  const cut = (): void => void reader.cancel(new Error('cut')).catch(() => {});
  const stop = whenAborted(signal, cut);
  try {
    for (;;) {
      const { done, value } = await orSilent(reader.read());
      signal.throwIfAborted();
      if (done) return { have: at, sum: running };
      if (at + value.length > file.size) throw damaged(request, `more than ${file.size} bytes`);
      await handle.write(value, 0, value.length, at);
      running.update(value);
      at += value.length;
      onBytes(at);
    }
  } finally {
    stop();
    cut();
  }
}

/** First byte of a partial answer; null if it does not say. */
function startOf(response: Response): number | null {
  const range = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '');
  return range === null ? null : Number(range[1]);
}

function orSilent<T>(promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no byte for ${silenceMs / 1000} s`)), silenceMs);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** Git's sum of a small file covers a header with its size, then the bytes. */
function sumOf({ sum: { kind }, size }: HubFile): Hash {
  return kind === 'sha256' ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
}

async function hashPart(handle: FileHandle, bytes: number, sum: Hash, signal: AbortSignal): Promise<void> {
  const buffer = Buffer.allocUnsafe(1 << 20);
  for (let at = 0; at < bytes; ) {
    signal.throwIfAborted();
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, bytes - at), at);
    if (bytesRead === 0) throw new Error('the file was cut while it was read');
    sum.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
}

/** Errors of local files, which asking the hub again does not cure. */
function isLocal(error: unknown): boolean {
  return ['ENOSPC', 'EACCES', 'EPERM', 'EROFS', 'EIO', 'EDQUOT', 'EFBIG'].includes(reason(error));
}

function damaged({ name, file }: BlobRequest, found: string): SemanticVlaError {
  return new SemanticVlaError(
    'CHECKPOINT_CHANGED',
    `${inWords(name)}: ${file.path}: expected ${file.size} bytes with the ${file.sum.kind === 'git' ? 'git' : 'SHA-256'} sum ${file.sum.hex}, found ${found}. Nothing of it is kept; try again, and check what is between this machine and the hub.`,
  );
}
