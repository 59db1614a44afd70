/** What a `FileHandle` does by its descriptor: Yarn's Plug'n'Play gives handles whose `sync` and `utimes` only throw. */

import { fsync, futimes } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';

const sync = promisify(fsync);
const setTimes = promisify(futimes);

/** Returns when the file is on the disk. */
export const syncFile = (handle: FileHandle): Promise<void> => sync(handle.fd);

/** Seconds since 1970, of the last access and the last change. */
export const setFileTimes = (handle: FileHandle, accessed: number, changed: number): Promise<void> =>
  setTimes(handle.fd, accessed, changed);
