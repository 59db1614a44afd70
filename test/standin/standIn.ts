/**
 * TensorRT's stand-in, which computes: streams on threads, events with times, graphs, the engine's ONNX in ONNX Runtime, and
 * the CUDA kernels compiled by g++ (docs/devicePath.md). Compiled here once per content; only who names its path gets it.
 */

import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import type { Test } from 'uvu';
import { findOnnxRuntime } from '../../lib/addon/nativeFiles.ts';
import { lockEngine } from '../../lib/engine/engineLock.ts';
import { testWhen } from '../helpers/skip.ts';

const root = resolve(import.meta.dirname, '../..');

/** Whose files it is compiled from, and all that they include. */
const folders = ['native/kernels', 'native/reference', 'native/support', 'native/runtime', 'native/onnx'];
const testFolders = ['test/kernels/shim', 'test/runtime/fake', 'test/standin'];

const sources = [
  ...['instructionTopK.cu', 'textGuidedPooling.cu', 'channelConcat.cu', 'swigluLevels.cu'].map(
    (name) => `native/kernels/${name}`,
  ),
  ...['preprocessImages.cu', 'preprocessTables.cpp'].map((name) => `native/kernels/${name}`),
  ...['lanczosResize', 'centerCrop', 'pillowBicubic'].map((name) => `native/reference/${name}.cpp`),
  'native/support/team.cpp',
  ...['kernelPipeline', 'device', 'engine'].map((name) => `native/runtime/${name}.cpp`),
  'native/onnx/ortApi.cpp',
  ...['block', 'fiber'].map((name) => `test/kernels/shim/${name}.cpp`),
  ...['fakeDevice', 'environment'].map((name) => `test/runtime/fake/${name}.cpp`),
  ...['executable', 'onnxFile', 'ownOperators', 'standInBuilder', 'standInEngine', 'standInModule'].map(
    (name) => `test/standin/${name}.cpp`,
  ),
];

const flags = [
  ...['-std=c++17', '-O1', '-Wall', '-Wextra', '-Werror', '-Wno-unknown-pragmas'],
  ...['-fPIC', '-fvisibility=hidden', '-ffp-contract=off', '-DKERNEL_SHIM'],
  ...['native', ...testFolders].map((folder) => `-I${join(root, folder)}`),
];

/** The library that policies on the CPU use too. */
const onnxRuntime = (): string => findOnnxRuntime()!.file;

function contentDigest(): string {
  const hash = createHash('sha256').update(flags.join(' ')).update(onnxRuntime());
  for (const folder of [...folders, ...testFolders]) {
    for (const name of readdirSync(join(root, folder)).sort()) {
      if (/\.(cpp|h|cu|cuh)$/.test(name)) hash.update(name).update(readFileSync(join(root, folder, name)));
    }
  }
  return hash.digest('hex').slice(0, 16);
}

function compiler(args: readonly string[]): Promise<void> {
  return new Promise((done, failed) => {
    const child = spawn('g++', args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
    child.on('error', failed);
    child.on('exit', (code) =>
      code === 0 ? done() : failed(new Error(`g++ ${args.at(-1)} ended with ${code}`)),
    );
  });
}

async function compile(library: string): Promise<string> {
  const partial = `${library}.${process.pid}`;
  const objects = `${partial}-objects`;
  mkdirSync(objects, { recursive: true, mode: 0o700 });
  const define = `-DSEMANTICVLA_ONNXRUNTIME="${onnxRuntime()}"`;
  const objectOf = (source: string): string => join(objects, `${basename(source)}.o`);
  const waiting = [...sources];
  const work = async (): Promise<void> => {
    for (let source = waiting.shift(); source !== undefined; source = waiting.shift())
      await compiler([...flags, define, '-x', 'c++', '-c', source, '-o', objectOf(source)]);
  };
  await Promise.all([work(), work()]);
  await compiler(['-shared', '-pthread', ...sources.map(objectOf), '-ldl', '-o', partial]);
  rmSync(objects, { recursive: true });
  renameSync(partial, library);
  return library;
}

let made: Promise<string> | undefined;

/** Path of the library, for `tensorRt` and SEMANTICVLA_TENSORRT. */
export function standIn(): Promise<string> {
  made ??= compiled();
  return made;
}

async function compiled(): Promise<string> {
  const folder = join(tmpdir(), `semanticvla-standin-${process.getuid?.() ?? 0}-${contentDigest()}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const library = join(folder, 'libsemanticvla_standin.so');
  // two test files run at a time: the second waits for what the first one compiles
  const lock = await lockEngine(join(folder, 'lock'));
  try {
    return existsSync(library) ? library : await compile(library);
  } finally {
    await lock.release();
  }
}

const hasCompiler = spawnSync('g++', ['--version']).status === 0;
const isLong = process.env.SEMANTICVLA_LONG_TESTS === '1';

/** Registers a test that needs the stand-in. */
export function standInTest(test: Test, name: string, body: () => Promise<void>): void {
  testWhen(
    hasCompiler,
    "g++ is not there, which compiles TensorRT's stand-in (apt install g++)",
    test,
    name,
    body,
  );
}

/** Tests that take longer: `register` registers them, or one line says that they are skipped. */
export function longStandInTests(test: Test, what: string, register: () => void): void {
  if (isLong) register();
  else testWhen(false, 'they take minutes; SEMANTICVLA_LONG_TESTS=1 runs them', test, what, () => {});
}
