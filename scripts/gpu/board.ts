/** Whether a Jetson can be measured as it is: its JetPack, TensorRT, compiler, memory and disk, power mode and clocks. */

import { statfsSync } from 'node:fs';
import { findLibrary } from '../../lib/doctor/gpu.ts';
import { doctorProbe, type Probe } from '../../lib/doctor/probe.ts';
import { parseTegraRelease } from '../../lib/machine/jetson.ts';
import { settingRows } from '../../lib/machine/machineRows.ts';
import { readMachine } from '../../lib/machine/readMachine.ts';
import { machineWarnings } from '../../lib/machine/warnings.ts';

export interface BoardProbe extends Probe {
  /** Bytes free where checkpoints and engines go. */
  freeDisk(): number;
}

/** @param root where a board's files are, for tests; empty: this machine */
export const boardProbe = (work: string, root = process.env.SEMANTICVLA_BOARD_ROOT ?? ''): BoardProbe => ({
  ...doctorProbe,
  readText: (path) => doctorProbe.readText(root + path),
  list: (path) => doctorProbe.list(root + path),
  freeDisk() {
    const { bavail, bsize } = statfsSync(work);
    return bavail * bsize;
  },
});

export interface BoardCheck {
  /** In the words of `bench`, for the report. */
  readonly facts: Readonly<Record<string, string>>;
  /** Why nothing can be measured, and the next step; null: it can. */
  readonly refusal: string | null;
  /** Why the full size is left out; null: it is measured. */
  readonly tooSmall: string | null;
  /** What makes figures hard to compare. */
  readonly advice: readonly string[];
}

const gigabyte = 1e9;
/** The build, golden policies, and a twin of few layers with its engines. */
const leastDisk = 8;
const leastMemory = 6;
/** 20 GB of a checkpoint and 3 of merged weights on the disk; 15 GB of weights in memory, which the device shares; the system. */
const fullDisk = 28;
const fullMemory = 22;

interface Family {
  readonly name: string;
  readonly supports: RegExp;
  readonly wanted: string;
}

/** JetPack before 6.1 has TensorRT 8; 7.0 and 7.1 are Thor's alone. */
const families: Readonly<Record<string, Family>> = {
  '8.7': { name: 'Orin', supports: /^(6\.[1-9]|7\.[2-9])/, wanted: '6.1, 6.2 or 7.2' },
  '11.0': { name: 'Thor', supports: /^7\./, wanted: '7.0 or newer' },
};

const stackPackages = 'sudo apt-get update && sudo apt-get install -y nvidia-jetpack';

export function checkBoard(probe: BoardProbe): BoardCheck {
  const machine = readMachine({ probe });
  const available =
    Number(/^MemAvailable:\s+(\d+) kB/m.exec(probe.readText('/proc/meminfo') ?? '')?.[1] ?? 0) * 1024;
  const disk = probe.freeDisk();
  const gb = (bytes: number): string => `${(bytes / gigabyte).toFixed(0)} GB`;
  const facts = {
    ...Object.fromEntries(settingRows(machine)),
    TensorRT: findLibrary(probe, 'libnvinfer.so')?.split('/').at(-1) ?? 'none',
    'free memory': gb(available),
    'free disk': gb(disk),
  };
  const small = [
    ...(available < fullMemory * gigabyte
      ? [`${gb(available)} of memory are free, and it takes ${fullMemory} GB`]
      : []),
    ...(disk < fullDisk * gigabyte ? [`${gb(disk)} of disk are free, and it takes ${fullDisk} GB`] : []),
  ];
  return {
    facts,
    refusal: refusalOf(probe, machine.board, machine.gpu?.computeCapability ?? null, available, disk),
    tooSmall: small.length === 0 ? null : `the full size is left out: ${small.join('; ')}`,
    advice: machineWarnings(machine).map(({ text }) => text),
  };
}

function refusalOf(
  probe: BoardProbe,
  board: string,
  capability: string | null,
  memory: number,
  disk: number,
): string | null {
  const family = families[capability ?? ''];
  const text = probe.readText('/etc/nv_tegra_release');
  if (family === undefined || text === null)
    return `${board}: expected a Jetson Orin or Thor with Jetson Linux (/etc/nv_tegra_release), found none; with an NVIDIA card run: npm run gpu`;
  const release = parseTegraRelease(text);
  if (!('value' in release))
    return '/etc/nv_tegra_release: expected the release of Jetson Linux, found another text; please report its first line';
  const jetpack = /JetPack (\S+)/.exec(release.value)?.[1];
  if (jetpack !== undefined && !family.supports.test(jetpack))
    return `${release.value}: expected JetPack ${family.wanted} on ${family.name}, which has TensorRT 10; install it with NVIDIA's SDK Manager`;
  if (findLibrary(probe, 'libnvinfer.so') === null)
    return `TensorRT: expected libnvinfer.so.10 of ${release.value}, found none; install it with: ${stackPackages}`;
  const headers = ['/usr/include/aarch64-linux-gnu', '/usr/include'].some((folder) =>
    probe.list(folder).includes('NvInfer.h'),
  );
  if (!headers)
    return `TensorRT: expected its headers (NvInfer.h), found the library alone; install them with: ${stackPackages}`;
  if (!probe.list('/usr/local/cuda/bin').includes('nvcc'))
    return `CUDA: expected the board's own compiler /usr/local/cuda/bin/nvcc, found none; install it with: ${stackPackages}`;
  if (disk < leastDisk * gigabyte)
    return `disk: expected ${leastDisk} GB free, found ${(disk / gigabyte).toFixed(1)} GB; free some, or name another disk with --work DIR`;
  if (memory < leastMemory * gigabyte)
    return `memory: expected ${leastMemory} GB free, found ${(memory / gigabyte).toFixed(1)} GB; end the desktop: sudo systemctl isolate multi-user.target`;
  return null;
}
