/**
 * Where a TensorRT library may be, in the order of the search. Only looks at the disk (and asks ldconfig and
 * Python for their folders); opens nothing.
 */

import { execFileSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { cacheFolder } from '../checkpoint/loraMerge.ts';

/** Module families: TensorRT 10 and 11, TensorRT-RTX 1. Interfaces are stable within one and differ between them. */
export type TensorRtFamily = 'trt10' | 'trt11' | 'rtx1';

/** Names of library and ONNX parser by family, as the loader knows them. */
export const libraryNames: Readonly<Record<TensorRtFamily, { library: string; parser: string }>> = {
  trt11: { library: 'libnvinfer.so.11', parser: 'libnvonnxparser.so.11' },
  trt10: { library: 'libnvinfer.so.10', parser: 'libnvonnxparser.so.10' },
  rtx1: { library: 'libtensorrt_rtx.so.1', parser: 'libtensorrt_onnxparser_rtx.so.1' },
};
export const tensorRtFamilies = Object.keys(libraryNames) as TensorRtFamily[];

export interface Place {
  /** Words for messages: `LD_LIBRARY_PATH`, `system`, `Python`. */
  readonly source: string;
  readonly folder: string;
}

export interface PlaceOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Before the system's own folders; empty but for tests. */
  readonly root: string;
  /** Node's name of the processor: `x64`, `arm64`. */
  readonly arch: string;
  /** Runs a program and returns its output; null when it failed or is missing. */
  readonly run: (program: string, args: readonly string[]) => string | null;
}

export const machine: PlaceOptions = {
  env: process.env,
  root: '',
  arch: process.arch,
  run: (program, args) => {
    try {
      return execFileSync(program, args, {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
        timeout: 10_000,
      });
    } catch {
      return null;
    }
  },
};

/** Folders, without repetition; not all exist. */
export function tensorRtPlaces({ env, root, arch, run }: PlaceOptions): Place[] {
  const places: Place[] = [];
  const seen = new Set<string>();
  const add = (source: string, folders: readonly string[]): void => {
    for (const folder of folders) {
      if (folder === '' || seen.has(folder)) continue;
      seen.add(folder);
      places.push({ source, folder });
    }
  };
  add('LD_LIBRARY_PATH', (env.LD_LIBRARY_PATH ?? '').split(delimiter));
  add('ldconfig', ldconfigFolders(run));
  // Libraries of the other processor may be there for cross-compiling.
  const triplet = arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
  add('system and JetPack', [
    `${root}/usr/lib/${triplet}`,
    `${root}/usr/lib/${triplet}/nvidia`,
    `${root}/usr/lib`,
    `${root}/usr/local/lib`,
    `${root}/usr/local/cuda/lib64`,
  ]);
  add('unpacked archive', [
    ...libFolders(`${root}/usr/local`, triplet),
    ...libFolders(`${root}/opt`, triplet),
    ...libFolders(env.HOME ?? homedir(), triplet),
  ]);
  add('Python packages', pythonFolders(env, run));
  add('fetched by this project', fetchedFolders(env));
  return places;
}

/** `	libnvinfer.so.10 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libnvinfer.so.10` */
function ldconfigFolders(run: PlaceOptions['run']): string[] {
  const text = run('/sbin/ldconfig', ['-p']) ?? '';
  const folders = [...text.matchAll(/lib(?:nvinfer|tensorrt_rtx)\.so\.\d+ .*=> (.*)\/[^/]+$/gm)];
  return folders.map((match) => match[1]!);
}

/** NVIDIA's archives unpack to TensorRT-10.15.1.29, TensorRT-RTX-1.6.1.120. */
function libFolders(parent: string, triplet: string): string[] {
  return list(parent)
    .filter((name) => /^tensorrt/i.test(name))
    .flatMap((name) => [join(parent, name, 'lib'), join(parent, name, `targets/${triplet}/lib`)]);
}

/** pip's tensorrt-cuXX-libs and tensorrt-rtx-cuXX-libs. */
function pythonFolders(env: PlaceOptions['env'], run: PlaceOptions['run']): string[] {
  const prefixes = [env.VIRTUAL_ENV, env.CONDA_PREFIX].filter((prefix) => prefix !== undefined);
  const own = prefixes.flatMap((prefix) => sitePackages(join(prefix, 'lib')));
  const told = run('python3', [
    '-c',
    'import site; print("\\n".join([*site.getsitepackages(), site.getusersitepackages()]))',
  ]);
  const all = [...own, ...(told ?? '').split('\n').filter((line) => line !== '')];
  return all.flatMap((site) => [join(site, 'tensorrt_libs'), join(site, 'tensorrt_rtx_libs')]);
}

function sitePackages(lib: string): string[] {
  return list(lib)
    .filter((name) => name.startsWith('python3'))
    .map((name) => join(lib, name, 'site-packages'));
}

/** scripts/fetchTensorRtRtx.sh */
function fetchedFolders(env: PlaceOptions['env']): string[] {
  const base =
    env.SEMANTICVLA_TOOLCHAINS ??
    join(env.XDG_CACHE_HOME ?? join(env.HOME ?? homedir(), '.cache'), 'semanticvla');
  return list(base)
    .filter((name) => /^tensorrt-rtx-[\d.]+$/.test(name))
    .sort()
    .reverse()
    .map((name) => join(base, name, 'tensorrt_rtx_libs'));
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Libraries in a folder, at most one a family. */
export function librariesIn(folder: string): { family: TensorRtFamily; library: string }[] {
  return tensorRtFamilies
    .map((family) => ({ family, library: join(folder, libraryNames[family].library) }))
    .filter(({ library }) => isLibrary(library));
}

export function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** A regular file: the loader would wait for a FIFO forever. */
export function isLibrary(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Where links to libraries are made. */
export function linkFolder(): string {
  return join(cacheFolder({}), 'tensorrt-links');
}
