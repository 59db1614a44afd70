/** What the CPU runtime's 8-bit products can add without loss on this processor. */

import { readFileSync } from 'node:fs';

/**
 * Bits of the activations for which sums are exact. 8 on Arm, and on x86 with VNNI. ONNX Runtime's kernels for other x86
 * processors (vpmaddubsw) add two products of uint8 and int8 in 16 bits with saturation: 2 * 255 * 127 does not fit, 2 * 127 * 127
 * does.
 *
 * @param cpuInfo text of /proc/cpuinfo; unreadable counts as without VNNI
 */
export function activationBits(arch: string = process.arch, cpuInfo: string = readCpuInfo()): 7 | 8 {
  if (arch !== 'x64') return 8;
  const flags = /^flags\s*:(.*)$/m.exec(cpuInfo)?.[1]?.split(' ') ?? [];
  return flags.includes('avx512_vnni') || flags.includes('avx_vnni') ? 8 : 7;
}

function readCpuInfo(): string {
  try {
    return readFileSync('/proc/cpuinfo', 'utf8');
  } catch {
    return '';
  }
}
