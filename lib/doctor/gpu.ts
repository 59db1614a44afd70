/**
 * What this machine has of NVIDIA's stack: card, driver, TensorRT, and CUDA, which is only needed for compiling. Never an
 * error.
 */

import { basename, join } from 'node:path';
import { missingBuilderResource } from '../engine/builderResource.ts';
import { type GpuFacts, readGpus } from '../machine/nvidiaSmi.ts';
import type { Parsed } from '../machine/parsed.ts';
import { packageCommand } from '../support/packageCommand.ts';
import type { Check } from './check.ts';
import type { Probe } from './probe.ts';
import { checkTensorRt } from './tensorRt.ts';

/** Where Debian, Ubuntu, JetPack, NVIDIA's archives and containers put shared libraries. */
const libraryFolders = [
  '/usr/lib/x86_64-linux-gnu',
  '/usr/lib/aarch64-linux-gnu',
  '/usr/local/cuda/lib64',
  '/usr/local/tensorrt/lib',
  '/opt/tensorrt/lib',
  '/usr/lib64',
];

/** Real path of the newest library whose name starts with `stem` (e.g. `libnvinfer.so`); null when none is visible. */
export function findLibrary(probe: Probe, stem: string): string | null {
  const found = new Set<string>();
  for (const line of (probe.run('ldconfig', ['-p']) ?? probe.run('/sbin/ldconfig', ['-p']) ?? '').split(
    '\n',
  )) {
    const path = /=> (\S+)$/.exec(line)?.[1];
    if (path !== undefined && basename(path).startsWith(stem)) found.add(probe.resolve(path));
  }
  const folders = [
    ...(probe.env.LD_LIBRARY_PATH ?? '').split(':').filter((dir) => dir !== ''),
    ...libraryFolders,
  ];
  for (const folder of folders) {
    for (const name of probe.list(folder)) {
      if (name === stem || name.startsWith(`${stem}.`)) found.add(probe.resolve(join(folder, name)));
    }
  }
  return [...found].sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1) ?? null;
}

function versionOf(library: string): string {
  return /\.so\.([\d.]+)$/.exec(library)?.[1] ?? 'unknown version';
}

/** `R36 (release), REVISION: 4.3` -> `Jetson Linux 36.4.3`; null on other machines. */
function jetsonRelease(probe: Probe): string | null {
  const text = probe.readText('/etc/nv_tegra_release');
  const match = text && /R(\d+).*?REVISION:\s*([\d.]+)/.exec(text);
  return match ? `Jetson Linux ${match[1]}.${match[2]}` : null;
}

function hasNvidiaPciDevice(probe: Probe): boolean {
  const root = '/sys/bus/pci/devices';
  return probe.list(root).some((device) => {
    const vendor = probe.readText(join(root, device, 'vendor'))?.trim();
    // Class 0x03....: display controller; NVIDIA's sound and USB functions do not count.
    return vendor === '0x10de' && probe.readText(join(root, device, 'class'))?.startsWith('0x03') === true;
  });
}

interface Card {
  readonly found: string;
  /** null: the card is there and its driver is not. */
  readonly driver: string | null;
  /** Compute capability (87); null: not told. */
  readonly capability: number | null;
}

/** `8.9` -> 89 */
function capabilityOf(text: string | null | undefined): number | null {
  const parts = /^(\d+)\.(\d)$/.exec(text ?? '');
  return parts === null ? null : 10 * Number(parts[1]) + Number(parts[2]);
}

/** By the board's name, since a Jetson's driver does not tell. */
const jetsonCapabilities = [
  [/Orin/, 87],
  [/Thor/, 110],
] as const;

/** `NVIDIA GeForce RTX 4090, 24564 MiB, SM 8.9`, without what the GPU does not tell. */
function gpuInWords(gpu: Parsed<GpuFacts>): string {
  if ('malformed' in gpu) return `NVIDIA GPU (${gpu.malformed})`;
  const { name, memoryBytes, computeCapability } = gpu.value;
  return [
    name,
    ...(memoryBytes === null ? [] : [`${memoryBytes / 2 ** 20} MiB`]),
    ...(computeCapability === null ? [] : [`SM ${computeCapability}`]),
  ].join(', ');
}

function findCard(probe: Probe): Card | null {
  const jetson = jetsonRelease(probe);
  if (jetson !== null) {
    const model = probe.readText('/proc/device-tree/model')?.replace(/\0/g, '').trim() ?? 'Jetson';
    const capability = jetsonCapabilities.find(([name]) => name.test(model))?.[1] ?? null;
    return { found: model, driver: jetson, capability };
  }
  const gpus = readGpus(probe);
  if (gpus.length > 0) {
    const drivers = gpus.map((gpu) => ('value' in gpu ? gpu.value.driver : null));
    return {
      found: gpus.map(gpuInWords).join('; '),
      driver: drivers.find((driver) => driver !== null) ?? 'unknown version',
      // the one that a policy takes
      capability: capabilityOf('value' in gpus[0]! ? gpus[0].value.computeCapability : null),
    };
  }
  const module = probe.readText('/proc/driver/nvidia/version');
  if (module !== null) {
    const driver = /Kernel Module\D*([\d.]+)/.exec(module)?.[1] ?? 'unknown version';
    return { found: 'NVIDIA GPU (nvidia-smi does not answer)', driver, capability: null };
  }
  return hasNvidiaPciDevice(probe)
    ? { found: 'NVIDIA GPU on the PCI bus', driver: null, capability: null }
    : null;
}

const noGpu = 'none; the CPU runtime is used';

/** The rows about the GPU; each needs those above it. */
export function checkGpu(probe: Probe): Check[] {
  const card = findCard(probe);
  const jetson = jetsonRelease(probe) !== null;
  const cudart = findLibrary(probe, 'libcudart.so');
  const check = (name: string, found: string | null, missing: string, fix: string | null): Check =>
    found === null
      ? { name, status: 'absent', found: missing, fix: card === null ? null : fix }
      : { name, status: 'ok', found, fix: null };
  const state = probe.tensorRt();
  const lacks =
    'found' in state && card !== null && card.capability !== null
      ? missingBuilderResource(state.found, card.capability, probe)
      : null;
  const jetpack = 'sudo apt-get install -y nvidia-jetpack';
  return [
    check('GPU', card?.found ?? null, noGpu, null),
    check('GPU driver', card?.driver ?? null, 'none', 'sudo apt-get install -y nvidia-driver'),
    check(
      'CUDA runtime',
      cudart && `${versionOf(cudart)}, ${cudart}`,
      `libcudart not visible; only \`${packageCommand('npm run build:native')}\` needs a toolkit`,
      jetson ? jetpack : 'sudo apt-get install -y nvidia-cuda-toolkit',
    ),
    ...checkTensorRt(state, card !== null, jetson, lacks),
  ];
}
