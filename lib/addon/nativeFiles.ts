/**
 * Where the compiled files are: the addon, the TensorRT modules, ONNX Runtime's library. What was compiled on this machine comes
 * first, then the prebuilt package of this processor, which npm and others install beside this one.
 */

import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);

/** Processors that have a prebuilt package, as Node names them. */
export const prebuiltProcessors = ['x64', 'arm64'] as const;

/** `@semanticvla/linux-x64`; `scripts/release` makes it. */
export const prebuiltName = (processor: string = process.arch): string => `@semanticvla/linux-${processor}`;

/** What the manifest of a prebuilt package says of its files. */
export interface PrebuiltFacts {
  /** The oldest C library and C++ library (symbol versions, GLIBC_ and GLIBCXX_) that they load with. */
  readonly glibc: string;
  readonly glibcxx: string;
  /** Version of ONNX Runtime. */
  readonly onnxRuntime: string;
  /** TensorRT modules by family (trt10), each with the version of the headers it was compiled against. */
  readonly modules: Readonly<Record<string, string>>;
  /** Of the kernels in the modules: CUDA, whose driver they need, and compute capabilities; null: without kernels. */
  readonly kernels: { readonly cuda: string; readonly archs: readonly number[] } | null;
}

/** The prebuilt package of this processor. */
export interface Prebuilt {
  readonly folder: string;
  readonly version: string;
  readonly facts: PrebuiltFacts;
}

/** null: it is not installed. */
export function findPrebuilt(): Prebuilt | null {
  const manifest = resolve(`${prebuiltName()}/package.json`);
  if (manifest === null) return null;
  const { version, semanticvla } = require(manifest) as { version: string; semanticvla: PrebuiltFacts };
  return { folder: dirname(manifest), version, facts: semanticvla };
}

// Relative to lib/ and to dist/ alike: scripts/install.mjs, and `npm run build:native`; same sources, the first serves.
const builtHere = ['../../build/Release/', '../../build-cmake/Release/'].map((path) =>
  fileURLToPath(new URL(path, import.meta.url)),
);

/** A compiled file by its name; null: there is none. */
export function findCompiled(name: string): string | null {
  const prebuilt = findPrebuilt();
  const folders = prebuilt === null ? builtHere : [...builtHere, prebuilt.folder];
  return folders.map((folder) => join(folder, name)).find((file) => existsSync(file)) ?? null;
}

/** The TensorRT module of a family (`trt10`, `trt11`, `rtx1`); null: there is none. */
export function modulePath(family: string): string | null {
  return findCompiled(`semanticvla_${family}.so`);
}

/** A shared library that the addon opens. */
export interface OnnxRuntimeLibrary {
  readonly file: string;
  readonly version: string;
}

/** Of the prebuilt package, else of onnxruntime-node, which a clone has; its own binding is not used. null: neither is there. */
export function findOnnxRuntime(): OnnxRuntimeLibrary | null {
  const prebuilt = findPrebuilt();
  const name = 'libonnxruntime.so.1';
  if (prebuilt !== null && existsSync(join(prebuilt.folder, name)))
    return { file: join(prebuilt.folder, name), version: prebuilt.facts.onnxRuntime };
  const manifest = resolve('onnxruntime-node/package.json');
  if (manifest === null) return null;
  const bin = join(dirname(manifest), 'bin');
  const builds = existsSync(bin) ? readdirSync(bin).filter((folder) => folder.startsWith('napi-v')) : [];
  const file = builds
    .map((folder) => join(bin, folder, process.platform, process.arch, name))
    .find((path) => existsSync(path));
  return file === undefined ? null : { file, version: (require(manifest) as { version: string }).version };
}

function resolve(file: string): string | null {
  try {
    return require.resolve(file);
  } catch {
    return null;
  }
}
