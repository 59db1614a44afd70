/**
 * The cache of made weights as files: what is taken from it, and how long it is kept.
 *
 * A file is used when only this user and root can have written it, and its SHA-256 is the one in its header. The digest is
 * taken at every load: 1.4 GB/s on one x86 core with SHA instructions, so 2 s for the 2.9 GB of a full-size policy, and the
 * pages are then in memory for what reads them next.
 *
 * The time of the last change is a whole second, so that the time of the last use can be set without touching it.
 */

import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { open, readdir, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { SemanticVlaError } from '../support/errors.ts';
import { openRegular, readExactly, reason } from '../support/fileAccess.ts';
import { setFileTimes, syncFile } from '../support/fileHandles.ts';
import { isolated } from '../support/isolated.ts';
import { type Foreign, openOwn } from '../support/ownFiles.ts';
import type { OpenCheckpointOptions } from './checkpoint.ts';

/** A temporary file that nobody has written to for so long was left by a process that was killed. */
const staleMs = 10 * 60 * 1000;
/** Files of each kind that are kept, those used last; a full-size one has 1.4 to 3 GB, quantized 7 GB. */
const kept = { weights: 4, int8: 2 };
/** Nothing is removed that was used since: somebody may be about to open it. */
const untouchedMs = 60 * 60 * 1000;
const blockBytes = 8 * 1024 * 1024;

export interface CachedLayout {
  /** @param sha256 hexadecimal, of all bytes behind the header */
  readonly headerOf: (sha256: string) => Buffer;
  readonly headerBytes: number;
  /** File size. */
  readonly total: number;
}

/** What a cached file is not. */
class Unsound extends Error {
  readonly why: Foreign;

  constructor(why: Foreign) {
    super(why.found);
    this.why = why;
  }
}

/** `absent`, `sound` (and its last use is now), or why it is not to be used. @throws (rejects) the signal's reason */
export async function checkCached(
  file: string,
  layout: CachedLayout,
  options: Pick<OpenCheckpointOptions, 'onProgress' | 'signal'>,
): Promise<'absent' | 'sound' | Foreign> {
  try {
    const own = await openOwn(file, (why) => new Unsound(why));
    if (own === null) return 'absent';
    try {
      await requireSound(own.handle, own.bytes, file, layout, options);
      await stampUsed(own.handle);
      return 'sound';
    } finally {
      await own.handle.close();
    }
  } catch (error) {
    if (error instanceof Unsound) return error.why;
    // it was cut while it was read, or the disk does not give it back
    if (error instanceof SemanticVlaError) return { expected: 'the cached weights', found: error.message };
    if (error instanceof Error && 'errno' in error)
      return { expected: 'the cached weights', found: reason(error) };
    throw error;
  }
}

async function requireSound(
  handle: FileHandle,
  bytes: number,
  file: string,
  { headerOf, headerBytes, total }: CachedLayout,
  { onProgress, signal }: Pick<OpenCheckpointOptions, 'onProgress' | 'signal'>,
): Promise<void> {
  if (bytes !== total) throw new Unsound({ expected: `${total} bytes`, found: `${bytes}` });
  const header = await readExactly(handle, 0, headerBytes, file, 'SAFETENSORS_INVALID');
  const stated = /"sha256":"([0-9a-f]{64})"/.exec(header.toString('latin1'))?.[1];
  if (stated === undefined || !headerOf(stated).equals(header))
    throw new Unsound({ expected: 'the header that belongs to its key', found: 'another' });
  const tell = isolated('onProgress', onProgress);
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(blockBytes);
  for (let at = headerBytes; at < total; ) {
    signal?.throwIfAborted();
    const { bytesRead } = await handle.read(buffer, 0, Math.min(blockBytes, total - at), at);
    if (bytesRead === 0) throw new Unsound({ expected: `${total} bytes`, found: `${at}` });
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
    tell({
      step: 'check cached weights',
      done: at - headerBytes,
      total: total - headerBytes,
      unit: 'bytes',
    });
  }
  const found = hash.digest('hex');
  if (found !== stated) throw new Unsound({ expected: `SHA-256 ${stated}`, found });
}

/** SHA-256 of a whole file. @throws (rejects) CHECKPOINT_FILE_MISSING */
export async function digestOf(file: string): Promise<Buffer> {
  const { handle } = await openRegular(file, { missing: 'CHECKPOINT_FILE_MISSING' });
  try {
    const hash = createHash('sha256');
    const buffer = Buffer.allocUnsafe(blockBytes);
    for (let at = 0; ; ) {
      const { bytesRead } = await handle.read(buffer, 0, blockBytes, at);
      if (bytesRead === 0) return hash.digest();
      hash.update(buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
  } finally {
    await handle.close();
  }
}

/** On the disk, with a time of the last change that `stampUsed` can leave as it is. */
export async function stampWritten(handle: FileHandle): Promise<void> {
  const now = Date.now() / 1000;
  await setFileTimes(handle, now, Math.floor(now));
  await syncFile(handle);
}

/** Where the file system does not take it, the file only counts as older than it is. */
async function stampUsed(handle: FileHandle): Promise<void> {
  const { mtimeMs } = await handle.stat();
  if (mtimeMs % 1000 === 0)
    await setFileTimes(handle, Date.now() / 1000, mtimeMs / 1000).catch(() => undefined);
}

const cachedName = /^(lora|weights|int8)-[0-9a-f]{40}\.safetensors$/;
const temporaryName = /^(?:lora|weights|int8)-[0-9a-f]+\.safetensors\.\d+\.[0-9a-f]+\.tmp$/;

/** null: not one of ours. */
function kindOf(name: string): keyof typeof kept | null {
  const prefix = cachedName.exec(name)?.[1];
  return prefix === undefined ? null : prefix === 'int8' ? 'int8' : 'weights';
}

/** Removes all but the files of the kind of `own` that were used last, and none that was used within the hour. `own` stays. */
export async function trimCache(folder: string, own: string): Promise<void> {
  const files: { path: string; usedMs: number }[] = [];
  for (const name of await readdir(folder).catch(() => [])) {
    if (kindOf(name) !== kindOf(basename(own))) continue;
    const path = join(folder, name);
    const info = await stat(path).catch(() => null);
    if (info?.isFile()) files.push({ path, usedMs: Math.max(info.atimeMs, info.mtimeMs) });
  }
  files.sort((a, b) => b.usedMs - a.usedMs);
  for (const { path, usedMs } of files.slice(kept[kindOf(basename(own))!])) {
    if (path !== own && Date.now() - usedMs > untouchedMs) await unlink(path).catch(() => undefined);
  }
}

/** What killed processes left. */
export async function removeStale(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!temporaryName.test(name)) continue;
    const path = join(folder, name);
    const info = await stat(path).catch(() => null);
    if (info !== null && Date.now() - info.mtimeMs > staleMs) await unlink(path).catch(() => undefined);
  }
}

/** @returns where it ends */
export async function append(
  output: FileHandle,
  path: string,
  bytes: Uint8Array,
  position: number,
): Promise<number> {
  await inCache(path, async () => {
    let done = 0;
    while (done < bytes.byteLength) {
      done += (await output.write(bytes, done, bytes.byteLength - done, position + done)).bytesWritten;
    }
  });
  return position + bytes.byteLength;
}

/** The rename itself must survive a power cut; where folders cannot be synced, it is only less durable. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY).catch(() => null);
  if (handle === null) return;
  await syncFile(handle).catch(() => undefined);
  await handle.close();
}

/** @throws (rejects) CACHE_UNWRITABLE for whatever the system says */
export async function inCache<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new SemanticVlaError(
      'CACHE_UNWRITABLE',
      `${dirname(path)}: expected a writable folder with room for merged and rounded weights, found ${reason(cause)}. Set SEMANTICVLA_CACHE or the option cacheDir to a folder on a disk with space.`,
      { cause },
    );
  }
}
