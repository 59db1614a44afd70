/**
 * The stages of `npm run gpu`, in the order of what they are worth: if time ends, what is lost is worth less than what is there.
 * The limits are what one stage may take from the others, not what it takes.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Context, StageName } from './context.ts';
import type { StageResult } from './figures.ts';
import { cardCapability } from './tensorRtFor.ts';

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface Stage {
  readonly title: string;
  /** Seconds. */
  readonly limit: number;
  /** Stages without which it makes no sense. */
  readonly after: readonly StageName[];
  /** What to run; a sentence: why it is left out here; null: nothing to do. */
  readonly command: (context: Context) => Command | string | null;
  /** What a program printed, as figures; absent: the command writes its result itself (step.ts). */
  readonly read?: (output: string) => StageResult;
}

const programs = (context: Context): string =>
  context.rehearsal ? join(context.work, 'programs') : 'build-kernels/gpu';

/** One part of scripts/gpuTests.sh. */
function gpuTests(title: string, part: string, limit: number): Stage {
  return {
    title,
    limit,
    after: ['compile'],
    command: (context) => {
      const args = ['--compiled', '--build', programs(context), '--only', part];
      if (!context.rehearsal) return { program: 'scripts/gpuTests.sh', args };
      return {
        program: 'scripts/gpuTests.sh',
        // in host memory a run takes a second, and there is nothing to watch
        args: [...args, '--', 'film'],
        env: { SESSION_HARNESS: '4 2', COMPUTE_SANITIZER: join(context.root, 'scripts/gpu/noSanitizer.sh') },
      };
    },
    read: readProgram,
  };
}

/** JSON lines, and the last line that counts. */
function readProgram(output: string): StageResult {
  const lines = output.split('\n');
  const counted = lines.filter((line) => /^\d+ passed, \d+ failed|ERROR SUMMARY/.test(line));
  // a program that died may have left half a line
  const json = lines.filter((line) => /^\{.*\}$/.test(line)).map((line) => JSON.parse(line));
  return {
    ...(counted.length === 0 ? {} : { facts: { result: counted.join('; ') } }),
    ...(json.length === 0 ? {} : { lines: json }),
  };
}

const step = (
  title: string,
  limit: number,
  after: readonly StageName[],
  name: StageName,
  only?: (context: Context) => string | null,
): Stage => ({
  title,
  limit,
  after,
  command: (context) =>
    only?.(context) ?? {
      program: process.execPath,
      args: ['--import', 'tsx', join(context.root, 'scripts/gpu/step.ts'), name, JSON.stringify(context)],
    },
});

/** One at a time: it may have been started before, in the background. */
function locked(stage: Stage): Stage {
  return {
    ...stage,
    command: (context) => {
      const command = stage.command(context);
      if (command === null || typeof command === 'string') return command;
      return {
        ...command,
        program: 'flock',
        args: [join(context.out, 'lock'), command.program, ...command.args],
      };
    },
  };
}

const unlessPrepared =
  (command: (context: Context) => Command | null) =>
  (context: Context): Command | string | null =>
    context.prepared || context.rehearsal ? null : command(context);

const hasNvcc = (): boolean =>
  [process.env.CUDA_HOME, '/usr/local/cuda'].some(
    (folder) => folder !== undefined && existsSync(join(folder, 'bin/nvcc')),
  );

export const stages: Readonly<Record<StageName, Stage>> = {
  board: step('is this a board that can be measured', 30, [], 'board', ({ board }) =>
    board ? null : 'not a Jetson',
  ),
  machine: step('what is here', 60, ['board'], 'machine'),
  compiler: {
    title: 'a CUDA compiler',
    limit: 900,
    after: ['board'],
    command: unlessPrepared(() => (hasNvcc() ? null : { program: 'scripts/fetchNvcc.sh', args: [] })),
    read: readProgram,
  },
  compile: {
    title: 'programs that need no TensorRT',
    limit: 900,
    after: ['compiler'],
    command: (context) =>
      context.rehearsal
        ? { program: 'scripts/kernelTests.sh', args: ['--both', '--build', programs(context)] }
        : context.prepared
          ? null
          : { program: 'scripts/gpuTests.sh', args: ['--compile-only'] },
    read: readProgram,
  },
  kernels: gpuTests('kernels against their twins on the CPU', 'kernels', 90),
  session: gpuTests('session, graphs, memory and upload without TensorRT', 'session', 90),
  memcheck: gpuTests('compute-sanitizer memcheck', 'memcheck', 120),
  racecheck: gpuTests('compute-sanitizer racecheck', 'racecheck', 90),
  synccheck: gpuTests('compute-sanitizer synccheck', 'synccheck', 60),
  initcheck: gpuTests('compute-sanitizer initcheck', 'initcheck', 60),
  build: {
    title: 'the addon and its TensorRT modules',
    limit: 1800,
    after: ['compiler'],
    command: unlessPrepared(() => {
      const capability = cardCapability();
      const archs = capability === null ? [] : ['--archs', String(capability)];
      return { program: process.execPath, args: ['scripts/buildNative.mjs', ...archs] };
    }),
    read: readProgram,
  },
  tensorrt: step('TensorRT, complete and for this card', 900, ['build'], 'tensorrt'),
  goldens: step('golden cases of the authors, with and without graphs', 240, ['tensorrt'], 'goldens'),
  first: step('a first latency: full widths, few layers', 240, ['tensorrt'], 'first'),
  checkpoint: locked(step('random weights in full size', 600, ['board'], 'checkpoint', tooSmall)),
  latency: step('full-size latency', 600, ['tensorrt', 'checkpoint'], 'latency', tooSmall),
  baked: step('weights bound to the engine against baked in', 300, ['tensorrt'], 'baked'),
  layers: step('time by layer', 300, ['tensorrt', 'checkpoint'], 'layers', tooSmall),
  torch: {
    title: 'PyTorch eager of the same arithmetic',
    limit: 300,
    after: ['checkpoint'],
    command: (context) => {
      const small = tooSmall(context);
      if (small !== null) return small;
      const python = process.env.PYTHON ?? 'python3';
      if (spawnSync(python, ['-c', 'import torch']).status !== 0) return `${python} has no torch`;
      const args = ['--runs', String(context.runs), '--warm-ups', String(context.warmUps)];
      const where = context.rehearsal ? ['--device', 'cpu', '--dtype', 'float32'] : [];
      return {
        program: python,
        args: ['bench/reference/eagerLatency.py', checkpointOf(context), ...args, ...where],
      };
    },
    read: readProgram,
  },
};

export const stageNames = Object.keys(stages) as readonly StageName[];

/** Folder that the stage `checkpoint` made. */
const checkpointOf = (context: Context): string => factsOf(context, 'checkpoint').folder!;

/** Why a board has no room for the full size; null: it has, or it is no board. */
function tooSmall(context: Context): string | null {
  return context.board ? (factsOf(context, 'board')['full size'] ?? null) : null;
}

/** What an earlier stage found. */
function factsOf({ out }: Context, name: StageName): Readonly<Record<string, string>> {
  return (JSON.parse(readFileSync(join(out, `${name}.json`), 'utf8')) as StageResult).facts ?? {};
}
