/** What scripts/arm64.sh builds for a Jetson's processor, run in emulation: the cheapest part that can go wrong there. */

import { execFile, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { testWhen } from '../helpers/skip.ts';

const arm64 = suite('scripts/arm64');
const script = resolve(import.meta.dirname, '../../scripts/arm64.sh');

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Ends with code 124 after `limit` seconds; together they stay below the runner's own limit. */
function run(args: readonly string[], limit = 40, env: NodeJS.ProcessEnv = process.env): Promise<Outcome> {
  return new Promise((settle) => {
    execFile('timeout', [String(limit), script, ...args], { env }, (error, stdout, stderr) => {
      settle({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
    });
  });
}

/** A machine whose PATH has only what the script itself needs, and `tools` that answer nothing. */
async function runWith(tools: readonly string[], args: readonly string[]): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-arm64-'));
  try {
    for (const name of ['bash', 'dirname', 'realpath', 'env', 'timeout', 'rm']) {
      symlinkSync(`/usr/bin/${name}`, join(folder, name));
    }
    symlinkSync(process.execPath, join(folder, 'node'));
    const answers: Readonly<Record<string, string>> = {
      uname: 'echo x86_64',
      'aarch64-linux-gnu-g++': `echo ${folder}/libc.so.6`,
    };
    for (const name of ['uname', ...tools]) {
      writeFileSync(join(folder, name), `#!/bin/sh\n${answers[name] ?? 'exit 0'}\n`);
      chmodSync(join(folder, name), 0o755);
    }
    return await run(args, 40, { PATH: folder, HOME: folder, SEMANTICVLA_TOOLCHAINS: folder });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

arm64('each missing tool gets one sentence with the command that installs it', async () => {
  const qemu = 'qemu-aarch64-static';
  const compiler = ['aarch64-linux-gnu-g++', 'aarch64-linux-gnu-objdump'];
  const cases: [readonly string[], RegExp][] = [
    [[], /needs QEMU's qemu-aarch64 and found none; .*apt-get install -y qemu-user-static g\+\+-aarch64/],
    [[qemu], /needs the cross compiler aarch64-linux-gnu-g\+\+ and found none; .*apt-get install/],
    [[qemu, ...compiler], /needs Arm's C library and found none .*apt-get install/],
  ];
  for (const [tools, sentence] of cases) {
    const { code, stderr } = await runWith(tools, ['--check']);
    assert.is(code, 3, stderr);
    assert.match(stderr, sentence);
    assert.is(stderr.trim().split('\n').length, 1, stderr);
  }
});

arm64('an option that is not known is refused with what there is', async () => {
  const { code, stderr } = await run(['--chek']);
  assert.is(code, 2);
  assert.match(stderr, /Expected addon, golden, .* but received --chek/);
});

arm64('both builds forbid fused multiply-add, with which pixels would differ on Arm', () => {
  for (const file of [
    'native/binding.gyp',
    'CMakeLists.txt',
    'cmake/kernels.cmake',
    'scripts/kernelTests.sh',
  ]) {
    const text = readFileSync(resolve(script, '../..', file), 'utf8');
    assert.match(text, /-ffp-contract=off/, file);
  }
});

const cmake = spawnSync('cmake', ['--version']).status === 0;

testWhen(
  cmake,
  'cmake is not there (apt-get install -y cmake)',
  arm64,
  'CMake takes the CUDA of the processor that is compiled for',
  () => {
    const toolkit = mkdtempSync(join(tmpdir(), 'semanticvla-arm64-'));
    try {
      for (const folder of ['', 'targets/sbsa-linux', 'targets/x86_64-linux']) {
        for (const file of [
          'include/cuda_runtime_api.h',
          `${folder === '' ? 'lib64' : 'lib'}/libcudart_static.a`,
        ]) {
          mkdirSync(dirname(join(toolkit, folder, file)), { recursive: true });
          writeFileSync(join(toolkit, folder, file), '');
        }
      }
      const program = join(toolkit, 'find.cmake');
      writeFileSync(
        program,
        `set(CMAKE_FIND_LIBRARY_PREFIXES lib)
set(CMAKE_FIND_LIBRARY_SUFFIXES .a)
include(${resolve(script, '../../cmake/findCuda.cmake')})
message(STATUS "library: \${SEMANTICVLA_CUDART_STATIC}")
`,
      );
      const chosen = (options: readonly string[]) => {
        const env = { ...process.env, CUDA_HOME: toolkit };
        const { status, stdout, stderr } = spawnSync('cmake', [...options, '-P', program], {
          encoding: 'utf8',
          env,
        });
        assert.is(status, 0, stderr);
        return [/headers: (.*)/.exec(stdout)?.[1], /library: (.*)/.exec(stdout)?.[1]];
      };
      const arm = '-DCMAKE_SYSTEM_PROCESSOR=aarch64';
      // A board's own toolkit, then the one of a machine that compiles for it.
      assert.equal(chosen([arm]), [join(toolkit, 'include'), join(toolkit, 'lib64/libcudart_static.a')]);
      const target = join(toolkit, 'targets/sbsa-linux');
      assert.equal(chosen([arm, '-DCMAKE_CROSSCOMPILING=1']), [
        join(target, 'include'),
        join(target, 'lib/libcudart_static.a'),
      ]);
    } finally {
      rmSync(toolkit, { recursive: true });
    }
  },
);

/**
 * Done before the test is registered, for a machine may be too busy: emulation is work of 20 s for one core. Compiling is
 * three times that, so it is not done here.
 */
const there = await run(['--check', 'addon']);
const golden = there.code === 0 ? await run(['golden'], 140) : there;
const tooBusy = there.code === 124 || golden.code === 124;

testWhen(
  there.code === 0 && !tooBusy,
  tooBusy ? 'this machine was too busy to emulate it within 140 s' : there.stderr.trim(),
  arm64,
  'on an emulated Arm processor: no fused multiply-add, TensorFlow’s pixels bit for bit, the authors’ actions and patches',
  () => {
    const { code, stdout, stderr } = golden;
    assert.is(code, 0, stderr);
    const seen = JSON.parse(stdout) as {
      arch: string;
      pixels: Record<string, { count: number; max: number }>;
      actions: number;
      normalized: number;
      keptPatches: number[][];
      goldenPatches: number[][];
    };
    assert.is(seen.arch, 'arm64');
    assert.is(Object.keys(seen.pixels).length, 4);
    for (const [step, difference] of Object.entries(seen.pixels)) {
      assert.equal(difference, { count: 0, max: 0 }, step);
    }
    // Tolerances of test/policy/policy.test.ts; that of sums in another order is 2e-6.
    assert.ok(seen.normalized <= 5e-5, `normalized actions differ by ${seen.normalized}`);
    assert.ok(seen.actions <= 1e-4, `actions differ by ${seen.actions}`);
    assert.equal(seen.keptPatches, seen.goldenPatches);
  },
);

arm64.run();
