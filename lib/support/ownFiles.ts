/** Files that this program wrote itself and reads back, and who else could have changed them. */

import { constants } from 'node:fs';
import { type FileHandle, link, open, rename, unlink } from 'node:fs/promises';
import { reason } from './fileAccess.ts';

/** Why a file is not accepted as ours. */
export interface Foreign {
  readonly expected: string;
  readonly found: string;
  /** What to do about it, unless that is to remove it. */
  readonly next?: string;
}

/** null if only this user and root can have written it. */
export function foreignOwner(
  path: string,
  info: { readonly uid: number; readonly mode: number },
): Foreign | null {
  const uid = process.getuid?.() ?? info.uid;
  if (info.uid !== uid && info.uid !== 0) return { expected: `owner ${uid}`, found: `owner ${info.uid}` };
  if ((info.mode & 0o002) === 0) return null;
  return {
    expected: 'no right to write for others',
    found: `mode ${(info.mode & 0o7777).toString(8)}`,
    next: `chmod o-w ${path}`,
  };
}

export interface OwnFile {
  /** The caller closes it. */
  readonly handle: FileHandle;
  readonly bytes: number;
}

/** Opens a regular file of ours; null if there is none. Links are not followed. @throws what `refuse` makes of the reason */
export async function openOwn(path: string, refuse: (foreign: Foreign) => Error): Promise<OwnFile | null> {
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (cause) {
    const code = reason(cause);
    if (code === 'ENOENT') return null;
    throw refuse({ expected: 'a regular file', found: code === 'ELOOP' ? 'a symbolic link' : code });
  }
  try {
    const info = await handle.stat();
    if (!info.isFile()) throw refuse({ expected: 'a regular file', found: 'a folder or a device' });
    const foreign = foreignOwner(path, info);
    if (foreign !== null) throw refuse(foreign);
    return { handle, bytes: info.size };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * Moves a finished temporary file into place. If another process has put a sound one there meanwhile, that one stays: processes
 * that have opened it would otherwise find a different file in its place.
 *
 * @param isSound whether the existing file is what the temporary file is
 * @throws (rejects) the error of the system; the temporary file is then still there
 */
export async function putInPlace(
  temporary: string,
  file: string,
  isSound: () => Promise<boolean>,
): Promise<void> {
  try {
    await link(temporary, file);
  } catch (cause) {
    // the existing file is not sound, or the file system has no hard links
    if (reason(cause) !== 'EEXIST' || !(await isSound())) return rename(temporary, file);
  }
  await unlink(temporary);
}
