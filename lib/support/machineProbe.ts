/** How the machine is examined; replaced in tests to imitate other machines. */

import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

export interface MachineProbe {
  /** Text of a file; null when it cannot be read. */
  readText(path: string): string | null;
  /** Names in a folder; empty when it cannot be read. */
  list(path: string): readonly string[];
  /** Standard output of a command that ended with 0; null otherwise, or after five seconds. */
  run(command: string, args: readonly string[]): string | null;
}

const limitMs = 5000;

export const machineProbe: MachineProbe = {
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
  run(command, args) {
    const { status, stdout } = spawnSync(command, args, { encoding: 'utf8', timeout: limitMs });
    return status === 0 ? stdout : null;
  },
};

/** A number in a file of its own, as in sysfs; null if it cannot be read, since a sensor may be switched off. */
export function readNumber(probe: MachineProbe, path: string): number | null {
  const text = probe.readText(path)?.trim() ?? '';
  return /^-?\d+$/.test(text) ? Number(text) : null;
}

export function readWord(probe: MachineProbe, path: string): string | null {
  const text = probe.readText(path)?.replaceAll('\0', '').trim() ?? '';
  return text === '' ? null : text;
}
