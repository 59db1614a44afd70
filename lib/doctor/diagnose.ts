/** What this machine can run, one line per check, and the command that installs what is missing. */

import { existsSync, mkdtempSync, readFileSync, rmdirSync, statfsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, freemem, homedir, totalmem } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findAddon, loadAddon } from '../addon/binding.ts';
import { findOnnxRuntime, findPrebuilt } from '../addon/nativeFiles.ts';
import { addonCommand } from '../addon/noAddon.ts';
import { settingRows } from '../machine/machineRows.ts';
import { readMachine } from '../machine/readMachine.ts';
import { readCpuModel } from '../support/cpuModel.ts';
import { isInstalled } from '../support/optionalPackage.ts';
import { installCommand, reinstallCommand } from '../support/packageCommand.ts';
import type { Check } from './check.ts';
import { checkGpu } from './gpu.ts';
import { doctorProbe, type Probe } from './probe.ts';
import { checkSealedFiles } from './sealedFiles.ts';
import { checkEngineCache } from './tensorRt.ts';

/** What this machine can run. */
export interface DoctorReport {
  readonly version: string;
  readonly checks: readonly Check[];
  readonly backends: {
    /** Whether everything for `--backend cpu` is there. */
    readonly cpu: boolean;
    /** Names of the checks that `--backend tensorrt` fails; if empty, it can predict. */
    readonly tensorrtLacks: readonly string[];
  };
}

/** The cache, and the machine to look at. */
export interface DoctorOptions {
  readonly cacheDir?: string;
  /** For tests: another machine to look at. */
  readonly probe?: Probe;
}

const require = createRequire(import.meta.url);

/** CPU features that determine how fast matrices are multiplied, on x86 and Arm. */
const telling = [
  'avx2',
  'fma',
  'f16c',
  'avx512f',
  'avx512_vnni',
  'avx512_bf16',
  'amx_bf16',
  'asimddp',
  'sve2',
  'bf16',
  'i8mm',
];

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;

function checkSystem(probe: Probe): Check {
  const release =
    /^PRETTY_NAME="?([^"\n]*)/m.exec(probe.readText('/etc/os-release') ?? '')?.[1] ?? process.platform;
  return { name: 'system', status: 'ok', found: `${release}, ${process.arch}`, fix: null };
}

function checkCpu(probe: Probe): Check {
  const info = probe.readText('/proc/cpuinfo') ?? '';
  const flags = new Set((/^(?:flags|Features)\s*:(.*)$/m.exec(info)?.[1] ?? '').trim().split(/\s+/));
  const known = telling.filter((flag) => flags.has(flag)).join(' ') || 'no known matrix features';
  return {
    name: 'CPU',
    status: 'ok',
    found: `${readCpuModel(probe)}, ${availableParallelism()} threads, ${known}`,
    fix: null,
  };
}

function checkMemory(probe: Probe): Check {
  const available = /^MemAvailable:\s*(\d+) kB/m.exec(probe.readText('/proc/meminfo') ?? '')?.[1];
  const free = available === undefined ? freemem() : Number(available) * 1024;
  return {
    name: 'memory',
    status: 'ok',
    found: `${gigabytes(free)} available of ${gigabytes(totalmem())}`,
    fix: null,
  };
}

/** The folder for merged weights, as `openCheckpoint` finds it. */
function cacheFolder(options: DoctorOptions, { env }: Probe): string {
  if (options.cacheDir !== undefined) return resolve(options.cacheDir);
  if (env.SEMANTICVLA_CACHE) return resolve(env.SEMANTICVLA_CACHE);
  return join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'semanticvla');
}

function checkCache(folder: string): Check {
  // It is made when first used, so the nearest existing folder counts.
  let existing = folder;
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing);
  try {
    // Permissions do not tell everything (read-only mounts, root), but making and removing a folder does.
    rmdirSync(mkdtempSync(join(existing, '.semanticvla-doctor-')));
    const { bavail, bsize } = statfsSync(existing);
    return {
      name: 'cache folder',
      status: 'ok',
      found: `${folder}, ${gigabytes(bavail * bsize)} free`,
      fix: null,
    };
  } catch (error) {
    return {
      name: 'cache folder',
      status: 'missing',
      found: `${folder} cannot be written: ${(error as Error).message}`,
      fix: 'export SEMANTICVLA_CACHE=FOLDER   # one that you may write',
    };
  }
}

function checkAddon(): Check {
  try {
    loadAddon();
    return { name: 'addon', status: 'ok', found: `${originOf(findAddon()!)}, loads`, fix: null };
  } catch (error) {
    const message = (error as Error).message;
    return { name: 'addon', status: 'missing', found: message, fix: addonCommand() };
  }
}

/** `prebuilt`, or where it was compiled. */
function originOf(file: string): string {
  const prebuilt = findPrebuilt();
  return prebuilt !== null && file.startsWith(prebuilt.folder) ? 'prebuilt' : `built into ${dirname(file)}`;
}

function checkOnnxRuntime(): Check {
  const name = 'ONNX Runtime';
  const library = findOnnxRuntime();
  if (library === null)
    return { name, status: 'missing', found: 'its library is not there', fix: reinstallCommand() };
  try {
    loadAddon();
  } catch {
    return { name, status: 'ok', found: `${library.version} installed (opened by the addon)`, fix: null };
  }
  try {
    loadAddon().openCpuRuntime(library.file).end();
    return { name, status: 'ok', found: `${library.version} opens`, fix: null };
  } catch (error) {
    return { name, status: 'missing', found: (error as Error).message, fix: reinstallCommand() };
  }
}

/**
 * From the nearest package.json above `file` with this name: entry points may be nested deeply, and packages inside packages.
 */
export function installedVersion(name: string, file: string): string | null {
  for (let folder = dirname(file); dirname(folder) !== folder; folder = dirname(folder)) {
    const manifest = join(folder, 'package.json');
    if (!existsSync(manifest)) continue;
    const found = JSON.parse(readFileSync(manifest, 'utf8')) as { name?: string; version?: string };
    if (found.name === name) return found.version ?? null;
  }
  return null;
}

/** A package with a native part: does it load, and in which version? */
function checkPackage(name: string, label: string): Check {
  try {
    require(name);
    const version = installedVersion(name, require.resolve(name)) ?? 'unknown version';
    return { name: label, status: 'ok', found: `${version} loads`, fix: null };
  } catch (error) {
    const [reason] = (error as Error).message.split('\n', 1);
    return {
      name: label,
      status: 'missing',
      found: `${name} does not load: ${reason}`,
      fix: reinstallCommand(),
    };
  }
}

/** Packages that a robot can do without. */
function optionalChecks(): Check[] {
  const sharp = checkPackage('sharp', 'sharp (optional)');
  return [
    isInstalled('sharp')
      ? { ...sharp, status: sharp.status === 'ok' ? 'ok' : 'absent' }
      : notInstalled('sharp (optional)', ['sharp'], 'decodes PNG and JPEG, draws kept patches'),
    onlyLookedAt(['vega', 'vega-lite'], 'draws the plots of pages'),
    onlyLookedAt(['hyparquet'], 'reads LeRobot datasets'),
    onlyLookedAt(['h5wasm'], "reads LIBERO's HDF5 files"),
    onlyLookedAt(
      ['@mcap/core', '@foxglove/rosmsg', '@foxglove/rosmsg2-serialization'],
      'writes MCAP files of the flight recorder',
    ),
    onlyLookedAt(['@grpc/grpc-js'], "serves LeRobot's robot client"),
  ];
}

/** By the first package's name; none is loaded. */
function onlyLookedAt(packages: readonly string[], use: string): Check {
  const name = `${packages[0]} (optional)`;
  return packages.every(isInstalled)
    ? { name, status: 'ok', found: `${resolvedVersion(packages[0]!)} installed`, fix: null }
    : notInstalled(name, packages, use);
}

const notInstalled = (name: string, packages: readonly string[], use: string): Check => ({
  name,
  status: 'absent',
  found: `not installed; ${use}`,
  fix: installCommand(packages),
});

/** Without loading it, which takes a second. */
const resolvedVersion = (name: string): string =>
  installedVersion(name, fileURLToPath(import.meta.resolve(name))) ?? 'unknown version';

/** Settings that determine the speed: board, power mode, clocks. What the machine does not report has no row. */
function boardChecks(probe: Probe): Check[] {
  const rows = settingRows(readMachine({ probe }));
  return rows
    .filter(([label]) => ['board', 'power mode', 'clocks'].includes(label))
    .map(([name, found]) => ({ name, status: 'ok', found, fix: null }));
}

/**
 * Checks everything, installs nothing, leaves nothing behind.
 *
 * @param options where the cache folder is; default: as for `loadPolicy`
 * @throws never because of what it finds
 */
export function diagnose(options: DoctorOptions = {}): DoctorReport {
  const probe = options.probe ?? doctorProbe;
  const { version } = require('../../package.json') as { version: string };
  const own: Check[] = [
    { name: 'Node', status: 'ok', found: process.versions.node, fix: null },
    checkSystem(probe),
    checkCpu(probe),
    checkMemory(probe),
    ...boardChecks(probe),
    checkCache(cacheFolder(options, probe)),
    checkAddon(),
    checkOnnxRuntime(),
    ...optionalChecks(),
  ];
  const cache = cacheFolder(options, probe);
  const gpu = [...checkGpu(probe), checkEngineCache(cache), ...checkSealedFiles(cache)];
  return {
    version,
    checks: [...own, ...gpu],
    backends: {
      cpu: own.every(({ status }) => status !== 'missing'),
      // kernels and TensorRT bring their CUDA runtime with them
      tensorrtLacks: gpu
        .filter(({ name, status }) => status !== 'ok' && name !== 'CUDA runtime')
        .map(({ name }) => name),
    },
  };
}
