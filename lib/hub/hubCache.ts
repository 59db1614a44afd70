/**
 * The hub's cache on this machine, laid out as Python's huggingface_hub lays it out, so that either finds what the other fetched:
 *
 *     models--owner--name/blobs/<sha256 or git's sha1>
 *     models--owner--name/snapshots/<commit>/<path>      a relative link to the blob
 *     models--owner--name/refs/<branch or tag>           the commit it was seen at
 */

import { rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { readText, reason } from '../support/fileAccess.ts';
import { makeFolder } from '../support/makeFolder.ts';
import { type HubName, isCommit } from './hubName.ts';

export class HubCache {
  /** The repository's folder. */
  readonly folder: string;

  constructor(cache: string, { repo }: HubName) {
    this.folder = join(cache, `models--${repo.replace('/', '--')}`);
  }

  blob(name: string): string {
    return join(this.folder, 'blobs', name);
  }

  snapshot(commit: string): string {
    return join(this.folder, 'snapshots', commit);
  }

  /** The commit of a revision when it was last fetched; null if it never was. */
  async commitOf(revision: string): Promise<string | null> {
    if (isCommit(revision)) return revision;
    const file = join(this.folder, 'refs', revision);
    const text = await readText(file, { missing: 'CHECKPOINT_NOT_FOUND', cap: 4096 }).catch(() => '');
    return isCommit(text.trim()) ? text.trim() : null;
  }

  async setCommit(revision: string, commit: string): Promise<void> {
    if (isCommit(revision)) return;
    const file = join(this.folder, 'refs', revision);
    await makeFolder(dirname(file));
    await writeFile(`${file}.${process.pid}`, commit);
    await rename(`${file}.${process.pid}`, file);
  }

  /** Puts a file of a snapshot in place, replacing what was there. */
  async link(commit: string, path: string, blob: string): Promise<void> {
    const file = join(this.snapshot(commit), path);
    await makeFolder(dirname(file));
    const target = relative(dirname(file), this.blob(blob));
    const beside = `${file}.${process.pid}`;
    await rm(beside, { force: true });
    await symlink(target, beside);
    await rename(beside, file);
  }

  /** Whether a file of a snapshot is there, and complete. */
  async has(commit: string, path: string, size?: number): Promise<boolean> {
    try {
      const info = await stat(join(this.snapshot(commit), path));
      return info.isFile() && (size === undefined || info.size === size);
    } catch (error) {
      if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(reason(error))) return false;
      throw error;
    }
  }
}
