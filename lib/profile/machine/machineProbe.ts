/** What reading the machine needs of `doctor`'s probe; tests replace it by another machine. */

import type { Probe } from '../../doctor/probe.ts';

export type MachineProbe = Pick<Probe, 'readText' | 'list' | 'run'>;

/** A number in a file of its own, as sysfs has them; null when it cannot be read: a sensor may be switched off. */
export function readNumber(probe: MachineProbe, path: string): number | null {
  const text = probe.readText(path)?.trim() ?? '';
  return /^-?\d+$/.test(text) ? Number(text) : null;
}

export function readWord(probe: MachineProbe, path: string): string | null {
  const text = probe.readText(path)?.replaceAll('\0', '').trim() ?? '';
  return text === '' ? null : text;
}
