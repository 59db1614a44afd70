/**
 * `npm run gpu`: everything that only a GPU can show, in stages (gpu/stages.ts) in the order of their worth. Each is a process of
 * its own with a time limit; what it found is written at once to figures.json. Run again, it goes on where it ended. On a machine
 * with a network it fetches a compiler and TensorRT where there are none; scripts/gpu/README.md says how a machine without one,
 * lent for a quarter of an hour, is used.
 *
 *   --stages WORDS  these only; --list names them      --skip WORDS  all but these
 *   --again WORDS   forget what was found in these stages, then run
 *   --budget S      seconds for all; what does not fit is left for the next run
 *   --limit S       seconds that each stage may take, below its own limit
 *   --out DIR       figures, logs and report.md (gpu-figures)
 *   --work DIR      where random-weight policies (20 GB) and engines go (default: below --out)
 *   --runs N        timed runs (1000)                  --warm-ups N   before them (300)
 *   --golden NAME   that golden case alone (libero-tiny, aloha-tiny, oft-tiny)
 *   --prepared      programs, addon and TensorRT were brought along: compile and fetch nothing
 *   --background S  start that stage by itself and return; a later run waits for it
 *   --on-cpu        the stages with the CPU in the GPU's place: no figure is one of a GPU
 *   --on-stand-in   the same through TensorRT's stand-in, which computes (test/standin)
 *   --publish       figures of --out to bench/results/ and into the README's table
 *   --pack DIR      what a machine without a network needs, in parts, and the list of calls (gpu/pack.ts)
 *   --rehearse      all of that as far as a CPU shows it: parts, an empty machine, every stage, a kill (gpu/rehearse.ts)
 *   --board         a Jetson, which is checked first (scripts/jetson.sh)
 *
 * Exit codes: 0 all passed; 1 something did not; 2 a bad option; 20 no GPU; 23 no TensorRT.
 */

import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { goldenNames } from '../test/helpers/goldenCase.ts';
import type { Context, StageName } from './gpu/context.ts';
import { readFigures, writeJson } from './gpu/figures.ts';
import { publish, reportOf } from './gpu/report.ts';
import { figuresFile, runStages } from './gpu/runStages.ts';
import { stageNames, stages } from './gpu/stages.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const exitCodes = { failed: 1, usage: 2, noGpu: 20, noTensorRt: 23 } as const;

function fail(sentence: string, code: number): never {
  console.error(`semanticvla gpu: ${sentence}`);
  process.exit(code);
}

function options() {
  const text = (value: string) => ({ type: 'string', default: value }) as const;
  const flag = { type: 'boolean', default: false } as const;
  try {
    return parseArgs({
      options: {
        stages: { type: 'string' },
        skip: text(''),
        again: text(''),
        budget: text('86400'),
        limit: text('3600'),
        out: text('gpu-figures'),
        work: { type: 'string' },
        runs: text('1000'),
        'warm-ups': text('300'),
        golden: { type: 'string' },
        background: { type: 'string' },
        pack: { type: 'string' },
        prepared: flag,
        'on-cpu': flag,
        'on-stand-in': flag,
        publish: flag,
        rehearse: flag,
        board: flag,
        list: flag,
      },
    }).values;
  } catch (error) {
    return fail((error as Error).message, exitCodes.usage);
  }
}

const values = options();

function whole(name: 'budget' | 'limit' | 'runs' | 'warm-ups'): number {
  const value = Number(values[name]);
  if (Number.isInteger(value) && value >= 1) return value;
  return fail(`--${name}: expected a whole number above 0, found ${values[name]}`, exitCodes.usage);
}

function named(flag: 'stages' | 'skip' | 'again' | 'background'): StageName[] {
  const words = (values[flag] ?? '').split(',').filter((word) => word !== '');
  return words.map(
    (word) =>
      stageNames.find((name) => name === word) ??
      fail(`--${flag}: expected some of ${stageNames.join(', ')}, found ${word}`, exitCodes.usage),
  );
}

/** A device file of the driver, on a PC or a Jetson. */
function hasGpu(): boolean {
  return readdirSync('/dev').some(
    (name) => /^nvidia\d+$/.test(name) || name === 'nvhost-gpu' || name === 'nvgpu',
  );
}

function contextOf(): Context {
  const golden = goldenNames.find((name) => name === values.golden);
  if (values.golden !== undefined && golden === undefined)
    fail(`--golden: expected ${goldenNames.join(', ')}, found ${values.golden}`, exitCodes.usage);
  const out = resolve(values.out);
  return {
    root,
    out,
    work: resolve(values.work ?? join(out, 'work')),
    rehearsal: values['on-cpu'] || values['on-stand-in'],
    backend: values['on-cpu'] ? 'cpu' : 'tensorrt',
    goldens: golden === undefined ? goldenNames : [golden],
    runs: whole('runs'),
    warmUps: whole('warm-ups'),
    prepared: values.prepared,
    board: values.board,
  };
}

/** A process that outlives this one. The stage itself takes the same lock, and waits for it. */
function startInBackground(name: StageName, context: Context): void {
  const command = stages[name].command(context);
  if (command === null || typeof command === 'string')
    fail(`--background ${name}: ${command ?? 'nothing to do'}`, exitCodes.usage);
  spawn(command.program, command.args, { cwd: root, detached: true, stdio: 'ignore' }).unref();
}

async function run(context: Context): Promise<number> {
  const skipped = named('skip');
  const again = named('again');
  const names = (values.stages === undefined ? stageNames : named('stages')).filter(
    (name) => !skipped.includes(name),
  );
  const [budget, limit] = [whole('budget'), whole('limit')];
  // a board is looked at by its own stage, which says more
  if (!context.rehearsal && !context.board && !hasGpu()) {
    fail(
      'needs an NVIDIA GPU with its driver and found no device file (/dev/nvidia0, /dev/nvgpu); everything that needs none runs in npm test, and --rehearse tries this plan',
      exitCodes.noGpu,
    );
  }
  const file = figuresFile(context);
  const before = readFigures(file, context.rehearsal);
  const kept = Object.entries(before.stages).filter(([name]) => !again.includes(name as StageName));
  writeJson(file, { ...before, stages: Object.fromEntries(kept) });
  const figures = await runStages(context, {
    names,
    budget,
    limit,
    say: (line) => console.log(line),
  });
  const page = join(context.out, 'report.md');
  writeFileSync(page, reportOf(figures));
  console.log(context.board ? `to paste into an issue: ${page}` : `figures: ${file}, as a page: ${page}`);
  const failed = stageNames.filter((name) => figures.stages[name]?.status === 'failed');
  if (failed.length === 0) return 0;
  console.log(`FAILED: ${failed.join(', ')}`);
  return failed.includes('tensorrt') ? exitCodes.noTensorRt : exitCodes.failed;
}

async function main(): Promise<number> {
  const context = contextOf();
  if (values.list) {
    for (const name of stageNames)
      console.log(`${name.padEnd(10)} ${String(stages[name].limit).padStart(5)} s  ${stages[name].title}`);
    return 0;
  }
  if (values.rehearse) return (await import('./gpu/rehearse.ts')).rehearse(context);
  if (values.pack !== undefined) {
    await (await import('./gpu/pack.ts')).pack(root, resolve(values.pack), (line) => console.log(line));
    return 0;
  }
  if (values.publish) {
    const figures = readFigures(figuresFile(context), false);
    for (const file of publish(figures, root)) console.log(file);
    return 0;
  }
  for (const folder of [context.out, context.work]) mkdirSync(folder, { recursive: true });
  // the stages inherit it
  if (values['on-stand-in'])
    process.env.SEMANTICVLA_TENSORRT = await (await import('../test/standin/standIn.ts')).standIn();
  const [background] = named('background');
  if (background === undefined) return run(context);
  startInBackground(background, context);
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  fail((error as Error).message, exitCodes.failed);
}
