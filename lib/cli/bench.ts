/** `semanticvla bench`: latency of policies, side by side. */

import { type Command, InvalidArgumentError, Option } from 'commander';
import { readObservation } from '../observation/readObservation.ts';
import { checkVega } from '../plots/drawPlot.ts';
import {
  cpuPrecisions,
  cpuWeights,
  enginePrecisions,
  engineWeights,
  precisions,
} from '../policy/runtimeOptions.ts';
import { type BenchOptions, benchPolicies } from '../profile/measure/benchPolicies.ts';
import type { BenchSubject } from '../profile/measure/benchSubject.ts';
import { chunksCsv } from '../profile/report/exports.ts';
import { writeReport } from '../profile/report/writeReport.ts';
import type { BenchReport } from '../profile/types.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { type SynthPreset, synthPresets } from '../synth/presets.ts';
import type { PolicyOptions } from '../types.ts';
import { type GateFlags, gateExitCode, openGate, withVerdicts } from './benchGate.ts';
import { benchText } from './benchText.ts';
import type { CommandContext, Run } from './context.ts';
import {
  addCheckpointFlags,
  addHeadFlags,
  addPlatformFlags,
  observationHelp,
  type PolicyFlags,
  policyOptions,
  renamed,
  wholeNumber,
} from './flags.ts';
import { writeOutput } from './outputFile.ts';
import { rooflineRowsText } from './rooflineRows.ts';

type Backend = NonNullable<PolicyOptions['backend']>;
type Weights = NonNullable<PolicyOptions['weights']>;

type Precision = NonNullable<PolicyOptions['precision']>;

interface BenchFlags
  extends Omit<PolicyFlags, 'backend' | 'threads' | 'weights' | 'precision' | 'observation'>,
    GateFlags {
  readonly preset?: readonly SynthPreset[];
  readonly observation?: string;
  readonly frame?: NonNullable<BenchOptions['frame']>;
  readonly backend?: readonly Backend[];
  readonly weights?: readonly Weights[];
  readonly precision?: readonly Precision[];
  readonly threads?: readonly number[];
  readonly promptLengths?: readonly number[];
  readonly warmUp?: number;
  readonly cameraCounts?: readonly number[];
  readonly duration?: number;
  readonly iterations?: number;
  readonly limit?: number;
  readonly turn?: number;
  readonly sample?: number;
  readonly percentile?: readonly number[];
  readonly json?: boolean;
  readonly report?: string;
  readonly csv?: string;
  readonly html?: string;
  readonly layers?: boolean;
  readonly roofline?: boolean | string;
}

const example = `
Several checkpoints, presets, or values of a list flag are subjects that take turns in one run; all others are compared with
the first one. The same one twice shows the noise. Latency is end to end: frames in memory to actions in memory. Percentiles
follow trtexec's rule, and every chunk counts. Without --warm-up, warm-up goes on until the median is steady (at least 300
chunks, at most 30 s); without --iterations and --duration at least 1000 chunks and 3 s are measured, at most --limit seconds
a subject; the report says when there were fewer. What is measured with random weights is as fast as with trained ones.

Gate: exit code 0 when no --fail-if holds, 1 when one does, 4 when the measurement is too noisy to tell. An interval decides,
not the value: blocks of neighbouring chunks are drawn again and again, and what runs of the same thing differ by is added.
Least noisy is --baseline FOLDER, since both then take turns in one run. Reports of another board, GPU, number of cores or
power mode are refused.

Example:
  $ semanticvla bench --preset tiny
  $ semanticvla bench policy --threads 1,2,4 --report bench.json
  $ semanticvla bench policy --baseline bench.json --fail-if "p50 > 1.05x" --fail-if "p99 > 12ms"`;

/** For commander: `1,2` -> [1, 2] with each checked by `parse`. */
function listOf<T>(parse: (text: string) => T): (text: string) => T[] {
  return (text) => text.split(',').map((part) => parse(part.trim()));
}

function oneOf<T extends string>(...choices: readonly T[]): (text: string) => T {
  return (text) => {
    const found = choices.find((choice) => choice === text);
    if (found === undefined) throw new InvalidArgumentError(`Expected ${choices.join(' or ')}.`);
    return found;
  };
}

function percentile(text: string): number {
  const value = Number(text);
  if (text === '' || !(value >= 0 && value <= 100))
    throw new InvalidArgumentError('Expected numbers in 0..100.');
  return value;
}

/** For commander: `640x480`. */
function frameSize(text: string): NonNullable<BenchOptions['frame']> {
  const [, width, height] = /^(\d{1,4})x(\d{1,4})$/.exec(text) ?? [];
  if (width === undefined || Number(width) < 1 || Number(height) < 1)
    throw new InvalidArgumentError('Expected WIDTHxHEIGHT like 640x480.');
  return { width: Number(width), height: Number(height) };
}

function confidence(text: string): number {
  const value = Number(text);
  if (!(value >= 50 && value < 100)) throw new InvalidArgumentError('Expected a number in 50..99.99.');
  return value;
}

function seconds(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < 0)
    throw new InvalidArgumentError('Expected a number >= 0.');
  return value;
}

function collect<T>(parse: (text: string) => T): (text: string, before: readonly T[] | undefined) => T[] {
  return (text, before) => [...(before ?? []), parse(text)];
}

/** Every combination of what was listed, sources first. */
export function subjectsOf(checkpoints: readonly string[], flags: BenchFlags): BenchSubject[] {
  const sources: Pick<BenchSubject, 'checkpoint' | 'preset'>[] = [
    ...checkpoints.map((checkpoint) => ({ checkpoint })),
    ...(flags.preset ?? []).map((preset) => ({ preset })),
  ];
  if (sources.length === 0) {
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      `Expected a checkpoint folder or --preset (${Object.keys(synthPresets).join(', ')}), found neither.`,
    );
  }
  const shared = policyOptions(withoutLists(flags));
  const { cacheDir: _, ...policy } = shared;
  return sources.flatMap((source) =>
    runtimesOf(flags).flatMap((runtime) =>
      each(flags.threads).flatMap((threads) =>
        each(flags.promptLengths).flatMap((promptTokens) =>
          each(flags.cameraCounts).map((cameraCount) => ({
            ...source,
            options: {
              ...(runtime.backend === 'tensorrt' ? policy : withoutTensorRt(policy)),
              ...runtime,
              ...(threads === undefined ? {} : { threads }),
            },
            ...(promptTokens === undefined ? {} : { promptTokens }),
            ...(cameraCount === undefined ? {} : { cameraCount }),
          })),
        ),
      ),
    ),
  );
}

type Runtime = Pick<PolicyOptions, 'backend' | 'weights' | 'precision'>;

/** Every backend with those of the listed weights and precisions that it can have. */
function runtimesOf(flags: BenchFlags): Runtime[] {
  const backends = flags.backend ?? ['cpu'];
  const fits = (backend: Backend, cpu: readonly string[], engine: readonly string[]) => (value: string) =>
    (backend === 'cpu' ? cpu : engine).includes(value);
  const chosen = <T extends string>(
    name: string,
    values: readonly T[] | undefined,
    takes: (backend: Backend) => (value: string) => boolean,
  ) => {
    const lost = values?.find((value) => !backends.some((backend) => takes(backend)(value)));
    if (lost !== undefined) {
      throw new SemanticVlaError(
        'OPTION_INVALID',
        `--${name} ${lost}: expected a value that ${backends.join(' or ')} has. Add the other runtime to --backend, or leave it out.`,
      );
    }
    return (backend: Backend): readonly (T | undefined)[] => {
      const fitting = values?.filter(takes(backend)) ?? [];
      return fitting.length === 0 ? [undefined] : fitting;
    };
  };
  const weightsOf = chosen('weights', flags.weights, (backend) => fits(backend, cpuWeights, engineWeights));
  const precisionsOf = chosen('precision', flags.precision, (backend) =>
    fits(backend, cpuPrecisions, enginePrecisions),
  );
  return backends.flatMap((backend) =>
    weightsOf(backend).flatMap((weights) =>
      precisionsOf(backend).map((precision) => ({
        ...(flags.backend === undefined ? {} : { backend }),
        ...(weights === undefined ? {} : { weights }),
        ...(precision === undefined ? {} : { precision }),
      })),
    ),
  );
}

/** When both runtimes take turns, an option that only one takes applies to that one. */
function withoutTensorRt(policy: PolicyOptions): PolicyOptions {
  const { tensorRt: _library, device: _device, graphs: _graphs, ...rest } = policy;
  return rest;
}

function withoutLists(flags: BenchFlags): Partial<PolicyFlags> {
  const { backend: _b, weights: _w, precision: _p, threads: _t, observation: _o, ...rest } = flags;
  return rest;
}

function each<T>(values: readonly T[] | undefined): readonly (T | undefined)[] {
  return values ?? [undefined];
}

/** Limits as given; an explicit warm-up or number of iterations is taken literally. */
export function limitsOf(flags: BenchFlags): Partial<BenchOptions> {
  const { warmUp, duration, iterations, limit, turn, sample } = flags;
  return {
    ...(warmUp === undefined ? {} : { warmUpMs: 0, warmUpChunks: warmUp, warmUpLimitChunks: warmUp }),
    ...(iterations === undefined ? {} : { iterations }),
    ...(duration === undefined
      ? iterations === undefined
        ? {}
        : { durationMs: 0 }
      : { durationMs: 1000 * duration }),
    ...(duration !== undefined && iterations === undefined ? { iterations: 10 } : {}),
    ...(limit === undefined ? {} : { limitMs: 1000 * limit }),
    ...(turn === undefined ? {} : { turnMs: turn }),
    ...(sample === undefined ? {} : { sampleMs: sample }),
  };
}

async function bench(
  context: CommandContext,
  checkpoints: readonly string[],
  flags: BenchFlags,
): Promise<number> {
  const file = checkpoints.find((name) => name === '-' || name.endsWith('.json'));
  if (file !== undefined) {
    const found =
      file === '-' ? '--json prints the report and takes no file: leave - out' : `use --report ${file}`;
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `bench: expected folders of policies, found ${file}; ${found}.`,
    );
  }
  if (flags.html !== undefined) checkVega(`--html ${flags.html}`);
  const subjects = subjectsOf(checkpoints, flags);
  const given = flags.observation === undefined ? null : await readObservation(flags.observation);
  const instruction = flags.instruction ?? given?.instruction;
  const gate = await openGate(flags, subjects);
  const measured = await benchPolicies([...gate.subjects, ...subjects], {
    ...limitsOf(flags),
    ...(given === null ? {} : { observation: given.observation }),
    ...(instruction === undefined ? {} : { instruction }),
    ...(flags.frame === undefined ? {} : { frame: flags.frame }),
    ...(flags.percentile === undefined ? {} : { percentiles: flags.percentile }),
    ...(flags.cache === undefined ? {} : { cacheDir: flags.cache }),
    ...(flags.layers === undefined ? {} : { layers: flags.layers }),
    ...(flags.roofline === undefined ? {} : { roofline: flags.roofline }),
    onProgress: context.onProgress,
    signal: context.signal,
  });
  const report = withVerdicts(measured, gate, flags);
  if (!flags.json) {
    context.print(benchText(report));
    for (const [name, roofline] of Object.entries(report.rooflines))
      context.print(`\n${rooflineRowsText(name, roofline)}`);
  }
  await writeFiles(context, report, flags);
  return gateExitCode(report.gate);
}

async function writeFiles(context: CommandContext, report: BenchReport, flags: BenchFlags): Promise<void> {
  const files: [string | undefined, () => string][] = [
    [flags.report, () => `${JSON.stringify(report)}\n`],
    [flags.csv, () => chunksCsv(report)],
  ];
  for (const [file, text] of files) {
    if (file !== undefined) await writeOutput(file, Buffer.from(text()));
  }
  if (flags.html !== undefined) await writeOutput(flags.html, Buffer.from(await writeReport(report)));
  if (flags.json) context.json(report);
}

export function benchCommand(program: Command, run: Run): void {
  const command = program
    .command('bench')
    .description('Latency of policies, side by side: throughput, percentiles, every stage.')
    .argument('[checkpoint...]', 'folders of trained policies')
    .addOption(
      new Option(
        '--preset <name>',
        `random weights instead of a checkpoint, made in the cache folder; several allowed: ${Object.keys(synthPresets).join(', ')}`,
      ).argParser(collect(oneOf(...(Object.keys(synthPresets) as SynthPreset[])))),
    )
    .option('--observation <dir>', 'folder with observation.json and its images; default: random frames')
    .option('--frame <size>', 'size of the random frames; default: 256x256', frameSize)
    .option('--instruction <text>', 'instruction for the policies')
    .option('--prompt-lengths <list>', 'tokens of the prompt, e.g. 20,40', listOf(wholeNumber(1)))
    .option('--backend <list>', 'cpu, tensorrt', listOf(oneOf('cpu', 'tensorrt')))
    .option(
      '--weights <list>',
      'folded, mapped (cpu), bound, baked (tensorrt)',
      listOf(oneOf(...cpuWeights, ...engineWeights)),
    )
    .option(
      '--precision <list>',
      'float32, bfloat16, float16 (tensorrt), float32, int8, int8-llm (cpu)',
      listOf(oneOf(...precisions)),
    )
    .option('--tensorrt <path>', 'the library or its folder; default: searched')
    .option('--device <n>', 'number of the GPU; default: 0', wholeNumber(0))
    .option('--no-cuda-graphs', 'TensorRT launches kernels one by one')
    .option('--threads <list>', 'CPU threads, e.g. 1,2,4', listOf(wholeNumber(1)))
    .option('--warm-up <n>', 'warm-up chunks, exactly this many; default: until steady', wholeNumber(0))
    .option('--duration <s>', 'measure for at least this long', seconds)
    .option('--iterations <n>', 'measure at least this many chunks', wholeNumber(1))
    .option('--limit <s>', 'measure each subject for at most this long; default: 60', seconds)
    .option(
      '--turn <ms>',
      'how long a subject runs before the next one does; default: 100. Energy per subject needs turns of several periods of the power sensor',
      seconds,
    )
    .option(
      '--sample <ms>',
      "interval at which the machine's sensors are read; default: 100",
      wholeNumber(10),
    )
    .option('--percentile <list>', 'further percentiles, e.g. 99.9', listOf(percentile));
  addHeadFlags(addPlatformFlags(command));
  addCheckpointFlags(command)
    .option('--camera-counts <list>', 'numbers of cameras, e.g. 1,2', listOf(wholeNumber(1)))
    .option(
      '--baseline <path>',
      'what ratios compare with: a report of an earlier run (several allowed), or a folder that is measured in the same run: a checkpoint, or another version of semanticvla',
      collect(String),
    )
    .option(
      '--fail-if <condition>',
      'e.g. "p50 > 1.05x", "compute.p99 > 12ms"; several allowed',
      collect(String),
    )
    .option('--confidence <percent>', 'confidence of the interval that decides; default: 95', confidence)
    .option(
      '--between-runs <percent>',
      'how much runs of the same thing differ; default: 1, or from 5 reports',
      seconds,
    )
    .option('--json', 'print the whole report as JSON')
    .option('--report <file>', 'write the whole report as JSON, for --baseline and semanticvla report')
    .option('--csv <file>', 'write every chunk as a line')
    .option('--html <file>', 'write the report as one page with plots')
    .option('--layers', 'profile every subject afterwards: layers and blocks in --report and --html')
    .option(
      '--roofline [hardware]',
      'limits on a named device, or on the GPU at hand, and the share reached; by stage with --layers',
    )
    .addHelpText('after', observationHelp.trimEnd())
    .addHelpText('after', example);
  renamed(command, '--warmUp', '--warm-up N (chunks)');
  command.action((checkpoints: string[], flags: BenchFlags) =>
    run((context, given) => bench(context, checkpoints, given), flags),
  );
}
