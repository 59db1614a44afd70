/**
 * A TensorRT without TensorRT and a GPU without a GPU, for sessions that go through the addon: compiled here with g++ from
 * test/runtime/fake, once per content. Plans are text (fake/fakeEngine.h).
 */

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { OnnxModel } from '../../lib/graph/onnxModel.ts';

const root = resolve(import.meta.dirname, '../..');
const fakes = join(root, 'test/runtime/fake');
const native = join(root, 'native');

/** Digest of everything that the fakes are compiled from. */
function sourceDigest(): string {
  const hash = createHash('sha256');
  for (const folder of [fakes, join(native, 'runtime'), join(native, 'napi')]) {
    for (const name of readdirSync(folder).sort()) hash.update(name).update(readFileSync(join(folder, name)));
  }
  return hash.digest('hex').slice(0, 16);
}

/** The compiler's program, or why there is none. */
export function compile(name: string, args: readonly string[]): string {
  const folder = join(tmpdir(), `semanticvla-fakes-${process.getuid?.() ?? 0}-${sourceDigest()}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, name);
  if (existsSync(path)) return path;
  const partial = `${path}.${process.pid}`;
  const flags = [
    '-std=c++17',
    '-O1',
    '-g1',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-fPIC',
    `-I${native}`,
    `-I${fakes}`,
  ];
  const { status, stderr, error } = spawnSync('g++', [...flags, ...args, '-o', partial], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`g++ did not compile ${name}: ${error?.message ?? stderr}`);
  renameSync(partial, path);
  return path;
}

/** Of the addon's sources those whose path matches. */
const sources = (pattern: RegExp): string[] =>
  readFileSync(join(native, 'sources.txt'), 'utf8')
    .trim()
    .split('\n')
    .filter((file) => pattern.test(file))
    .map((file) => join(root, file));
const inFakes = (...names: readonly string[]): string[] => names.map((name) => join(fakes, `${name}.cpp`));
const inRuntime = (...names: readonly string[]): string[] =>
  names.map((name) => join(native, 'runtime', `${name}.cpp`));

export interface FakeTensorRt {
  readonly library: string;
  readonly parser: string;
  readonly module: string;
}

/** A library that reports this version, and the module for TensorRT 10. */
export function fakeTensorRt(version: readonly [number, number] = [10, 3]): FakeTensorRt {
  return {
    library: compile(`library-${version.join('.')}.so`, [
      '-shared',
      `-DFAKE_MAJOR=${version[0]}`,
      `-DFAKE_MINOR=${version[1]}`,
      ...inFakes('fakeLibrary'),
    ]),
    parser: compile('parser.so', ['-shared', ...inFakes('fakeParser')]),
    module: compile('module.so', [
      '-shared',
      '-fvisibility=hidden',
      '-ffp-contract=off',
      '-pthread',
      ...inFakes('environment', 'fakeDevice', 'fakeEngine', 'fakeModule'),
      ...inRuntime('device', 'engine'),
      ...sources(/^native\/(reference|support)\//),
    ]),
  };
}

/** The program of the C++ tests. */
export function sessionTests(sanitize: boolean): string {
  return compile(sanitize ? 'sessionTests-sanitized' : 'sessionTests', [
    ...(sanitize ? ['-fsanitize=address,undefined', '-fno-sanitize-recover=undefined'] : []),
    ...inFakes('fakeDevice', 'fakeEngine', 'fixture', 'main', 'sessionTests', 'failureTests', 'refusalTests'),
    ...inRuntime('arena', 'convertWeights', 'device', 'engine', 'graph', 'rounds'),
    ...inRuntime('session', 'staging', 'weights'),
    join(native, 'support', 'regularFile.cpp'),
  ]);
}

/** An addon that has `buildEngine` only, with the address sanitizer: for a process that has it too (`underAddressSanitizer`). */
export function sanitizedBuildAddon(): string {
  const headers = ['node-addon-api', 'node-api-headers/include'].map((name) =>
    join(root, 'node_modules', name),
  );
  return compile('buildAddon.node', [
    '-shared',
    '-O0',
    '-fsanitize=address',
    ...headers.flatMap((folder) => ['-isystem', folder]),
    '-DNAPI_VERSION=9',
    '-DNODE_ADDON_API_CPP_EXCEPTIONS_ALL',
    '-DNAPI_CPP_EXCEPTIONS',
    '-DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
    ...inFakes('buildAddon'),
    ...['engineBuilder', 'queue'].map((name) => join(native, 'napi', `${name}.cpp`)),
    ...inRuntime('library'),
  ]);
}

/** An addon that is a function: bytes outside of V8's heap that V8 was told of (fake/externalMemory.cpp). */
export function externalMemoryAddon(): string {
  const headers = join(root, 'node_modules/node-api-headers/include');
  return compile('externalMemory.node', [
    '-shared',
    '-isystem',
    headers,
    '-DNAPI_VERSION=9',
    ...inFakes('externalMemory'),
  ]);
}

/** Environment in which Node can load it; Node's own leaks at exit are not looked for. */
export function underAddressSanitizer(): NodeJS.ProcessEnv {
  const { stdout } = spawnSync('g++', ['-print-file-name=libasan.so'], { encoding: 'utf8' });
  return { ...process.env, LD_PRELOAD: stdout.trim(), ASAN_OPTIONS: 'detect_leaks=0' };
}

/** A plan with the inputs and outputs of a graph; its sizes of P as the graph's symbols say. */
export function fakePlan(graph: OnnxModel, symbols: Readonly<Record<string, string>>): Uint8Array {
  const line = (kind: string, { name, type, shape }: OnnxModel['inputs'][number]): string => {
    const dims = shape.map((n) => (typeof n === 'number' ? n : kind === 'in' ? -1 : symbols[n]));
    return `${kind} ${name} ${type} ${dims.join(',')}`;
  };
  const lines = [
    'fake 1',
    ...graph.inputs.map((input) => line('in', input)),
    ...graph.outputs.map((output) => line('out', output)),
  ];
  return Buffer.from(`${lines.join('\n')}\n`, 'utf8');
}

/** Runs `body` with options of the fake device (fake/fakeModule.cpp). */
export async function withDevice<T>(options: string, body: () => Promise<T>): Promise<T> {
  process.env.SEMANTICVLA_FAKE_DEVICE = options;
  try {
    return await body();
  } finally {
    delete process.env.SEMANTICVLA_FAKE_DEVICE;
  }
}
