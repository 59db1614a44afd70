/** What the machine is: board, processor, operating system, real or virtual. */

import { availableParallelism } from 'node:os';
import { type MachineProbe, readNumber, readWord } from '../../support/machineProbe.ts';

const cpuRoot = '/sys/devices/system/cpu';

/** `NVIDIA Jetson AGX Orin Developer Kit`; on other machines what the firmware says, or `unknown`. */
export function readBoard(probe: MachineProbe): string {
  const model = readWord(probe, '/proc/device-tree/model');
  if (model !== null) return model;
  const dmi = ['sys_vendor', 'product_name'].map((name) => readWord(probe, `/sys/class/dmi/id/${name}`));
  return dmi.filter((word) => word !== null).join(' ') || 'unknown';
}

/** Number of cores that are switched on. */
export function countCores(probe: MachineProbe): number {
  const cores = probe
    .list(cpuRoot)
    .filter((entry) => /^cpu\d+$/.test(entry) && readNumber(probe, `${cpuRoot}/${entry}/online`) !== 0);
  return cores.length === 0 ? availableParallelism() : cores.length;
}

/** `Ubuntu 22.04.5 LTS, Linux 5.15.148-tegra` */
export function readOs(probe: MachineProbe): string {
  const name = /^PRETTY_NAME="?([^"\n]*)/m.exec(probe.readText('/etc/os-release') ?? '')?.[1];
  const kernel = readWord(probe, '/proc/sys/kernel/osrelease');
  return (
    [name, kernel === null ? undefined : `Linux ${kernel}`].filter((part) => part).join(', ') ||
    process.platform
  );
}

/** `virtual machine`, `container`, or both; null if neither is visible. */
export function readVirtual(probe: MachineProbe): string | null {
  const flags = /^flags\s*:(.*)$/m.exec(probe.readText('/proc/cpuinfo') ?? '')?.[1] ?? '';
  const kinds = [
    /\bhypervisor\b/.test(flags) ? 'virtual machine' : null,
    ['/.dockerenv', '/run/.containerenv', '/run/systemd/container'].some(
      (path) => probe.readText(path) !== null,
    )
      ? 'container'
      : null,
  ].filter((kind) => kind !== null);
  return kinds.length === 0 ? null : kinds.join(', ');
}

/** Whether the machine runs on its battery; null if it has none. Batteries of mice and other devices do not count. */
export function readOnBattery(probe: MachineProbe): boolean | null {
  const root = '/sys/class/power_supply';
  const batteries = probe
    .list(root)
    .map((entry) => `${root}/${entry}`)
    .filter(
      (dir) => readWord(probe, `${dir}/type`) === 'Battery' && readWord(probe, `${dir}/scope`) !== 'Device',
    );
  return batteries.length === 0
    ? null
    : batteries.some((dir) => readWord(probe, `${dir}/status`) === 'Discharging');
}

/** GPUs in a Jetson's chip, by the device tree's `compatible`. Thor's compute capability is 11.0 since CUDA 13. */
const tegraGpus: Readonly<Record<string, { readonly name: string; readonly computeCapability: string }>> = {
  'nvidia,tegra234': { name: 'Orin (integrated)', computeCapability: '8.7' },
  'nvidia,tegra264': { name: 'Thor (integrated)', computeCapability: '11.0' },
};

export function readTegraGpu(
  probe: MachineProbe,
): { readonly name: string; readonly computeCapability: string } | null {
  const compatible = (probe.readText('/proc/device-tree/compatible') ?? '').split('\0');
  const chip = compatible.find((name) => name in tegraGpus);
  return chip === undefined ? null : tegraGpus[chip]!;
}
