/**
 * One builder of one plan at a time, across processes. The kernel holds the lock (flock) and gives it back when its owner
 * ends, however it ends, so there is nothing to recover and no clock to trust. The file stays; it is empty.
 */

import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadAddon } from '../addon/binding.ts';
import { SemanticVlaError } from '../support/errors.ts';

/** Polling interval of a waiting process, and so the delay after a killed owner. */
const pollMs = 50;

export interface EngineLock {
  release(): Promise<void>;
}

export interface LockOptions {
  readonly signal?: AbortSignal;
  /** Called once when another process holds the lock. */
  readonly onWait?: () => void;
}

/** Waits until the lock is ours. @throws (rejects) CACHE_UNWRITABLE, or the signal's reason */
export async function lockEngine(path: string, options: LockOptions = {}): Promise<EngineLock> {
  const { signal, onWait } = options;
  const handle = await openLock(path);
  try {
    let waited = false;
    while (!loadAddon().tryLock(handle.fd)) {
      if (!waited) onWait?.();
      waited = true;
      await sleep(pollMs, undefined, signal === undefined ? {} : { signal });
    }
    return { release: () => handle.close() };
  } catch (error) {
    await handle.close();
    signal?.throwIfAborted();
    throw error;
  }
}

async function openLock(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (cause) {
    throw new SemanticVlaError(
      'CACHE_UNWRITABLE',
      `${path}: expected to make a lock file there, found ${(cause as Error).message}. Set SEMANTICVLA_CACHE to a folder that can be written.`,
      { cause },
    );
  }
}
