/** `npm run gpu` where there is no GPU: its stages on the CPU, a run that is killed, and what it says and publishes. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { callsOf } from '../../scripts/gpu/calls.ts';
import { type Figures, readFigures } from '../../scripts/gpu/figures.ts';
import { readmeRows, reportOf, withRows } from '../../scripts/gpu/report.ts';
import { stageNames, stages } from '../../scripts/gpu/stages.ts';
import { capabilityOf, tensorRtFor } from '../../scripts/gpu/tensorRtFor.ts';
import { testWhen } from '../helpers/skip.ts';

const test = suite('gpu script');
const root = join(import.meta.dirname, '../..');
const hasGpu = readdirSync('/dev').some((name) => /^nvidia\d+$|^nvhost-gpu$|^nvgpu$/.test(name));
const script = ['--import', 'tsx', 'scripts/gpu.ts'];

const run = (...args: readonly string[]) =>
  spawnSync(process.execPath, [...script, ...args], { cwd: root, encoding: 'utf8' });

testWhen(!hasGpu, 'this machine has a GPU', test, 'without a GPU: one line and its own code', () => {
  const { status, stdout, stderr } = run();
  assert.is(status, 20);
  assert.is(stdout, '');
  assert.is(stderr.trim().split('\n').length, 1);
  assert.match(stderr, /needs an NVIDIA GPU/);
});

/** Whether a process of the group is at work; one that is dead and not yet collected by its parent is not. */
function isRunning(group: number): boolean {
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return processes.some((id) => {
    try {
      const stat = readFileSync(`/proc/${id}/stat`, 'latin1');
      const [state, , inGroup] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return Number(inGroup) === group && state !== 'Z' && state !== 'X';
    } catch {
      return false; // it has ended meanwhile
    }
  });
}

test('a run that is killed in a stage: the next one repeats that stage alone, and the page names all', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-gpu-test-'));
  try {
    const file = join(folder, 'figures.json');
    const args = [
      '--on-cpu',
      '--out',
      folder,
      '--golden',
      'oft-tiny',
      '--stages',
      'machine,tensorrt,goldens',
    ];
    const first: ChildProcess = spawn(process.execPath, [...script, ...args], { cwd: root, stdio: 'ignore' });
    const ended = new Promise((resolve) => first.once('exit', resolve));
    while (readFigures(file, true).stages.goldens?.status !== 'running' && first.exitCode === null)
      await sleep(20);
    first.kill('SIGKILL');
    await ended;
    const { pid } = readFigures(file, true).stages.goldens!;
    const second = run(...args);
    assert.is(second.status, 0, `${second.stdout}${second.stderr}`);
    for (let waited = 0; waited < 500 && isRunning(pid!); waited++) await sleep(20);
    assert.not(isRunning(pid!), 'what the killed run left behind is ended');
    const { machine, goldens } = readFigures(file, true).stages;
    assert.equal([machine?.attempts, goldens?.attempts], [1, 2]);
    assert.ok(goldens!.result!.goldens!.length > 0);
    assert.ok(goldens!.result!.goldens!.every(({ passed, samePatches }) => passed && samePatches));
    assert.not.match(second.stdout, /^- machine/m);
    const page = readFileSync(join(folder, 'report.md'), 'utf8');
    assert.match(page, /^# semanticvla on a CPU: a rehearsal/);
    assert.match(page, /^\| goldens \| .* \| passed \|/m);
    assert.match(page, /\| oft-tiny \| .* \| ok \|/);
    // figures of a rehearsal are not taken for measured ones
    assert.throws(() => readFigures(file, false), /expected figures measured on a GPU/);
    const published = run('--publish', '--out', folder);
    assert.is(published.status, 1);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a stage that takes too long is ended and named, what needs it is skipped, and the others go on', () => {
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-gpu-test-'));
  try {
    const names = 'machine,compile,kernels,tensorrt';
    // a compiler takes longer than a second
    const { status, stdout } = run(
      '--on-cpu',
      '--limit',
      '1',
      '--out',
      folder,
      '--stages',
      'compile,kernels',
    );
    assert.is(status, 1);
    assert.match(stdout, /^- compile: failed in [\d.]+ s: no end within its 1 s/m);
    assert.match(stdout, /^- kernels: skipped: it needs "compile", which did not pass$/m);
    const later = run('--on-cpu', '--out', folder, '--stages', names);
    assert.match(later.stdout, /^- machine: passed/m);
    assert.match(later.stdout, /^- tensorrt: passed/m);
    assert.not.match(later.stdout, /^- compile/m, 'a failed stage is not run again unasked');
    assert.match(later.stdout, /^FAILED: compile$/m);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

testWhen(
  process.env.SEMANTICVLA_LONG_TESTS === '1',
  'it compiles for a minute; SEMANTICVLA_LONG_TESTS=1 runs it',
  test,
  'kernels, the session and the sanitizer stages, through the stand-in for CUDA',
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'semanticvla-gpu-test-'));
    try {
      const names = 'compile,kernels,session,memcheck';
      const { status, stdout } = run('--on-cpu', '--out', folder, '--stages', names);
      assert.is(status, 0, stdout);
      const { session, memcheck } = readFigures(join(folder, 'figures.json'), true).stages;
      assert.equal(session!.result!.lines!.at(-1), { passed: true });
      assert.match(
        memcheck!.result!.facts!.result!,
        /kernelTests was not watched; [1-9]\d* passed, 0 failed, [1-9]\d* cases.*sessionHarness/,
      );
      assert.ok(
        session!.result!.lines!.some((line) => line.case === 'no graphs' && Number(line.hostP50) > 0),
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

test('bad options are refused', () => {
  for (const args of [['--skip', 'nothing'], ['--runz'], ['--limit', 'soon'], ['--golden', 'none']])
    assert.is(run(...args).status, 2, args.join(' '));
});

test('every stage comes after those that it needs', () => {
  stageNames.forEach((name, i) => {
    for (const before of stages[name].after)
      assert.ok(stageNames.indexOf(before) < i, `${before} before ${name}`);
  });
});

test('the calls of a lent machine: short enough, in time, every part once', () => {
  const parts = ['base.tar.xz', ...Array.from({ length: 10 }, (_, i) => `tensorrt-${i}.tar`)];
  const calls = callsOf(parts);
  assert.equal(
    calls.flatMap(({ carry }) => carry),
    parts.map((name) => `packed/${name}`),
  );
  for (const { command, timeout } of calls) {
    assert.ok(command.length <= 2000, `${command.length} characters`);
    assert.ok(timeout <= 600);
  }
  // its own budget ends a call before the machine's limit does, which would bring nothing back
  for (const { command, timeout } of calls) {
    const budget = Number(/--budget (\d+)/.exec(command)?.[1] ?? 0);
    assert.ok(budget + 30 <= timeout, command);
  }
});

const measured: Figures = {
  format: 'semanticvla-gpu',
  version: 1,
  rehearsal: false,
  stages: {
    tensorrt: {
      ...{ status: 'passed', attempts: 1, seconds: 8, at: '2026-01-01T00:00:00Z' },
      result: { facts: { device: 'NVIDIA H200 (sm_90, driver for CUDA 13)' } },
    },
    latency: {
      ...{ status: 'passed', attempts: 1, seconds: 60, at: '2026-01-01T00:00:00Z' },
      result: {
        latency: [
          {
            ...{
              what: 'libero, bfloat16',
              runs: 1000,
              p50: 5.01,
              p90: 5.2,
              p99: 5.4,
              h2d: 0.1,
              compute: 4.8,
            },
            ...{ d2h: 0.02, enqueue: 0.05, loadMs: 9000, firstChunkMs: 80, limitMs: 3.5 },
          },
        ],
      },
    },
    torch: {
      ...{ status: 'passed', attempts: 1, seconds: 60, at: '2026-01-01T00:00:00Z' },
      result: { lines: [{ p50: 41.25 }] },
    },
    baked: {
      status: 'failed',
      attempts: 1,
      seconds: 3,
      at: '2026-01-01T00:00:00Z',
      reason: 'signal SIGSEGV',
    },
  },
};

test('figures become a page and rows of the README; rows of another device stay, and nothing comes twice', () => {
  const page = reportOf(measured);
  assert.match(page, /^# semanticvla on NVIDIA H200$/m);
  assert.match(page, /^\| baked \| .* \| failed \| 3 \| .* \| signal SIGSEGV \|$/m);
  assert.match(page, /\| libero, bfloat16 \| 1000 \| 5\.010 \| 5\.200 \| 5\.400 \| .* \| 3\.500 \| 70 % \|/);
  const rows = readmeRows(measured.stages);
  assert.equal(rows, [
    '| NVIDIA H200 | libero, bfloat16 | 5.010, 5.200, 5.400 | 3.500 | PyTorch eager: 41.3 ms |',
  ]);
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const once = withRows(readme, 'NVIDIA H200', rows);
  const twice = withRows(once, 'NVIDIA H200', rows);
  assert.is(twice, once);
  const both = withRows(once, 'Thor', ['| Thor | libero | 1, 2, 3 | | |']);
  assert.is(both.split('\n').filter((line) => /^\| (NVIDIA H200|Thor) \|/.test(line)).length, 2);
});

test('which TensorRT a card gets, told before it is fetched', () => {
  assert.is(capabilityOf('9.0\n', null), 90);
  assert.is(capabilityOf('8.9\n12.0\n', null), 89);
  assert.is(capabilityOf(null, 'NVIDIA Jetson AGX Orin Developer Kit\0'), 87);
  assert.is(capabilityOf('[N/A]', 'NVIDIA Jetson AGX Thor Developer Kit\0'), 110);
  assert.is(capabilityOf(null, null), null);
  for (const capability of [75, 80, 86, 89, 120, 121])
    assert.equal(tensorRtFor(capability), { script: 'scripts/fetchTensorRtRtx.sh' });
  const sentence = (capability: number | null): string => {
    const get = tensorRtFor(capability);
    assert.not.ok('script' in get);
    return 'sentence' in get ? get.sentence : '';
  };
  assert.match(sentence(90), /^sm_90 is none of TensorRT-RTX's .*get TensorRT 10\.3 or newer/);
  assert.match(sentence(100), /^sm_100 is none/);
  for (const board of [87, 110]) assert.match(sentence(board), /nvidia-jetpack$/);
  assert.match(sentence(null), /nothing is fetched/);
});

test.run();
