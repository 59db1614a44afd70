/**
 * Compiles the addon, and a TensorRT module for each family whose headers are found, for one processor: CMake, with GCC's cross
 * compiler where it is another one. The same sources and compilers give the
 * same bytes in the same folder; the addon, without kernels, in any.
 */

import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { arch } from 'node:os';
import { join } from 'node:path';
import type { PrebuiltFacts } from '../../lib/addon/nativeFiles.ts';
import { run } from './run.ts';

export type Processor = 'x64' | 'arm64';

export interface CompileOptions {
  /** Of the kernels; empty: all that nvcc can. */
  readonly archs: readonly number[];
  /** false: the addon alone. */
  readonly withTensorRt: boolean;
}

export interface Compiled extends Pick<PrebuiltFacts, 'modules' | 'kernels'> {
  /** With semanticvla.node and the modules. */
  readonly folder: string;
  /** NVIDIA's wheel that libcudart_static.a is from; null: nothing of it is linked. */
  readonly cudaRuntime: { readonly version: string; readonly licence: string } | null;
}

const root = join(import.meta.dirname, '../..');

/** Programs of GCC and binutils for a processor start with this. */
export const toolPrefix = (processor: Processor): string =>
  processor === arch() ? '' : `${{ x64: 'x86_64', arm64: 'aarch64' }[processor]}-linux-gnu-`;

/** @param source a copy of the sources, which is not changed */
export function compile(
  source: string,
  out: string,
  processor: Processor,
  options: CompileOptions,
): Compiled {
  const { archs, withTensorRt } = options;
  mkdirSync(out, { recursive: true });
  const modules = join(root, 'node_modules');
  const set: Record<string, string> = {
    CMAKE_BUILD_TYPE: 'Release',
    CMAKE_JS_INC: `${join(modules, 'node-api-headers/include')};${join(modules, 'node-addon-api')}`,
    // no path of this machine, and no symbol that only a debugger reads, some of which name temporary files
    CMAKE_CXX_FLAGS: `-ffile-prefix-map=${source}=.`,
    CMAKE_SHARED_LINKER_FLAGS: '-s',
    CMAKE_MODULE_LINKER_FLAGS: '-s',
    ...(archs.length === 0 ? {} : { SEMANTICVLA_ARCHS: archs.join(';') }),
  };
  const nvcc = withTensorRt ? run(join(root, 'scripts/fetchNvcc.sh'), ['--check'], { cwd: root }).trim() : '';
  set.SEMANTICVLA_NVCC = nvcc;
  // of nothing: headers that are installed are not looked for
  set.TENSORRT_ROOT = withTensorRt ? headerFolders(nvcc).join(';') : '/nonexistent';
  if (processor !== arch()) {
    if (processor !== 'arm64')
      throw new Error(`${processor}: expected a machine of its kind, found ${arch()}`);
    set.CMAKE_TOOLCHAIN_FILE = join(source, 'cmake/aarch64.cmake');
    if (withTensorRt) {
      const home = run(join(root, 'scripts/arm64.sh'), ['--check'], { cwd: root }).trim();
      set.SEMANTICVLA_CUDART_STATIC = join(home, 'cuda/nvidia/cu13/lib/libcudart_static.a');
    }
  }
  const told = run(
    'cmake',
    ['-S', source, '-B', out, ...Object.entries(set).map(([name, value]) => `-D${name}=${value}`)],
    { cwd: source },
  );
  run('cmake', ['--build', out, '--parallel', '2'], { cwd: source });
  const kernels = /^-- Kernels for: (.*)$/m.exec(told)?.[1]?.split(';').map(Number) ?? null;
  const families = /^-- TensorRT modules: (\S+) \(kernels: 1\)$/m.exec(told)?.[1]?.split(';') ?? [];
  if (withTensorRt && (kernels === null || families.length === 0))
    throw new Error(`expected kernels and TensorRT modules, found: ${told}`);
  return {
    folder: join(out, 'Release'),
    modules: Object.fromEntries(families.map((family) => family.split('-') as [string, string])),
    kernels: kernels === null ? null : { cuda: cudaVersion(nvcc), archs: kernels },
    cudaRuntime: kernels === null ? null : cudaRuntime(nvcc),
  };
}

/** `TENSORRT_ROOT`, else the headers beside the repository and those of scripts/fetchTensorRtRtx.sh. */
function headerFolders(nvcc: string): string[] {
  if (process.env.TENSORRT_ROOT) return process.env.TENSORRT_ROOT.split(';');
  const cache = join(nvcc, '../../../../..');
  return [
    ...foldersIn(join(root, '../shared/third_party/tensorrt-headers'), /./),
    ...foldersIn(cache, /^tensorrt-rtx-[\d.]+$/).map((folder) => join(folder, 'include')),
  ].filter((folder) => existsSync(join(folder, 'NvInfer.h')));
}

const foldersIn = (folder: string, name: RegExp): string[] =>
  existsSync(folder)
    ? readdirSync(folder)
        .filter((one) => name.test(one))
        .sort()
        .map((one) => join(folder, one))
    : [];

/** `13.0` */
function cudaVersion(nvcc: string): string {
  return /release (\d+\.\d+)/.exec(run(nvcc, ['--version'], { cwd: root }))![1]!;
}

function cudaRuntime(nvcc: string): NonNullable<Compiled['cudaRuntime']> {
  const [info = ''] = foldersIn(join(nvcc, '../../../..'), /^nvidia_cuda_runtime-/);
  const licence = join(info, 'licenses/License.txt');
  if (!existsSync(licence))
    throw new Error(`${nvcc}: expected the licence of nvidia-cuda-runtime beside it, found none`);
  return { version: /-([\d.]+)\.dist-info$/.exec(info)![1]!, licence: readFileSync(licence, 'utf8') };
}
