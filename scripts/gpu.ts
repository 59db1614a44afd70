/**
 * `npm run gpu`: everything that only a GPU can show, in one command, and a report under bench/results/.
 *
 *   1. build:native for this device   2. the kernels' tests under compute-sanitizer   3. for every TensorRT that is found:
 *   engines, all golden cases within bfloat16's noise, full-size latency (random weights) beside the limit, bound weights
 *   beside baked ones (at the widths of the full size with few layers: a baked full-size plan is larger than one buffer)
 *   4. PyTorch eager of the same arithmetic, if a torch with CUDA is there
 *
 *   --runs N      timed runs (1000)         --warm-ups N   before them (300)
 *   --work DIR    where the random-weight policies go (16 GB; default: a folder in the temporary one, removed again)
 *   --skip WORDS  build, kernels, goldens, latency, baked, torch; with commas between
 *
 * Exit codes: 0 all passed; 1 something did not; 2 a bad option; 20 no GPU; 23 no TensorRT.
 */

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { openCheckpoint } from '../lib/checkpoint/openCheckpoint.ts';
import { type FoundTensorRt, findTensorRt } from '../lib/engine/findTensorRt.ts';
import { presetArchitecture } from '../lib/engine/presetArchitecture.ts';
import { tensorRtFamilies } from '../lib/engine/tensorRtPlaces.ts';
import { twinSpec } from '../lib/engine/twin.ts';
import { findMachine, labelOf } from '../lib/runtime/openTensorRt.ts';
import { synthesizeCheckpoint } from '../lib/synth/synthesize.ts';
import { type GoldenRow, type LatencyRow, measureGoldens, measureLatency, powerMode } from './gpu/measure.ts';

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
        work: { type: 'string' },
        skip: { type: 'string', default: '' },
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
const parts = ['build', 'kernels', 'goldens', 'latency', 'baked', 'torch'];
for (const word of skipped) {
  if (!parts.includes(word))
    fail(`--skip: expected some of ${parts.join(', ')}, found ${word}`, exitCodes.usage);
}
if (!hasGpu()) {
  fail(
    'needs an NVIDIA GPU with its driver and found no device file (/dev/nvidia0, /dev/nvgpu); everything that needs none runs in npm test',
    exitCodes.noGpu,
  );
}

const failures: string[] = [];
const report: string[] = [];
const say = (line: string): void => {
  console.log(line);
  report.push(line);
};
const read = (command: string, args: readonly string[]): string | null => {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8' });
  return status === 0 ? stdout : null;
};

function command(part: string, program: string, args: readonly string[]): void {
  if (skipped.has(part)) {
    say(`- ${part}: skipped by option`);
    return;
  }
  const started = performance.now();
  const { status } = spawnSync(program, args, { cwd: root, stdio: 'inherit' });
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  if (status !== 0) failures.push(part);
  say(
    `- ${part}: ${status === 0 ? 'passed' : `FAILED with code ${status}`} in ${seconds} s (${program} ${args.join(' ')})`,
  );
}

function foundFamilies(): FoundTensorRt[] {
  const found: FoundTensorRt[] = [];
  for (const family of tensorRtFamilies) {
    try {
      found.push(findTensorRt({ family }));
    } catch (error) {
      say(`- ${family}: ${(error as Error).message.split('\n', 1)[0]}`);
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

async function attempt(name: string, body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } catch (error) {
    failures.push(name);
    say(`\n${name}: FAILED: ${(error as Error).message}`);
  }
}

async function measure(tensorRt: FoundTensorRt, work: string): Promise<void> {
  process.env.SEMANTICVLA_TENSORRT = tensorRt.library;
  const label = labelOf(tensorRt);
  const { device } = findMachine({});
  say(
    `\n## ${label} on ${device.name} (sm_${device.capability}, driver for CUDA ${device.driverVersion / 1000})\n`,
  );
  say(`clocks and power: ${powerMode(read)}`);
  const timing = { warmUps: Number(values['warm-ups']), runs: Number(values.runs) };
  if (!skipped.has('goldens')) {
    await attempt(`${label}: goldens`, async () => {
      const rows = await measureGoldens();
      goldenTable(rows);
      if (rows.some(({ passed }) => !passed)) failures.push(`${label}: goldens`);
    });
  }
  if (!skipped.has('latency')) {
    await attempt(`${label}: latency`, async () => {
      const checkpoint = await synthesized('libero', work);
      latencyTable(await measureLatency({ ...timing, checkpoint, weights: 'bound', label: 'full size' }));
    });
  }
  if (!skipped.has('baked')) {
    await attempt(`${label}: bound against baked`, async () => {
      const checkpoint = await synthesized('twin', work);
      const rows: LatencyRow[] = [];
      for (const weights of ['bound', 'baked'] as const)
        rows.push(...(await measureLatency({ ...timing, checkpoint, weights, label: 'few layers' })));
      latencyTable(rows);
    });
  }
}

/** Random weights, made once. */
async function synthesized(name: 'libero' | 'twin', work: string): Promise<string> {
  const dir = join(work, name);
  try {
    await openCheckpoint(dir);
    return dir;
  } catch {
    rmSync(dir, { recursive: true, force: true });
  }
  await synthesizeCheckpoint(name === 'twin' ? twinSpec(presetArchitecture('libero').config) : name, dir);
  return dir;
}

say(`# ${new Date().toISOString().slice(0, 10)}, semanticvla on a GPU\n`);
command('build', 'npm', ['run', '--silent', 'build:native']);
command('kernels', 'npm', ['run', '--silent', 'test:gpu', '--', '--sanitizer']);
const families = foundFamilies();
if (families.length === 0)
  fail('needs TensorRT and found none; semanticvla doctor names the command', exitCodes.noTensorRt);
const work = values.work ?? mkdtempSync(join(tmpdir(), 'semanticvla-gpu-'));
mkdirSync(work, { recursive: true });
try {
  for (const tensorRt of families) await attempt(labelOf(tensorRt), () => measure(tensorRt, work));
  if (!skipped.has('torch')) {
    say('\n## PyTorch eager\n');
    const hasTorch = read('python3', ['-c', 'import torch; assert torch.cuda.is_available()']) !== null;
    if (hasTorch) {
      await attempt('PyTorch', async () => {
        const checkpoint = await synthesized('libero', work);
        const args = [
          'bench/reference/eagerLatency.py',
          checkpoint,
          '--warm-ups',
          values['warm-ups'],
          '--runs',
          values.runs,
        ];
        const { status, stdout, stderr } = spawnSync('python3', args, { cwd: root, encoding: 'utf8' });
        if (status !== 0) throw new Error(stderr.trim().split('\n').at(-1));
        say(stdout.trim());
      });
    } else say('not measured: python3 has no torch with CUDA');
  }
} finally {
  if (values.work === undefined) rmSync(work, { recursive: true, force: true });
}
say(`\n${failures.length === 0 ? 'All passed.' : `FAILED: ${failures.join('; ')}.`}`);
const folder = join(root, 'bench/results');
mkdirSync(folder, { recursive: true });
const file = join(folder, `gpu-${new Date().toISOString().slice(0, 16).replaceAll(':', '')}.md`);
writeFileSync(file, `${report.join('\n')}\n`);
console.log(`report: ${file}`);
process.exit(failures.length === 0 ? 0 : exitCodes.failed);
