/**
 * What a caller should know although nothing failed: a fallback that was taken, a file that looks left over, a cache that was
 * started anew. Reported as soon as it is known (`onNotice`), and kept where it can be read later (`notices` of a checkpoint, a
 * policy, an `inspect` report). Anything that would compute something other than what was trained is an error, not a notice.
 */

import { isolated } from './isolated.ts';

/** Every notice, one code each. Codes are never reused or renamed. */
export type NoticeCode =
  // a checkpoint
  | 'STATISTICS_FROM_CONFIG'
  | 'STEPS_MIXED'
  | 'FILE_UNREAD'
  | 'ARCHIVE_WITHOUT_CRC'
  | 'MERGE_RENEWED'
  | 'EXAMPLE_RENEWED'
  // a policy
  | 'CAMERAS_FROM_PLATFORM'
  | 'PROPRIO_UNUSED'
  | 'FILM_ABSENT'
  | 'DIFFUSION_STEPS_ASSUMED'
  | 'STAGES_ON_CPU'
  // a policy in 8 bits
  | 'PRECISION_NOT_COMPARED'
  | 'PRECISION_FAILED'
  | 'PRECISION_SEVEN_BITS'
  // no GPU: a library for tests was named
  | 'TENSORRT_STAND_IN'
  // a session: costs time and nothing else
  | 'GRAPH_NOT_CAPTURED'
  // an engine cache: costs time and nothing else
  | 'TIMING_CACHE_RENEWED'
  | 'TIMING_CACHE_NOT_KEPT'
  | 'KERNELS_RENEWED'
  | 'KERNELS_NOT_KEPT'
  | 'ENGINE_WAIT';

/** Something to know although nothing failed. */
export interface Notice {
  readonly code: NoticeCode;
  /** A sentence or two, as in an error: what was looked at, expected, found, and what to do. */
  readonly message: string;
}

/** Receives notices as soon as they are known. */
export type OnNotice = (notice: Notice) => void;

/** Where notices go when nobody listens: a warning of the process, on standard error unless that is switched off. */
export function warn({ code, message }: Notice): void {
  process.emitWarning(message, { type: 'SemanticVlaNotice', code });
}

/** Reports each notice once, immediately, and keeps it. */
export class NoticeLog {
  readonly #said: Notice[] = [];
  readonly #onNotice: OnNotice;

  constructor(onNotice: OnNotice = warn) {
    this.#onNotice = isolated('onNotice', onNotice);
  }

  /** In order; grows as more is said. */
  get notices(): readonly Notice[] {
    return this.#said;
  }

  readonly add: OnNotice = (notice) => {
    if (this.#said.some(({ code, message }) => code === notice.code && message === notice.message)) return;
    this.#said.push(notice);
    this.#onNotice(notice);
  };
}
