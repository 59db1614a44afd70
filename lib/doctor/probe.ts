/** How `doctor` looks at a machine; replaced in tests to show it other machines. */

import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, realpathSync } from 'node:fs';
import { type TensorRtState, tensorRtState } from './tensorRt.ts';

export interface Probe {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Text of a file; null when it cannot be read. */
  readText(path: string): string | null;
  /** Names in a folder; empty when it cannot be read. */
  list(path: string): readonly string[];
  /** Where a link leads; the path itself when it is none or leads nowhere. */
  resolve(path: string): string;
  /** Standard output of a command that ended with 0; null otherwise, or after five seconds. */
  run(command: string, args: readonly string[]): string | null;
  /** What the search for a TensorRT library ends with; it opens libraries. */
  tensorRt(): TensorRtState;
}

const limitMs = 5000;

export const machineProbe: Probe = {
  env: process.env,
  readText(path) {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return null;
    }
  },
  list(path) {
    try {
      return readdirSync(path);
    } catch {
      return [];
    }
  },
  resolve(path) {
    try {
      return realpathSync(path);
    } catch {
      return path;
    }
  },
  run(command, args) {
    const { status, stdout } = spawnSync(command, args, { encoding: 'utf8', timeout: limitMs });
    return status === 0 ? stdout : null;
  },
  tensorRt: tensorRtState,
};
