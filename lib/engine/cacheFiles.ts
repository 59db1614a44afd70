/** Files of the engine cache: durable writes, bounded reads, and who may write there. */

import { createHash, randomBytes } from 'node:crypto';
import { type FileHandle, link, lstat, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { NativeBytes } from '../addon/binding.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { syncFile } from '../support/fileHandles.ts';
import { makeFolder } from '../support/makeFolder.ts';
import { foreignOwner, type OwnFile, openOwn } from '../support/ownFiles.ts';

/** Suffix of files that are not complete yet. */
export const partialSuffix = '.partial';

/** Content of a file, as one array or in parts. */
export type FileBytes = Uint8Array | NativeBytes;

/** Bytes that are copied, hashed or read at once. */
export const partBytes = 16 * 2 ** 20;

/** All bytes in order, in parts of at most `length`. */
export function* partsOf(bytes: FileBytes, length = partBytes): Generator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += length) {
    const end = Math.min(at + length, bytes.byteLength);
    yield bytes instanceof Uint8Array ? bytes.subarray(at, end) : bytes.read(at, end - at);
  }
}

/** How bytes get into a file; replaced in tests by disks that fill up. */
export type WriteFile = (path: string, parts: Iterable<Uint8Array>) => Promise<void>;

/** Writes and syncs, so that the bytes are on the disk. */
export const writeDurably: WriteFile = async (path, parts) => {
  const handle = await open(path, 'wx', 0o600);
  try {
    for (const part of parts) await writeAll(handle, part);
    await syncFile(handle);
  } finally {
    await handle.close();
  }
};

async function writeAll(handle: FileHandle, part: Uint8Array): Promise<void> {
  for (let at = 0; at < part.byteLength; ) at += (await handle.write(part, at)).bytesWritten;
}

/** Replaces a file atomically: its name stands for the old one or the whole new one. @throws CACHE_UNWRITABLE */
export async function replaceFile(path: string, bytes: FileBytes, write: WriteFile): Promise<void> {
  const partial = `${path}.${process.pid}.${randomBytes(4).toString('hex')}${partialSuffix}`;
  try {
    await write(partial, partsOf(bytes));
    await rename(partial, path);
    await syncFolder(dirname(path));
  } catch (cause) {
    await rm(partial, { force: true });
    throw unwritable(path, bytes.byteLength, cause);
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await syncFile(handle);
  } finally {
    await handle.close();
  }
}

function unwritable(path: string, bytes: number, cause: unknown): SemanticVlaError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const full = code === 'ENOSPC' || code === 'EDQUOT';
  return new SemanticVlaError(
    'CACHE_UNWRITABLE',
    `${path}: expected to write ${bytes} bytes there, found ${full ? 'the disk full' : message}. ` +
      `${full ? 'Make room' : 'Make the folder writable'}, or set SEMANTICVLA_CACHE to another one. What was in the cache is untouched.`,
    { cause },
  );
}

/** A regular file of ours, opened; null when there is none. @throws ENGINE_REFUSED */
export function openOwnFile(path: string): Promise<OwnFile | null> {
  return openOwn(path, ({ expected, found, next }) => refused(path, expected, found, next));
}

/** A regular file of ours, of at most `cap` bytes; null when there is none. @throws ENGINE_REFUSED */
export async function readOwnFile(path: string, cap: number): Promise<Buffer | null> {
  const file = await openOwnFile(path);
  if (file === null) return null;
  try {
    if (file.bytes > cap) throw refused(path, `at most ${cap} bytes`, `${file.bytes}`);
    return await file.handle.readFile();
  } finally {
    await file.handle.close();
  }
}

/** SHA-256 of an open file from its start, read in parts: Node cannot read 2 GiB at once. */
export async function sha256OfFile({ handle, bytes }: OwnFile, length = partBytes): Promise<string> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(Math.min(length, Math.max(bytes, 1)));
  for (let at = 0; ; ) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) return hash.digest('hex');
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
}

/** The folder, made when it is not there (0700). @throws ENGINE_REFUSED, CACHE_UNWRITABLE */
export async function ownFolder(path: string): Promise<void> {
  try {
    await makeFolder(path, 0o700);
  } catch (cause) {
    throw new SemanticVlaError(
      'CACHE_UNWRITABLE',
      `${path}: expected to make the engine cache there, found ${(cause as Error).message}. Set SEMANTICVLA_CACHE to a folder that can be written.`,
      { cause },
    );
  }
  const info = await lstat(path);
  if (!info.isDirectory()) throw refused(path, 'a folder', 'something else');
  const foreign = foreignOwner(path, info);
  if (foreign !== null) throw refused(path, foreign.expected, foreign.found, foreign.next);
}

const keyBytes = 32;

/** The secret that marks what this machine wrote; made at the first use, readable by its owner only. */
export async function machineKey(folder: string): Promise<Buffer> {
  const path = join(folder, 'machine.key');
  const found = await readKey(path);
  if (found !== null) return found;
  const partial = `${path}.${process.pid}.${randomBytes(4).toString('hex')}${partialSuffix}`;
  try {
    await writeDurably(partial, [randomBytes(keyBytes)]);
    // fails when another process was faster: then that one's key is used
    await link(partial, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  } catch (cause) {
    throw unwritable(path, keyBytes, cause);
  } finally {
    await rm(partial, { force: true });
  }
  return (await readKey(path))!;
}

async function readKey(path: string): Promise<Buffer | null> {
  const key = await readOwnFile(path, 4096);
  if (key === null) return null;
  const { mode } = await lstat(path);
  if ((mode & 0o077) !== 0) {
    throw refused(
      path,
      'mode 600',
      `mode ${(mode & 0o777).toString(8)}`,
      `rm ${path}; engines are then built again`,
    );
  }
  if (key.length !== keyBytes) throw refused(path, `${keyBytes} bytes`, `${key.length}`, `rm ${path}`);
  return key;
}

export function refused(path: string, expected: string, found: string, next?: string): SemanticVlaError {
  return new SemanticVlaError(
    'ENGINE_REFUSED',
    `${path}: expected ${expected}, found ${found}. It was not loaded. Next: ${next ?? `rm ${path}, or semanticvla build --rebuild`}.`,
  );
}
