/** Whether the files of weights are still those that were opened: size, time of the last change, and which file it is. */

import { fstatSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { stat } from 'node:fs/promises';
import { SemanticVlaError } from '../support/errors.ts';
import { openRegular, reason } from '../support/fileAccess.ts';

export interface FileState {
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly dev: bigint;
  readonly ino: bigint;
}

export type FileStates = ReadonlyMap<string, FileState>;

/** Of each file, once. @throws (rejects) CHECKPOINT_FILE_MISSING */
export async function statesOf(files: Iterable<string>): Promise<FileStates> {
  const states = new Map<string, FileState>();
  for (const file of new Set(files)) {
    const info = await stat(file, { bigint: true }).catch((cause: unknown) => {
      throw new SemanticVlaError(
        'CHECKPOINT_FILE_MISSING',
        `${file}: expected a file of the checkpoint, found ${reason(cause)}.`,
        { cause },
      );
    });
    states.set(file, info);
  }
  return states;
}

/** @throws (rejects) CHECKPOINT_CHANGED, CHECKPOINT_FILE_MISSING */
export async function requireUnchanged(states: FileStates): Promise<void> {
  const now = await statesOf(states.keys());
  for (const [file, state] of states) compare(file, state, now.get(file)!);
}

interface Watched {
  readonly file: string;
  readonly state: FileState;
  readonly handle: FileHandle;
}

/**
 * Files held open for as long as something maps them. What is compared are these open files: one that is replaced by a
 * rename leaves the mapping as it was, one that is written or cut in place does not.
 */
export class WatchedFiles {
  readonly #files: readonly Watched[];

  private constructor(files: readonly Watched[]) {
    this.#files = files;
  }

  /** @throws (rejects) CHECKPOINT_CHANGED when a file is no longer as `states` say, CHECKPOINT_FILE_MISSING */
  static async open(states: FileStates): Promise<WatchedFiles> {
    const files: Watched[] = [];
    const watched = new WatchedFiles(files);
    try {
      for (const [file, state] of states) {
        const { handle } = await openRegular(file, { missing: 'CHECKPOINT_FILE_MISSING' });
        files.push({ file, state, handle });
      }
      watched.check();
      return watched;
    } catch (error) {
      await watched.close();
      throw error;
    }
  }

  /** A few microseconds a file. @throws CHECKPOINT_CHANGED */
  check(): void {
    for (const { file, state, handle } of this.#files)
      compare(file, state, fstatSync(handle.fd, { bigint: true }));
  }

  async close(): Promise<void> {
    await Promise.all(this.#files.map(({ handle }) => handle.close()));
  }
}

function compare(file: string, then: FileState, now: FileState): void {
  const changed =
    then.size !== now.size
      ? `${then.size} bytes, found ${now.size}`
      : then.dev !== now.dev || then.ino !== now.ino
        ? 'the file that was opened, found another in its place'
        : then.mtimeNs !== now.mtimeNs
          ? `the content of ${inWords(then)}, found one that was written at ${inWords(now)}`
          : null;
  if (changed === null) return;
  throw new SemanticVlaError(
    'CHECKPOINT_CHANGED',
    `${file}: expected ${changed}: the checkpoint changed after it was opened. Load the policy again; put new weights into a new folder, never over those that a policy runs from.`,
  );
}

function inWords({ mtimeNs }: FileState): string {
  return new Date(Number(mtimeNs / 1_000_000n)).toISOString();
}
