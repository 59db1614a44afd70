/** What the machine is: board, processor, operating system, real or virtual. */

import { availableParallelism } from 'node:os';
import { type MachineProbe, readNumber, readWord } from '../support/machineProbe.ts';

const cpuRoot = '/sys/devices/system/cpu';

/** `NVIDIA Jetson AGX Orin Developer Kit`; on other machines what the firmware says, or `unknown`. */
export function readBoard(probe: MachineProbe): string {
  const model = readWord(probe, '/proc/device-tree/model');
  if (model !== null) return model;
  const dmi = ['sys_vendor', 'product_name'].map((name) => readWord(probe, `/sys/class/dmi/id/${name}`));
  return dmi.filter((word) => word !== null).join(' ') || 'unknown';
}

/** Name and folder of every core that is switched on, in order. */
export function onlineCores(probe: MachineProbe): { readonly name: string; readonly dir: string }[] {
  return probe
    .list(cpuRoot)
    .filter((entry) => /^cpu\d+$/.test(entry) && readNumber(probe, `${cpuRoot}/${entry}/online`) !== 0)
    .sort((a, b) => Number(a.slice(3)) - Number(b.slice(3)))
    .map((name) => ({ name, dir: `${cpuRoot}/${name}` }));
}

export const countCores = (probe: MachineProbe): number =>
  onlineCores(probe).length || availableParallelism();

/** For example `performance`; several, separated by commas, if cores differ; null without cpufreq (most virtual machines). */
export function readGovernor(probe: MachineProbe): string | null {
  const names = onlineCores(probe).map(({ dir }) => readWord(probe, `${dir}/cpufreq/scaling_governor`));
  return [...new Set(names.filter((name) => name !== null))].sort().join(',') || null;
}

/** `Ubuntu 22.04.5 LTS, Linux 5.15.148-tegra` */
export function readOs(probe: MachineProbe): string {
  const name = /^PRETTY_NAME="?([^"\n]*)/m.exec(probe.readText('/etc/os-release') ?? '')?.[1];
  const kernel = readWord(probe, '/proc/sys/kernel/osrelease');
  return [name, kernel && `Linux ${kernel}`].filter(Boolean).join(', ') || process.platform;
}

/** `virtual machine`, `container`, or both; null if neither is visible. */
export function readVirtual(probe: MachineProbe): string | null {
  const flags = /^flags\s*:(.*)$/m.exec(probe.readText('/proc/cpuinfo') ?? '')?.[1] ?? '';
  const marks = ['/.dockerenv', '/run/.containerenv', '/run/systemd/container'];
  const kinds = [
    ...(/\bhypervisor\b/.test(flags) ? ['virtual machine'] : []),
    ...(marks.some((path) => probe.readText(path) !== null) ? ['container'] : []),
  ];
  return kinds.join(', ') || null;
}

/** GPUs in a Jetson's chip, by the device tree's `compatible`. Thor's compute capability is 11.0 since CUDA 13. */
const tegraGpus: Readonly<Record<string, { readonly name: string; readonly computeCapability: string }>> = {
  'nvidia,tegra234': { name: 'Orin (integrated)', computeCapability: '8.7' },
  'nvidia,tegra264': { name: 'Thor (integrated)', computeCapability: '11.0' },
};

export function readTegraGpu(probe: MachineProbe): (typeof tegraGpus)[string] | null {
  const compatible = (probe.readText('/proc/device-tree/compatible') ?? '').split('\0');
  return tegraGpus[compatible.find((name) => name in tegraGpus) ?? ''] ?? null;
}
