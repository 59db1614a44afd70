/**
 * The one door for files that somebody else wrote: checkpoints, observations, reports, caches, tokens. Only regular files
 * are opened (a FIFO or a device would block or never end), reads are bounded, and what stands in for a missing file
 * (a Git LFS pointer, a web page, nothing) is named in the error.
 *
 * A file is absent only when its folder has no such name. A broken link, a folder, a FIFO or an unreadable file of
 * that name is present, and refused: what it should have said must not be taken from elsewhere.
 */

import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { lstat, open, readlink, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type ErrorCode, SemanticVlaError } from './errors.ts';
import { standIn } from './standIn.ts';

/** Codes of a refusal. */
export interface FileCodes {
  /** There is no file to read: no such name, a link to nothing, a folder, a FIFO, no permission. */
  readonly missing: ErrorCode;
  /** What is in it is something else. Default: as `missing`. */
  readonly invalid?: ErrorCode;
}

export interface OpenedFile {
  /** The caller closes it. */
  readonly handle: FileHandle;
  readonly size: number;
}

/** Bytes that tell what a file is. */
const startBytes = 512;

/**
 * Opens a regular file, following symbolic links (hub caches are made of them).
 *
 * @throws (rejects) `codes`, with what is there instead: a link to nothing, a folder, a Git LFS pointer, an empty file, ...
 */
export async function openRegular(path: string, codes: FileCodes): Promise<OpenedFile> {
  const invalid = codes.invalid ?? codes.missing;
  let handle: FileHandle;
  try {
    // O_NONBLOCK: opening a FIFO nobody writes to must not hang; O_NOCTTY: nor may a terminal become ours.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (cause) {
    throw new SemanticVlaError(
      codes.missing,
      `${path}: expected a readable file, found ${await inWords(path, cause)}.`,
      { cause },
    );
  }
  try {
    const info = await handle.stat();
    if (!info.isFile()) {
      throw new SemanticVlaError(
        codes.missing,
        `${path}: expected a regular file, found ${kindInWords(info)}.`,
      );
    }
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(startBytes), 0, startBytes, 0);
    const instead = standIn(buffer.subarray(0, bytesRead));
    if (instead !== null) {
      throw new SemanticVlaError(
        invalid,
        `${path}: expected the file itself, found ${instead.found}. ${instead.next}`,
      );
    }
    return { handle, size: info.size };
  } catch (error) {
    await handle.close();
    if (error instanceof SemanticVlaError) throw error;
    throw unreadable(path, error, codes.missing);
  }
}

export interface ReadOptions extends FileCodes {
  /** Most bytes that are read. */
  readonly cap: number;
  /** Code of a file that is larger. Default: as `invalid`. */
  readonly tooLarge?: ErrorCode;
}

/** The whole of a regular file. @throws (rejects) `options`' codes */
export async function readRegular(path: string, options: ReadOptions): Promise<Buffer> {
  const { cap, missing, invalid = missing, tooLarge = invalid } = options;
  const { handle, size } = await openRegular(path, options);
  const refuse = (found: string) =>
    new SemanticVlaError(tooLarge, `${path}: expected at most ${cap} bytes, found ${found}.`);
  try {
    if (size > cap) throw refuse(String(size));
    const parts: Buffer[] = [];
    // The size is not trusted: a file may grow while it is read, and in /proc all sizes are 0.
    for (let total = 0; ; ) {
      const part = Buffer.allocUnsafe(Math.max(size - total, 0) + 4096);
      const { bytesRead } = await handle.read(part, 0, part.length, total);
      if (bytesRead === 0) return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
      total += bytesRead;
      if (total > cap) throw refuse('more');
      parts.push(part.subarray(0, bytesRead));
    }
  } catch (error) {
    if (error instanceof SemanticVlaError) throw error;
    throw unreadable(path, error, missing);
  } finally {
    await handle.close();
  }
}

/** Text of a regular file, without a byte order mark. @throws (rejects) `options`' codes, also when it is not UTF-8 */
export async function readText(path: string, options: ReadOptions): Promise<string> {
  const bytes = await readRegular(path, options);
  const text = utf8Of(bytes);
  if (text !== null) return text;
  const found = isUtf16(bytes) ? 'UTF-16 (as Windows PowerShell writes it)' : 'other bytes';
  throw new SemanticVlaError(
    options.invalid ?? options.missing,
    `${path}: expected UTF-8 text, found ${found}. Save it as UTF-8.`,
  );
}

/** UTF-8 as text, without the byte order mark that Windows editors put first; null when it is not UTF-8. */
export function utf8Of(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

function isUtf16(bytes: Uint8Array): boolean {
  return (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff);
}

/** Reads exactly `length` bytes at `position`; throws `code` when the file ends before that. */
export async function readExactly(
  handle: FileHandle,
  position: number,
  length: number,
  path: string,
  code: ErrorCode,
): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(length);
  await readInto(handle, buffer, position, path, code);
  return buffer;
}

/** Fills `buffer` from `position`; throws `code` when the file ends before that. */
export async function readInto(
  handle: FileHandle,
  buffer: Uint8Array,
  position: number,
  path: string,
  code: ErrorCode,
): Promise<void> {
  let done = 0;
  while (done < buffer.byteLength) {
    const { bytesRead } = await handle.read(buffer, done, buffer.byteLength - done, position + done);
    if (bytesRead === 0) {
      throw new SemanticVlaError(
        code,
        `${path}: expected ${buffer.byteLength} bytes at offset ${position}, found ${done}: the file is shorter than it says, or changed while it was read. Copy it again.`,
      );
    }
    done += bytesRead;
  }
}

/**
 * Whether anything has this name. Its folder must exist and be readable, so that nothing
 * counts as absent because it cannot be seen.
 *
 * @throws (rejects) `code` when that cannot be told
 */
export async function isThere(path: string, code: ErrorCode): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (cause) {
    if (reason(cause) === 'ENOENT' && (await isFolder(dirname(path)))) return false;
    const found = await inWords(reason(cause) === 'ENOENT' ? dirname(path) : path, cause);
    throw new SemanticVlaError(code, `${path}: expected to see whether it is there, found ${found}.`, {
      cause,
    });
  }
}

/** Whether `path` is an existing folder (after following links). */
export async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}

/** What `whatIsAt` says of a name that is not there. */
export const nothing = 'no such file (ENOENT)';

/** What has this name, for messages: `a FIFO`, `a link to ../blobs/x, which is not there (...)`, `EACCES`. */
export async function whatIsAt(path: string): Promise<string> {
  try {
    return kindInWords(await stat(path));
  } catch (cause) {
    return inWords(path, cause);
  }
}

/** `cause`: why the path could not be opened. */
async function inWords(path: string, cause: unknown): Promise<string> {
  const code = reason(cause);
  if (code === 'ENOENT') {
    const target = await readlink(path).catch(() => null);
    return target === null
      ? nothing
      : `a link to ${target}, which is not there (not downloaded or not copied)`;
  }
  if (code === 'ELOOP') return 'a link that leads back to itself (ELOOP)';
  if (code === 'EACCES' || code === 'EPERM') return `no permission to read it (${code})`;
  if (code === 'ENXIO') return 'a socket or a device (ENXIO)';
  if (code === 'ENOTDIR') return 'a file where its folder should be (ENOTDIR)';
  return code;
}

interface Kinds {
  isFile(): boolean;
  isDirectory(): boolean;
  isFIFO(): boolean;
  isSocket(): boolean;
}

function kindInWords(info: Kinds): string {
  if (info.isFile()) return 'a file';
  if (info.isDirectory()) return 'a folder';
  if (info.isFIFO()) return 'a FIFO (named pipe)';
  return info.isSocket() ? 'a socket' : 'a device';
}

function unreadable(path: string, cause: unknown, code: ErrorCode): SemanticVlaError {
  return new SemanticVlaError(code, `${path}: expected a readable file, found ${reason(cause)}.`, { cause });
}

/** A value that a file holds, for messages: short, whatever it is, and however deep. */
export function brief(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object' && value !== null) return 'an object';
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

/** The short reason of a file-system error (`ENOENT`, ...), for messages. */
export function reason(cause: unknown): string {
  if (cause instanceof Error && 'code' in cause && typeof cause.code === 'string') return cause.code;
  return cause instanceof Error ? cause.message : String(cause);
}
