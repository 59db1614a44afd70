/** What a command gets from the outside: where it prints, how it reports progress, when it must stop. */

import type { Progress } from '../checkpoint/checkpoint.ts';
import type { OnNotice } from '../support/notices.ts';

/** Exit codes of every command; `doctor` adds its own (see doctor.ts). */
export const exitCodes = {
  ok: 0,
  /** A check failed: a comparison over its tolerance, a value that is not finite. */
  refused: 1,
  /** A wrong option, or a typed error: the message names what to do. */
  error: 2,
  /** A defect of this program, not an error of the caller. */
  defect: 3,
  /** `bench --fail-if`: the measurement cannot tell. */
  noisy: 4,
  /** Cancelled by SIGINT (Ctrl-C). */
  cancelled: 130,
} as const;

export interface CommandContext {
  /** Text for people, on standard output; nothing when `--json` is given. */
  print(text: string): void;
  /** The one JSON value of a command, on standard output. */
  json(value: unknown): void;
  /** Progress of long work, on standard error. */
  readonly onProgress: (progress: Progress) => void;
  /** What should be known though nothing failed: a line on standard error. */
  readonly onNotice: OnNotice;
  /** Aborted by SIGINT. */
  readonly signal: AbortSignal;
}

/** What every long call of the API takes of it. */
export function hooksOf({
  onProgress,
  onNotice,
  signal,
}: CommandContext): Pick<CommandContext, 'onProgress' | 'onNotice' | 'signal'> {
  return { onProgress, onNotice, signal };
}

/** A command's body; resolves to its exit code. */
export type CommandBody<Flags> = (context: CommandContext, flags: Flags) => Promise<number>;

/** How a command's file hands its body over: `run` gives it a context and keeps its exit code. */
export type Run = <Flags>(body: CommandBody<Flags>, flags: Flags) => Promise<void>;
