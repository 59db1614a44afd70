/**
 * `npm run gpu`: everything that only a GPU can show, in one command, and a report under bench/results/.
 *
 *   1. a compiler is fetched where the machine has none   2. the kernels' tests under compute-sanitizer, which need nvcc alone
 *   3. the addon and its modules, which need cmake, and cmake-js from npm ci: Node's headers come with it   4. TensorRT-RTX is
 *   fetched where no TensorRT is and the card is one of its   5. for every TensorRT that is found: a first latency (the widths
 *   of the full size with few layers), all golden cases within bfloat16's noise, full-size latency (random weights) beside the
 *   limit, bound weights beside baked ones (few layers)   6. PyTorch eager of the same arithmetic, if a torch with CUDA is there
 *
 * Each step is a process of its own: one that crashes or takes too long is named, and the next one begins. The report is
 * written line by line.
 *
 *   --runs N      timed runs (1000)         --warm-ups N   before them (300)
 *   --work DIR    where the random-weight policies go (16 GB; default: a folder in the temporary one, removed again)
 *   --limit S     seconds that each step may take (1800)
 *   --golden NAME that golden case alone (libero-tiny, aloha-tiny, oft-tiny)
 *   --skip WORDS  fetch, kernels, build, first, goldens, latency, baked, torch; with commas between
 *   --report FILE default: bench/results/gpu-TIME.md
 *   --rehearse    go through all steps on a machine without a GPU, too: shows that the report names what failed
 *
 * Exit codes: 0 all passed; 1 something did not; 2 a bad option; 20 no GPU; 23 no TensorRT.
 */

import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type FoundTensorRt, findTensorRt } from '../lib/engine/findTensorRt.ts';
import { labelOf } from '../lib/engine/openTensorRt.ts';
import { tensorRtFamilies } from '../lib/engine/tensorRtPlaces.ts';
import { goldenNames } from '../test/helpers/goldenCase.ts';
import { type GoldenRow, type LatencyRow, powerMode } from './gpu/measure.ts';
import type { StepRequest, StepResult } from './gpu/step.ts';
import { capabilityOf, servesRtx, tensorRtFor } from './gpu/tensorRtFor.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const exitCodes = { failed: 1, usage: 2, noGpu: 20, noTensorRt: 23 } as const;

function fail(sentence: string, code: number): never {
  console.error(`semanticvla gpu: ${sentence}`);
  process.exit(code);
}

function options() {
  try {
    return parseArgs({
      options: {
        runs: { type: 'string', default: '1000' },
        'warm-ups': { type: 'string', default: '300' },
        limit: { type: 'string', default: '1800' },
        golden: { type: 'string' },
        work: { type: 'string' },
        skip: { type: 'string', default: '' },
        report: { type: 'string' },
        rehearse: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    return fail((error as Error).message, exitCodes.usage);
  }
}

/** A device file of the driver, on a PC or a Jetson. */
function hasGpu(): boolean {
  return readdirSync('/dev').some(
    (name) => /^nvidia\d+$/.test(name) || name === 'nvhost-gpu' || name === 'nvgpu',
  );
}

const values = options();
const skipped = new Set(values.skip.split(',').filter((word) => word !== ''));
const parts = ['fetch', 'kernels', 'build', 'first', 'goldens', 'latency', 'baked', 'torch'];
for (const word of skipped) {
  if (!parts.includes(word))
    fail(`--skip: expected some of ${parts.join(', ')}, found ${word}`, exitCodes.usage);
}
const limit = Number(values.limit);
if (!Number.isInteger(limit) || limit < 1)
  fail(`--limit: expected whole seconds, found ${values.limit}`, exitCodes.usage);
const golden = goldenNames.find((name) => name === values.golden);
if (values.golden !== undefined && golden === undefined)
  fail(`--golden: expected ${goldenNames.join(', ')}, found ${values.golden}`, exitCodes.usage);
if (!hasGpu() && !values.rehearse) {
  fail(
    'needs an NVIDIA GPU with its driver and found no device file (/dev/nvidia0, /dev/nvgpu); everything that needs none runs in npm test',
    exitCodes.noGpu,
  );
}

const file = resolve(
  values.report ??
    join(root, 'bench/results', `gpu-${new Date().toISOString().slice(0, 16).replaceAll(':', '')}.md`),
);
mkdirSync(dirname(file), { recursive: true });
writeFileSync(file, '');
const failures: string[] = [];
/** Written to disk at once, to survive whatever happens next. */
const say = (line: string): void => {
  console.log(line);
  appendFileSync(file, `${line}\n`);
};
const read = (command: string, args: readonly string[]): string | null => {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8' });
  return status === 0 ? stdout : null;
};
/** 124 and 137 are `timeout`'s own. */
const ending = (status: number | null, signal: string | null): string =>
  status === 124 || status === 137
    ? `no end within its ${limit} s`
    : signal === null
      ? `code ${status}`
      : `signal ${signal}`;
/** As a process group that ends with the limit, compilers and tools that it started too. */
const limited = (program: string, args: readonly string[]): readonly [string, string[]] => [
  'timeout',
  ['--kill-after=5', String(limit), program, ...args],
];

function command(part: string, program: string, args: readonly string[]): void {
  if (skipped.has(part)) {
    say(`- ${part}: skipped by option`);
    return;
  }
  const started = performance.now();
  const { status, signal, error } = spawnSync(...limited(program, args), { cwd: root, stdio: 'inherit' });
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  if (status !== 0) failures.push(part);
  const outcome = status === 0 ? 'passed' : `FAILED with ${error?.message ?? ending(status, signal)}`;
  say(`- ${part}: ${outcome} in ${seconds} s (${program} ${args.join(' ')})`);
}

/** Of the first card (90); null: not told. */
function cardCapability(): number | null {
  const model = '/proc/device-tree/model';
  const smi = read('nvidia-smi', ['--query-gpu=compute_cap', '--format=csv,noheader']);
  return capabilityOf(smi, existsSync(model) ? readFileSync(model, 'utf8') : null);
}

/** `told`: the report says what is missing. */
function foundFamilies(told: boolean): FoundTensorRt[] {
  const found: FoundTensorRt[] = [];
  for (const family of tensorRtFamilies) {
    try {
      found.push(findTensorRt({ family }));
    } catch (error) {
      if (told) say(`- ${family}: ${(error as Error).message.split('\n', 1)[0]}`);
    }
  }
  return found;
}

function goldenTable(rows: readonly GoldenRow[]): void {
  say('\n| golden | sample | difference | allowed | same patches | |\n| --- | --- | --- | --- | --- | --- |');
  for (const row of rows) {
    const verdict = row.passed ? 'ok' : 'FAILED';
    say(
      `| ${row.golden} | ${row.sample} | ${row.difference.toExponential(2)} | ${row.allowed.toExponential(2)} | ${row.samePatches} | ${verdict} |`,
    );
  }
}

function latencyTable(rows: readonly LatencyRow[]): void {
  say('\n| what | runs | p50 ms | p90 ms | p99 ms | device p50 ms | limit ms | of the limit |');
  say('| --- | --- | --- | --- | --- | --- | --- | --- |');
  for (const row of rows) {
    const share = row.limitMs === null ? '' : `${((100 * row.limitMs) / row.p50).toFixed(0)} %`;
    const numbers = [row.p50, row.p90, row.p99, row.deviceP50].map((ms) => ms.toFixed(2)).join(' | ');
    say(`| ${row.what} | ${row.runs} | ${numbers} | ${row.limitMs?.toFixed(2) ?? 'unknown'} | ${share} |`);
  }
}

/** A step in a process of its own (gpu/step.ts); null: it failed, and the report says so. */
function step(name: string, tensorRt: FoundTensorRt | null, request: StepRequest): StepResult | null {
  const env = { ...process.env };
  if (tensorRt !== null) env.SEMANTICVLA_TENSORRT = tensorRt.library;
  const out = join(work, 'step.json');
  rmSync(out, { force: true });
  const args = ['--import', 'tsx', join(root, 'scripts/gpu/step.ts'), JSON.stringify(request), out];
  const { status, signal } = spawnSync(...limited(process.execPath, args), {
    cwd: root,
    env,
    stdio: 'inherit',
  });
  const result = readResult(out);
  if (status === 0 && result !== null && result.error === undefined) return result;
  failures.push(name);
  say(`\n${name}: FAILED: ${result?.error ?? `the process ended with ${ending(status, signal)}`}`);
  return null;
}

function readResult(out: string): StepResult | null {
  try {
    return JSON.parse(readFileSync(out, 'utf8')) as StepResult;
  } catch {
    return null;
  }
}

function measure(tensorRt: FoundTensorRt): void {
  const label = labelOf(tensorRt);
  const device = step(`${label}: device`, tensorRt, { step: 'device' });
  say(`\n## ${label} on ${device?.device ?? 'no device'}\n`);
  if (device === null && !values.rehearse) return;
  say(`clocks and power: ${powerMode(read)}`);
  const timing = { work, warmUps: Number(values['warm-ups']), runs: Number(values.runs) };
  if (!skipped.has('first')) {
    const result = step(`${label}: first latency`, tensorRt, { step: 'first', ...timing });
    if (result !== null) latencyTable(result.latency ?? []);
  }
  if (!skipped.has('goldens')) {
    const result = step(`${label}: goldens`, tensorRt, {
      step: 'goldens',
      names: golden === undefined ? goldenNames : [golden],
    });
    if (result !== null) goldenTable(result.goldens ?? []);
    if (result?.goldens?.some(({ passed }) => !passed)) failures.push(`${label}: goldens`);
  }
  if (!skipped.has('latency')) {
    const result = step(`${label}: latency`, tensorRt, { step: 'latency', ...timing });
    if (result !== null) latencyTable(result.latency ?? []);
  }
  if (!skipped.has('baked')) {
    const result = step(`${label}: bound against baked`, tensorRt, { step: 'baked', ...timing });
    if (result !== null) latencyTable(result.latency ?? []);
  }
}

function torch(): void {
  say('\n## PyTorch eager\n');
  if (read('python3', ['-c', 'import torch; assert torch.cuda.is_available()']) === null) {
    say('not measured: python3 has no torch with CUDA');
    return;
  }
  const made = step('PyTorch: checkpoint', null, { step: 'checkpoint', work });
  if (made?.checkpoint === undefined) return;
  const args = ['--warm-ups', values['warm-ups'], '--runs', values.runs];
  const { status, stdout, stderr } = spawnSync(
    ...limited('python3', ['bench/reference/eagerLatency.py', made.checkpoint, ...args]),
    { cwd: root, encoding: 'utf8' },
  );
  if (status === 0) say(stdout.trim());
  else {
    failures.push('PyTorch');
    say(`PyTorch: FAILED: ${stderr.trim().split('\n').at(-1)}`);
  }
}

say(`# ${new Date().toISOString().slice(0, 10)}, semanticvla on a GPU\n`);
const hasNvcc = [process.env.CUDA_HOME, '/usr/local/cuda'].some(
  (folder) => folder !== undefined && existsSync(join(folder, 'bin/nvcc')),
);
if (!hasNvcc && read('nvcc', ['--version']) === null) command('fetch', 'scripts/fetchNvcc.sh', []);
command('kernels', 'scripts/gpuTests.sh', ['--sanitizer']);
command('build', process.execPath, ['scripts/buildNative.mjs']);
const capability = cardCapability();
if (foundFamilies(false).length === 0) {
  const get = tensorRtFor(capability);
  if ('script' in get) command('fetch', get.script, []);
  else say(`- TensorRT: ${get.sentence}`);
}
const families = foundFamilies(true).filter(({ family }) => {
  if (family !== 'rtx1' || capability === null || servesRtx(capability)) return true;
  say(`- TensorRT-RTX is here and builds nothing for sm_${capability}: not measured`);
  return false;
});
const work = resolve(values.work ?? mkdtempSync(join(tmpdir(), 'semanticvla-gpu-')));
mkdirSync(work, { recursive: true });
try {
  if (families.length === 0) {
    failures.push('TensorRT');
    say('TensorRT: FAILED: found none; semanticvla doctor names the command that installs it');
  }
  for (const tensorRt of families) measure(tensorRt);
  if (!skipped.has('torch')) torch();
} finally {
  if (values.work === undefined) rmSync(work, { recursive: true, force: true });
}
say(`\n${failures.length === 0 ? 'All passed.' : `FAILED: ${failures.join('; ')}.`}`);
console.log(`report: ${file}`);
process.exit(failures.length === 0 ? 0 : families.length === 0 ? exitCodes.noTensorRt : exitCodes.failed);
