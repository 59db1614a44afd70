/**
 * `npm run gpu -- --rehearse`: the quarter of an hour on a machine that is not there, as far as a CPU shows it. Packs the parts,
 * unpacks them, starts what was packed in an empty root, runs every stage with the CPU in the GPU's place, kills a run in the
 * middle of a stage and goes on, and prints what each call will take: measured here, or estimated.
 *
 * Full TensorRT builds no engine without a GPU (its builder ends with CUDA error 35), so its stages run through TensorRT's stand-in
 * (test/standin), which computes the same graphs with ONNX Runtime.
 */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Context, StageName } from './context.ts';
import { readFigures } from './figures.ts';
import { type Packed, pack } from './pack.ts';
import { figuresFile } from './runStages.ts';
import { stageNames } from './stages.ts';

/** Seconds on an H200, as nobody has measured them yet. */
const estimates: Partial<Record<StageName, number>> = {
  machine: 3,
  kernels: 15,
  session: 25,
  memcheck: 70,
  racecheck: 70,
  synccheck: 30,
  initcheck: 30,
  tensorrt: 10,
  goldens: 60,
  first: 60,
  latency: 90,
  baked: 40,
  layers: 30,
  torch: 60,
};
/** Of the quarter, and of each call of 60 MB: the start of the machine, and a transfer. */
const startSeconds = 90;
const transferSeconds = 15;

export async function rehearse(context: Context): Promise<number> {
  const { root } = context;
  const work = mkdtempSync(join(tmpdir(), 'semanticvla-rehearsal-'));
  const problems: string[] = [];
  const check = (what: string, passed: boolean, more = ''): void => {
    console.log(`${passed ? 'ok    ' : 'FAILED'} ${what}${more === '' ? '' : `: ${more}`}`);
    if (!passed) problems.push(what);
  };
  try {
    build(root);
    const packed = await timed('packed', () => pack(root, join(root, 'packed'), console.log));
    const home = join(work, 'home');
    const unpacked = unpack(packed, join(root, 'packed'), home, check);
    emptyRoot(home, join(work, 'root'), check);
    await killAndGoOn({ ...context, out: join(work, 'figures') }, check);
    timeTable(packed, unpacked);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  console.log(problems.length === 0 ? 'All that a CPU can show passed.' : `FAILED: ${problems.join('; ')}`);
  return problems.length === 0 ? 0 : 1;
}

type Check = (what: string, passed: boolean, more?: string) => void;

const seconds = (since: number): number => Math.round((performance.now() - since) / 100) / 10;

async function timed<T>(what: string, body: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const value = await body();
  console.log(`       ${what} in ${seconds(start)} s`);
  return value;
}

/** What is packed, compiled where a source is newer. */
function build(root: string): void {
  const sources = spawnSync('git', ['ls-files', 'native', 'test/kernels', 'test/runtime/harness'], {
    cwd: root,
    encoding: 'utf8',
  });
  const changed = sources.stdout
    .split('\n')
    .filter((file) => /\.(cpp|h|cu|cuh)$/.test(file) && existsSync(join(root, file)))
    .map((file) => statSync(join(root, file)).mtimeMs);
  const newest = Math.max(...changed);
  const made: [string, string, string[]][] = [
    ['build-kernels/gpu/sessionHarness', 'scripts/gpuTests.sh', ['--compile-only', '--arch', 'sm_90']],
    [
      'build-cmake/Release/semanticvla_trt10.so',
      process.execPath,
      ['scripts/buildNative.mjs', '--archs', '90'],
    ],
  ];
  for (const [file, program, args] of made) {
    if (existsSync(join(root, file)) && statSync(join(root, file)).mtimeMs > newest) continue;
    console.log(`       ${basename(program)} ${args.join(' ')}`);
    const { status } = spawnSync(program, args, { cwd: root, stdio: 'inherit' });
    if (status !== 0) throw new Error(`${file}: it did not build; the output above says why`);
  }
}

/** @returns seconds by part */
function unpack({ parts }: Packed, folder: string, home: string, check: Check): Record<string, number> {
  mkdirSync(home);
  const taken: Record<string, number> = {};
  for (const { name } of parts) {
    const start = performance.now();
    const { status, stderr } = name.startsWith('base')
      ? spawnSync('tar', ['-xJf', join(folder, name), '-C', home], { encoding: 'utf8' })
      : spawnSync('bash', [join(home, 'scripts/gpu/call.sh'), 'unpack', join(folder, name)], {
          encoding: 'utf8',
        });
    taken[name] = seconds(start);
    check(`${name} unpacks in ${taken[name]} s`, status === 0, stderr.trim().slice(-300));
  }
  return taken;
}

/** Only the C library, the compiler's libraries and what was packed; no variable of this machine's. */
export function emptyRoot(home: string, root: string, check: Check): void {
  if (process.getuid?.() !== 0) {
    console.log('       not root: an empty root (chroot) is not tried');
    return;
  }
  const tensorRt = join(home, 'tensorrt');
  const hasTensorRt = existsSync(tensorRt);
  const programs = [
    join(home, 'bin', basename(realpathSync(process.execPath))),
    ...files(home, /\.(node|so|so\.[\d.]+)$/).filter((file) => !file.includes('/tensorrt/')),
    ...(hasTensorRt ? readdirSync(tensorRt).map((name) => join(tensorRt, name)) : []),
  ];
  for (const library of new Set(programs.flatMap(librariesOf))) {
    if (library.startsWith(home)) continue;
    mkdirSync(join(root, dirname(library)), { recursive: true });
    copyFileSync(realpathSync(library), join(root, library));
  }
  for (const folder of ['tmp', 'proc', 'dev']) mkdirSync(join(root, folder), { recursive: true });
  spawnSync('mknod', ['-m', '666', join(root, 'dev/null'), 'c', '1', '3']);
  spawnSync('cp', ['-rl', home, join(root, 'home')]);
  const inside = (what: string, args: readonly string[], pattern: RegExp): void => {
    const run = spawnSync(
      'env',
      [
        '-i',
        ...['HOME=/tmp', 'SEMANTICVLA_CACHE=/tmp/cache', 'SEMANTICVLA_TENSORRT=/home/tensorrt'],
        'LD_LIBRARY_PATH=/home/tensorrt',
        ...[
          'unshare',
          '--mount',
          'sh',
          '-c',
          `mount -t proc proc "$0/proc"; exec chroot "$0" /home/bin/node --import file:///home/node_modules/tsx/dist/loader.mjs "$@"`,
        ],
        root,
        ...args,
      ],
      { encoding: 'utf8', env: { PATH: process.env.PATH } },
    );
    check(`in an empty root: ${what}`, run.status === 0 && pattern.test(run.stdout), last(run));
  };
  inside('Node starts and lists the stages', ['/home/scripts/gpu.ts', '--list'], /^goldens /m);
  inside(
    'the golden policies on the CPU',
    ['/home/scripts/gpu.ts', '--on-cpu', '--out', '/tmp/figures', '--stages', 'goldens'],
    /^- goldens: passed/m,
  );
  if (!hasTensorRt) {
    console.log('       SEMANTICVLA_TENSORRT names no TensorRT: nothing of it was packed or tried');
    return;
  }
  const open = `import { findTensorRt } from '/home/lib/engine/findTensorRt.ts'; const { family, version, hasKernels } = findTensorRt(); console.log(family, version, hasKernels);`;
  inside(
    'the module and the joined library open',
    ['--input-type=module', '-e', open],
    /^trt10 10\.\S+ true$/m,
  );
}

function last({ stdout, stderr, status }: { stdout: string; stderr: string; status: number | null }): string {
  if (status === 0) return stdout.trim().split('\n').at(-1)!;
  return `${stdout}${stderr}`.trim().slice(-400);
}

function files(folder: string, pattern: RegExp): string[] {
  return (readdirSync(folder, { recursive: true }) as string[])
    .filter((name) => pattern.test(name))
    .map((name) => join(folder, name));
}

/** What the loader opens for a program, the loader itself too. */
function librariesOf(file: string): string[] {
  const { stdout } = spawnSync('ldd', [file], { encoding: 'utf8' });
  return [...stdout.matchAll(/(?:=> |^\s*)(\/\S+) \(0x/gm)].map((match) => match[1]!);
}

/** A run that is killed in the middle of a stage, and the run after it. */
async function killAndGoOn(context: Context, check: Check): Promise<void> {
  const args = ['--on-stand-in', '--out', context.out, '--runs', '5', '--warm-ups', '2'];
  const start = (): ChildProcess =>
    spawn(process.execPath, ['--import', 'tsx', 'scripts/gpu.ts', ...args], {
      cwd: context.root,
      stdio: 'inherit',
    });
  const first = start();
  const recordOf = (name: StageName) => readFigures(figuresFile(context), true).stages[name];
  const killed: StageName = 'goldens';
  while (recordOf(killed)?.status !== 'running' && first.exitCode === null) await sleep(50);
  first.kill('SIGKILL');
  check(`killed in the middle of "${killed}"`, recordOf(killed)?.status === 'running');
  const second = start();
  await new Promise((resolve) => second.once('close', resolve));
  const { stages } = readFigures(figuresFile(context), true);
  check(
    'the next run repeats that stage and none before it',
    stages[killed]?.attempts === 2 &&
      stageNames.every((name) => name === killed || (stages[name]?.attempts ?? 0) <= 1),
  );
  for (const name of stageNames) {
    const record = stages[name];
    const text = `${record?.status ?? 'not run'} in ${record?.seconds ?? 0} s`;
    check(
      `stage ${name} in rehearsal, ${text}`,
      record !== undefined && record.status !== 'failed',
      record?.reason,
    );
  }
  check('a page of them', existsSync(join(context.out, 'report.md')));
  const kept = join(context.root, 'gpu-rehearsal');
  mkdirSync(kept, { recursive: true });
  for (const name of ['figures.json', 'report.md']) copyFileSync(join(context.out, name), join(kept, name));
  console.log(`       kept: ${kept}`);
}

function timeTable({ parts, calls }: Packed, unpacked: Readonly<Record<string, number>>): void {
  const rows = calls.map(({ carry, command, timeout }, i) => {
    const part = parts.find(({ name }) => carry.some((path) => basename(path) === name));
    const bytes = part === undefined ? '' : `${(part.bytes / 2 ** 20).toFixed(1)} MiB`;
    const stages =
      i === 0 ? firstStages(command) : i === calls.length - 1 ? laterStages(calls[0]!.command) : [];
    const work = stages.reduce((sum, name) => sum + (estimates[name] ?? 0), 0);
    const unpacking = part === undefined ? 0 : unpacked[part.name]!;
    const total =
      (part === undefined ? 0 : transferSeconds) + unpacking + work + (i === 0 ? startSeconds : 0);
    return { i, bytes, unpacking, work, total, timeout, length: command.length };
  });
  console.log(
    '\ncall  part        unpacked (measured)  stages (estimated)  with transfer (estimated)  limit  command',
  );
  for (const { i, bytes, unpacking, work, total, timeout, length } of rows) {
    const cells = [
      bytes.padEnd(11),
      `${unpacking} s`.padEnd(20),
      `${work} s`.padEnd(19),
      `${total.toFixed(0)} s`.padEnd(26),
    ];
    console.log(`${String(i + 1).padEnd(5)} ${cells.join(' ')} ${timeout} s  ${length} characters`);
  }
  const all = rows.reduce((sum, { total }) => sum + total, 0);
  console.log(
    `all together ${all.toFixed(0)} of 900 s, with ${startSeconds} s for the start of the machine and ${transferSeconds} s for a transfer (both estimated)`,
  );
  writeFileSync('gpu-rehearsal/times.json', `${JSON.stringify({ rows, all, unpacked }, null, 1)}\n`);
}

const firstStages = (command: string): StageName[] =>
  /--stages (\S+)/.exec(command)![1]!.split(',') as StageName[];
const laterStages = (first: string): StageName[] =>
  stageNames.filter((name) => !firstStages(first).includes(name) && !/^(sync|init)check$/.test(name));
