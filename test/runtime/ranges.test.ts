/**
 * Named ranges reach a tool: the device of the modules, compiled with NVTX's headers, under a library that listens as Nsight
 * Systems does. The GPU driver is a stand-in whose functions all succeed; how ranges look beside kernels only a GPU can show.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { testWhen } from '../helpers/skip.ts';

const test = suite('NVTX ranges');
const root = resolve(import.meta.dirname, '../..');
const sources = join(import.meta.dirname, 'ranges');

/** A folder with CUDA's and NVTX's headers. */
function headers(): string | null {
  const base =
    process.env.SEMANTICVLA_TOOLCHAINS ??
    join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'semanticvla');
  const fetched = existsSync(base)
    ? readdirSync(base)
        .filter((name) => /^nvcc-[\d.]+$/.test(name))
        .map((name) => join(base, name, 'nvidia/cu13'))
    : [];
  const include = [process.env.CUDA_HOME, '/usr/local/cuda', ...fetched]
    .filter((one) => one !== undefined)
    .map((one) => join(one, 'include'));
  return (
    include.find((one) => existsSync(join(one, 'cuda.h')) && existsSync(join(one, 'nvtx3/nvToolsExt.h'))) ??
    null
  );
}

const include = headers();

function compile(args: readonly string[]): void {
  const flags = [
    '-std=c++17',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-isystem',
    include!,
    `-I${join(root, 'native')}`,
  ];
  const { status, stderr } = spawnSync('g++', [...flags, ...args], { encoding: 'utf8' });
  assert.is(status, 0, stderr);
}

/** Every function that the driver's loader asks for, in C without prototypes: succeeds, and shows one GPU. */
function driver(folder: string): void {
  const text = readFileSync(join(root, 'native/runtime/cudaDriver.cpp'), 'utf8');
  const names = [...text.matchAll(/names\.find\(driver\.\w+, "(cu\w+)"\)/g)].map((found) => found[1]!);
  assert.ok(names.includes('cuEventRecordWithFlags'));
  const values: Readonly<Record<string, number>> = { cuDriverGetVersion: 13000, cuDeviceGetCount: 1 };
  const body = names.map((name) =>
    name in values
      ? `int ${name}(int *value) { *value = ${values[name]}; return 0; }`
      : `int ${name}() { return 0; }`,
  );
  const file = join(folder, 'driver.c');
  writeFileSync(file, `${body.join('\n')}\n`);
  const { status, stderr } = spawnSync(
    'gcc',
    ['-shared', '-fPIC', '-w', file, '-o', join(folder, 'libcuda.so.1')],
    {
      encoding: 'utf8',
    },
  );
  assert.is(status, 0, stderr);
}

testWhen(
  include !== null,
  "CUDA's headers with NVTX are not there (scripts/fetchNvcc.sh)",
  test,
  'a listening tool gets them by name and in order; without one nothing happens',
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'semanticvla-ranges-'));
    try {
      const program = join(folder, 'program');
      const tool = join(folder, 'tool.so');
      const runtime = ['cudaDevice', 'cudaDriver', 'device'].map((name) =>
        join(root, `native/runtime/${name}.cpp`),
      );
      compile([join(sources, 'main.cpp'), ...runtime, '-ldl', '-o', program]);
      compile(['-shared', '-fPIC', join(sources, 'tool.cpp'), '-o', tool]);
      driver(folder);
      const run = (more: Record<string, string>): string => {
        const env = { ...process.env, LD_LIBRARY_PATH: folder, ...more };
        const { status, stdout, stderr } = spawnSync(program, [], { encoding: 'utf8', env });
        assert.is(status, 0, stderr);
        return stdout;
      };
      assert.is(run({ NVTX_INJECTION64_PATH: tool }), 'push policy\npush h2d\npop\npop\ndone\n');
      assert.is(run({}), 'done\n');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);

test.run();
