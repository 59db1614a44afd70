/**
 * Folders, made with their parents. Node's own `recursive` never ends where a file system answers ENOENT below a folder that
 * is there (/proc does, and mounts that come on demand may), so every level is tried once.
 */

import { mkdirSync, statSync } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { reason } from './fileAccess.ts';

/** @param mode of the folders that are made  @throws (rejects) what the system says */
export async function makeFolder(path: string, mode = 0o777): Promise<void> {
  const full = resolve(path);
  try {
    await mkdir(full, mode);
  } catch (cause) {
    const parent = dirname(full);
    if (reason(cause) !== 'ENOENT' || parent === full) {
      const isThere = await stat(full).then(
        (info) => info.isDirectory(),
        () => false,
      );
      if (isThere) return;
      throw cause;
    }
    await makeFolder(parent, mode);
    await mkdir(full, mode).catch((again: unknown) => {
      if (reason(again) !== 'EEXIST') throw again;
    });
  }
}

/** The same, synchronously. */
export function makeFolderSync(path: string, mode = 0o777): void {
  const full = resolve(path);
  try {
    mkdirSync(full, mode);
  } catch (cause) {
    const parent = dirname(full);
    if (reason(cause) !== 'ENOENT' || parent === full) {
      if (statSync(full, { throwIfNoEntry: false })?.isDirectory()) return;
      throw cause;
    }
    makeFolderSync(parent, mode);
    try {
      mkdirSync(full, mode);
    } catch (again) {
      if (reason(again) !== 'EEXIST') throw again;
    }
  }
}
