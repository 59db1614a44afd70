/** Which processor this is. */

import type { MachineProbe } from './machineProbe.ts';

/** Arm cores report no name, only a part number (MIDR); these are the cores of Orin and Thor. */
const armParts: Readonly<Record<string, string>> = { '0xd42': 'Cortex-A78AE', '0xd83': 'Neoverse-V3AE' };

/**
 * `Cortex-A78AE`, `Arm part 0xd0c`, or the name that an x86 processor reports; `unknown` if /proc/cpuinfo has none of these.
 */
export function readCpuModel(probe: Pick<MachineProbe, 'readText'>): string {
  const info = probe.readText('/proc/cpuinfo') ?? '';
  const model = /^model name\s*:\s*(.*\S)/m.exec(info)?.[1];
  const part = /^CPU part\s*:\s*(\S+)/m.exec(info)?.[1];
  return model ?? (part === undefined ? 'unknown' : (armParts[part] ?? `Arm part ${part}`));
}
