/** Whether the files of weights are still those that were opened: size, time of the last change, and which file it is. */

import { type BigIntStats, closeSync, constants, fstatSync, openSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { SemanticVlaError } from '../support/errors.ts';
import { reason } from '../support/fileAccess.ts';

export interface FileState {
  readonly size: bigint;
  readonly mtimeNs: bigint;
  /** Time of the last change of any kind, even where `mtimeNs` was reset. null: not compared. */
  readonly ctimeNs: bigint | null;
  readonly dev: bigint;
  readonly ino: bigint;
  /** Changes of `ctimeNs` that do not concern the content. */
  readonly nlink: bigint;
  readonly mode: bigint;
  readonly uid: bigint;
  readonly gid: bigint;
}

export type FileStates = ReadonlyMap<string, FileState>;

/**
 * The state of each file.
 *
 * @param cached a file of our own cache, whose time of last use other processes set
 * @throws (rejects) CHECKPOINT_FILE_MISSING
 */
export async function statesOf(files: Iterable<string>, cached?: string): Promise<FileStates> {
  const states = new Map<string, FileState>();
  for (const file of new Set(files)) {
    const info = await stat(file, { bigint: true }).catch((cause: unknown) => {
      throw missing(file, cause);
    });
    states.set(file, file === cached ? { ...stateOf(info), ctimeNs: null } : stateOf(info));
  }
  return states;
}

function stateOf({ size, mtimeNs, ctimeNs, dev, ino, nlink, mode, uid, gid }: BigIntStats): FileState {
  return { size, mtimeNs, ctimeNs, dev, ino, nlink, mode, uid, gid };
}

/** @throws (rejects) CHECKPOINT_CHANGED, CHECKPOINT_FILE_MISSING */
export async function requireUnchanged(states: FileStates): Promise<void> {
  const now = await statesOf(states.keys());
  for (const [file, state] of states) compare(file, state, now.get(file)!);
}

interface Watched {
  readonly file: string;
  readonly state: FileState;
  /** Not a FileHandle: Node would warn when a policy that was dropped without `close` is collected. */
  readonly fd: number;
}

/**
 * Files held open for as long as they are mapped. The open files are compared: one that is replaced by a
 * rename leaves the mapping unchanged, one that is written or cut in place does not.
 */
export class WatchedFiles {
  readonly #files: readonly Watched[];

  private constructor(files: readonly Watched[]) {
    this.#files = files;
  }

  /** @throws CHECKPOINT_CHANGED when a file is no longer as `states` say, CHECKPOINT_FILE_MISSING */
  static open(states: FileStates): WatchedFiles {
    const files: Watched[] = [];
    const watched = new WatchedFiles(files);
    try {
      for (const [file, state] of states) files.push({ file, state, fd: openNow(file) });
      watched.check();
      return watched;
    } catch (error) {
      watched.close();
      throw error;
    }
  }

  /** Takes microseconds per file. @throws CHECKPOINT_CHANGED */
  check(): void {
    for (const { file, state, fd } of this.#files) compare(file, state, fstatSync(fd, { bigint: true }));
  }

  /** Once. */
  close(): void {
    for (const { fd } of this.#files) closeSync(fd);
  }
}

/** O_NONBLOCK: a FIFO that has taken its place is found by the comparison. */
function openNow(file: string): number {
  try {
    return openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    throw missing(file, cause);
  }
}

function missing(file: string, cause: unknown): SemanticVlaError {
  return new SemanticVlaError(
    'CHECKPOINT_FILE_MISSING',
    `${file}: expected a file of the checkpoint, found ${reason(cause)}. Copy it again, and load the policy anew.`,
    { cause },
  );
}

function compare(file: string, then: FileState, now: FileState): void {
  const changed =
    then.size !== now.size
      ? `${then.size} bytes, found ${now.size}`
      : then.dev !== now.dev || then.ino !== now.ino
        ? 'the file that was opened, found another in its place'
        : then.mtimeNs !== now.mtimeNs
          ? `the content of ${inWords(then)}, found one that was written at ${inWords(now)}`
          : isTouched(then, now)
            ? 'the file as it was, found one that was written and given its old time'
            : null;
  if (changed === null) return;
  throw new SemanticVlaError(
    'CHECKPOINT_CHANGED',
    `${file}: expected ${changed}: the checkpoint changed after it was opened. Load the policy again; put new weights into a new folder, never over those that a policy runs from.`,
  );
}

/** Names, permissions and owners may change; any other change of ctime may be the content. */
function isTouched(then: FileState, now: FileState): boolean {
  if (then.ctimeNs === null || then.ctimeNs === now.ctimeNs) return false;
  return (['nlink', 'mode', 'uid', 'gid'] as const).every((field) => then[field] === now[field]);
}

function inWords({ mtimeNs }: FileState): string {
  return new Date(Number(mtimeNs / 1_000_000n)).toISOString();
}
