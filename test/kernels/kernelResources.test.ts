/**
 * Registers, shared memory and spills of the kernels, from the compiler (scripts/kernelResources.ts). No GPU needed; what compiles
 * every kernel with CUDA's own compilers runs with SEMANTICVLA_LONG_TESTS=1.
 */

import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { testWhen } from '../helpers/skip.ts';

const resources = suite('kernels/resources');
const root = fileURLToPath(new URL('../..', import.meta.url));

interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number;
}

function outcome(
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<Outcome> {
  return new Promise((settle) => {
    execFile(file, args, { cwd: root, env, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      settle({ stdout, stderr, code: error === null ? 0 : Number(error.code ?? -1) });
    });
  });
}

const script = (...args: string[]) =>
  outcome(process.execPath, ['--import', 'tsx', 'scripts/kernelResources.ts', ...args]);

const isLong = process.env.SEMANTICVLA_LONG_TESTS === '1';
const takesLong = "it compiles every kernel with CUDA's compiler; SEMANTICVLA_LONG_TESTS=1 runs it";
const lastLine = ({ stderr }: Outcome) => stderr.trim().split('\n').at(-1);

// Fetched once into the user's cache folder; a machine that is offline skips.
const nvcc = !isLong
  ? null
  : process.env.NVCC
    ? { stdout: '', stderr: '', code: 0 }
    : await outcome(join(root, 'scripts/fetchNvcc.sh'), []);
const reason =
  nvcc === null
    ? takesLong
    : `CUDA's compiler could not be fetched (scripts/fetchNvcc.sh; or set NVCC). ${lastLine(nvcc)}`;

testWhen(
  nvcc?.code === 0,
  reason,
  resources,
  'all kernels are within their budgets for Orin and RTX 50, without spills',
  async () => {
    const { stdout, stderr, code } = await script('--arch', 'sm_87,sm_120', '--json');
    assert.is(code, 0, stderr);
    const { usages } = JSON.parse(stdout) as {
      usages: { kernel: string; variant: string; arch: string; spills: number }[];
    };
    console.log(stderr.trim());
    // Three types, rows in fours or not.
    assert.is(
      usages.filter(({ kernel, arch }) => kernel === 'instructionTopKKernel' && arch === 'sm_87').length,
      6,
    );
    assert.ok(usages.every(({ spills }) => spills === 0));
  },
);

testWhen(
  nvcc?.code === 0,
  reason,
  resources,
  'a kernel over its budget, and one without, are named',
  async () => {
    const budgets = JSON.parse(readFileSync(join(root, 'native/kernels/budgets.json'), 'utf8')) as {
      kernels: Record<string, { registers: number }>;
    };
    budgets.kernels.instructionTopKKernel!.registers = 32;
    delete budgets.kernels.filmKernel;
    const folder = mkdtempSync(join(tmpdir(), 'semanticvla-budgets-'));
    try {
      const file = join(folder, 'budgets.json');
      writeFileSync(file, JSON.stringify(budgets));
      const { stderr, code } = await script('--arch', 'sm_89', '--budgets', file);
      assert.is(code, 1);
      assert.match(
        stderr,
        /instructionTopKKernel<float, true> on sm_89: expected at most 32 registers but found \d+/,
      );
      assert.match(stderr, /filmKernel<float> on sm_89: expected a budget/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);

// A few seconds of download at most once; without it the same skip as above.
const cuda12 = isLong ? await script('--cuda12', '--json') : null;

testWhen(
  cuda12 !== null && cuda12.code !== 3,
  cuda12 === null
    ? takesLong
    : `CUDA 12.6's compiler library could not be fetched (scripts/nvrtcKernels.py). ${lastLine(cuda12)}`,
  resources,
  'CUDA 12.6, the compiler of JetPack 6, compiles every kernel for Orin within the same budgets',
  () => {
    const { code, stdout, stderr } = cuda12!;
    assert.is(code, 0, stderr);
    const { usages, compiler } = JSON.parse(stdout) as { usages: unknown[]; compiler: string };
    console.log(`${compiler}: ${lastLine(cuda12!)}`);
    assert.is(usages.length, 31);
  },
);

resources('without a compiler the next step is named', async () => {
  const env = {
    ...process.env,
    SEMANTICVLA_TOOLCHAINS: join(tmpdir(), 'semanticvla-no-toolchain'),
    NVCC: '',
  };
  const { stderr, code } = await outcome(
    process.execPath,
    ['--import', 'tsx', 'scripts/kernelResources.ts'],
    env,
  );
  assert.is(code, 3);
  assert.match(stderr, /Run scripts\/fetchNvcc\.sh/);
});

resources('an unreachable package index is explained, and nothing is left behind', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-toolchain-'));
  try {
    const env = { ...process.env, SEMANTICVLA_TOOLCHAINS: folder, PIP_NO_INDEX: '1', PIP_FIND_LINKS: folder };
    const { stderr, code } = await outcome(join(root, 'scripts/fetchNvcc.sh'), [], env);
    assert.is(code, 3);
    assert.match(stderr, /Possible solutions/);
    assert.match(stderr, /PIP_FIND_LINKS/);
    assert.is((await outcome(join(root, 'scripts/fetchNvcc.sh'), ['--check'], env)).code, 3);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

resources.run();
