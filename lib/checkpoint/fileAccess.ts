/** Bounded reads of checkpoint files. Only regular files are opened (a FIFO or a device would block or never end). */

import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { open, readFile, stat } from 'node:fs/promises';
import { type ErrorCode, SemanticVlaError } from '../errors.ts';

/** Largest JSON side file (config, statistics, index) that is read, bytes. The largest seen is under 1 MB. */
const jsonFileCap = 64 * 1024 * 1024;

/** Opens a regular file, following symbolic links (hub caches are made of them). `code` is the error of anything else. */
export async function openRegular(
  path: string,
  code: ErrorCode,
): Promise<{ handle: FileHandle; size: number }> {
  let handle: FileHandle;
  try {
    // O_NONBLOCK: opening a FIFO nobody writes to must not hang; it has no effect on regular files.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    throw new SemanticVlaError(code, `${path}: expected a readable file, found none (${reason(cause)}).`, {
      cause,
    });
  }
  const info = await handle.stat();
  if (!info.isFile()) {
    await handle.close();
    throw new SemanticVlaError(code, `${path}: expected a regular file, found a folder or a device.`);
  }
  return { handle, size: info.size };
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

/** Whether `path` is an existing regular file (after following links). */
export async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch {
    return false;
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

/** Text of a small side file; `missing` when it is not there, `invalid` when it is too large or not UTF-8. */
export async function readSideFile(path: string, missing: ErrorCode, invalid: ErrorCode): Promise<string> {
  const { handle, size } = await openRegular(path, missing);
  try {
    if (size > jsonFileCap) {
      throw new SemanticVlaError(invalid, `${path}: expected at most ${jsonFileCap} bytes, found ${size}.`);
    }
    const bytes = await readFile(handle);
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch (cause) {
      throw new SemanticVlaError(invalid, `${path}: expected UTF-8 text, found other bytes.`, { cause });
    }
  } finally {
    await handle.close();
  }
}

/** The short reason of a file-system error (`ENOENT`, ...), for messages. */
export function reason(cause: unknown): string {
  if (cause instanceof Error && 'code' in cause && typeof cause.code === 'string') return cause.code;
  return cause instanceof Error ? cause.message : String(cause);
}
