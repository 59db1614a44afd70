/** One line of `doctor`: something that a machine has or lacks. */

/** `absent`: not installed, but the CPU runtime predicts without it; `missing`: needed. */
export type CheckStatus = 'ok' | 'absent' | 'missing';

/** One row of `semanticvla doctor`: what was checked, what was found, and the command that fixes it. */
export interface Check {
  readonly name: string;
  readonly status: CheckStatus;
  /** What is there. */
  readonly found: string;
  /** The command that installs it; null if none is needed or none exists. */
  readonly fix: string | null;
}
