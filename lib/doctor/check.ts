/** One line of `doctor`: something that a machine has or lacks. */

/** `absent`: not there, and the CPU runtime predicts without it; `missing`: needed. */
export type CheckStatus = 'ok' | 'absent' | 'missing';

/** One row of `semanticvla doctor`: what was looked at, what was found, and the command that repairs it. */
export interface Check {
  readonly name: string;
  readonly status: CheckStatus;
  /** What is there. */
  readonly found: string;
  /** The command that gets it; null when nothing is needed or can be done. */
  readonly fix: string | null;
}
