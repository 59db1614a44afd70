/**
 * Memory shared by two processes without an addon: an unnamed file in the kernel's memory file system, whose descriptor the
 * child inherits. Reading and writing take one system call and one copy each.
 */

import { randomBytes } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync, unlinkSync, writevSync } from 'node:fs';
import { join } from 'node:path';
import { SemanticVlaError } from '../support/errors.ts';

const folder = '/dev/shm';

/** Most parts of one system call; the kernel accepts 1024. */
const mostParts = 512;

/**
 * Creates the file and unlinks it at once, so nothing is left behind however the processes end.
 * @returns its descriptor, which the child inherits
 * @throws BACKEND_UNAVAILABLE if the folder is missing or not writable
 */
export function createSharedFile(): number {
  const path = join(folder, `semanticvla-${process.pid}-${randomBytes(8).toString('hex')}`);
  let fd: number | null = null;
  try {
    fd = openSync(path, 'wx+', 0o600);
    unlinkSync(path);
    return fd;
  } catch (cause) {
    if (fd !== null) closeSync(fd);
    const { code } = cause as NodeJS.ErrnoException;
    const next =
      code === 'EMFILE' || code === 'ENFILE'
        ? 'Close files or raise the limit (ulimit -n).'
        : "Mount it (containers: --shm-size), or pass transport: 'pipe'.";
    throw new SemanticVlaError(
      'BACKEND_UNAVAILABLE',
      `Transport shared: expected to create a file in ${folder}, found ${code}. ${next}`,
      { cause },
    );
  }
}

/** Half of a shared file, written by one side and read by the other. Only pages that were written take up memory. */
export class SharedRegion {
  readonly #fd: number;
  readonly #start: number;

  constructor(fd: number, start: number) {
    this.#fd = fd;
    this.#start = start;
  }

  /**
   * Writes all parts, one after the other, from the beginning of the region. @throws RUNTIME_FAILED if the memory file system
   * is full
   */
  write(parts: readonly Uint8Array[]): void {
    let at = this.#start;
    for (let from = 0; from < parts.length; from += mostParts) {
      const some = parts.slice(from, from + mostParts);
      const bytes = some.reduce((sum, { length }) => sum + length, 0);
      let found = 'a write that ended early';
      try {
        if (writevSync(this.#fd, some, at) === bytes) found = '';
      } catch (error) {
        found = (error as NodeJS.ErrnoException).code ?? String(error);
      }
      if (found !== '') {
        throw new SemanticVlaError(
          'RUNTIME_FAILED',
          `Transport shared: expected room for ${bytes} bytes in ${folder}, found ${found}. ` +
            "Give it more memory, or pass transport: 'pipe'.",
        );
      }
      at += bytes;
    }
  }

  /**
   * Call this before allocating memory for what the other side claims to have written. @throws if it has not written that much
   */
  expect(bytes: number): void {
    const written = fstatSync(this.#fd).size - this.#start;
    if (written < bytes) throw new Error(`arrays of ${bytes} bytes in a shared file with ${written}`);
  }

  /** Fills `into` from the region's beginning. */
  read(into: Uint8Array): void {
    let done = 0;
    while (done < into.length) {
      const n = readSync(this.#fd, into, done, into.length - done, this.#start + done);
      if (n === 0) throw new Error(`the shared file ends ${into.length - done} bytes early`);
      done += n;
    }
  }
}
