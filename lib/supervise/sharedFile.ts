/**
 * Memory that two processes share without an addon: a file in the kernel's memory file system, without a name, whose
 * descriptor the child inherits. Reading and writing it are one system call and one copy each.
 */

import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { SemanticVlaError } from '../errors.ts';

const folder = '/dev/shm';

/**
 * Creates the file and unlinks it at once: nothing is left behind however the processes end.
 * @returns its descriptor, to be given to the child
 * @throws BACKEND_UNAVAILABLE the folder is not there or not writable
 */
export function createSharedFile(): number {
  const path = join(folder, `semanticvla-${process.pid}-${randomBytes(8).toString('hex')}`);
  try {
    const fd = openSync(path, 'wx+', 0o600);
    unlinkSync(path);
    return fd;
  } catch (cause) {
    throw new SemanticVlaError(
      'BACKEND_UNAVAILABLE',
      `Transport shared: expected to create a file in ${folder}, found ${(cause as NodeJS.ErrnoException).code}. ` +
        "Mount it (containers: --shm-size), or pass transport: 'pipe'.",
      { cause },
    );
  }
}

/** Half of a shared file: one side writes it, the other reads. Only pages that were written take memory. */
export class SharedRegion {
  readonly #fd: number;
  readonly #start: number;

  constructor(fd: number, start: number) {
    this.#fd = fd;
    this.#start = start;
  }

  /** @throws RUNTIME_FAILED when the memory file system is full */
  write(bytes: Uint8Array, offset: number): void {
    let done = 0;
    while (done < bytes.length) {
      try {
        done += writeSync(this.#fd, bytes, done, bytes.length - done, this.#start + offset + done);
      } catch (cause) {
        throw new SemanticVlaError(
          'RUNTIME_FAILED',
          `Transport shared: expected room for ${bytes.length} bytes in ${folder}, found ${(cause as NodeJS.ErrnoException).code}. ` +
            "Give it more memory, or pass transport: 'pipe'.",
          { cause },
        );
      }
    }
  }

  read(into: Uint8Array, offset: number): void {
    let done = 0;
    while (done < into.length) {
      const n = readSync(this.#fd, into, done, into.length - done, this.#start + offset + done);
      if (n === 0) throw new Error(`the shared file ends ${into.length - done} bytes early`);
      done += n;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}
