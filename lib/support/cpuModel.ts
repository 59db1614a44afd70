/** Which processor this is. */

import type { MachineProbe } from './machineProbe.ts';

/** Arm cores do not tell their name, only their part number (MIDR): those of Orin and Thor. */
const armParts: Readonly<Record<string, string>> = { '0xd42': 'Cortex-A78AE', '0xd83': 'Neoverse-V3AE' };

/** `Cortex-A78AE`, `Arm part 0xd0c`, what an x86 processor calls itself; `unknown` where /proc/cpuinfo says neither. */
export function readCpuModel(probe: Pick<MachineProbe, 'readText'>): string {
  const info = probe.readText('/proc/cpuinfo') ?? '';
  const model = /^model name\s*:\s*(.*\S)/m.exec(info)?.[1];
  const part = /^CPU part\s*:\s*(\S+)/m.exec(info)?.[1];
  return model ?? (part === undefined ? 'unknown' : (armParts[part] ?? `Arm part ${part}`));
}
