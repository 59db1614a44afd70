/** `semanticvla bench`: latency of policies, side by side. */

import { type Command, InvalidArgumentError, Option } from 'commander';
import { readObservation } from '../observation/readObservation.ts';
import { checkVega } from '../plots/drawPlot.ts';
import { type BenchOptions, benchPolicies } from '../profile/measure/benchPolicies.ts';
import { chunksCsv } from '../profile/report/exports.ts';
import { writeReport } from '../profile/report/writeReport.ts';
import type { BenchReport } from '../profile/types.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { type SynthPreset, synthPresets } from '../synth/presets.ts';
import { type GateFlags, gateExitCode, openGate, withVerdicts } from './benchGate.ts';
import { type SubjectFlags, subjectsOf } from './benchSubjects.ts';
import { benchText } from './benchText.ts';
import { benchUrls, checkUrlFlags, type UrlFlags } from './benchUrl.ts';
import type { CommandContext, Run } from './context.ts';
import {
  addCheckpointFlags,
  addHeadFlags,
  addPlatformFlags,
  addRuntimeFlags,
  checkpointArgument,
  frameSizeFlag,
  jsonFlag,
  numberIn,
  observationHelp,
  renamed,
  several,
  warmUpFlag,
  wholeNumber,
} from './flags.ts';
import { writeOutput } from './outputFile.ts';
import { rooflineRowsText } from './rooflineRows.ts';
import { addWireFlags } from './wire.ts';

interface BenchFlags extends SubjectFlags, GateFlags, UrlFlags {
  readonly frameSize?: NonNullable<BenchOptions['frame']>;
  readonly turn?: number;
  readonly sample?: number;
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

--rate HZ asks as a robot's loop does, a chunk each 1/HZ s, and counts the ticks at which the chunk before was not there yet.
--url measures a running server, with --clients N that many robots at once, each at --rate or back to back; a server that
takes the joint state, or does not describe its policy, needs --observation. Exit code 1 where none was answered. --fail-if
takes limits in time there, and --html writes a page.

Gate: exit code 0 when no --fail-if holds, 1 when one does, 4 when the measurement is too noisy to tell. An interval decides,
not the value: blocks of neighbouring chunks are drawn again and again, and what runs of the same thing differ by is added.
Least noisy is --baseline FOLDER, since both then take turns in one run. Reports of another board, GPU, number of cores or
power mode are refused.

Example:
  $ semanticvla bench --preset tiny
  $ semanticvla bench policy --threads 1,2,4 --report bench.json
  $ semanticvla bench policy --rate 10 --duration 30
  $ semanticvla bench --url http://gpu:8777 --url ws://gpu:8000 --clients 1,4 --rate 10 --observation obs0
  $ semanticvla bench policy --baseline bench.json --fail-if "p50 > 1.05x" --fail-if "p99 > 12ms"`;

function oneOf<T extends string>(choices: readonly T[]): (text: string) => T {
  return (text) => {
    const found = choices.find((choice) => choice === text);
    if (found === undefined) throw new InvalidArgumentError(`Expected ${choices.join(' or ')}.`);
    return found;
  };
}

/** For commander: Hz, at most what a timer of Node can follow. */
function rate(text: string): number {
  const value = numberIn(0, 1000)(text);
  if (value === 0) throw new InvalidArgumentError('Expected a number above 0.');
  return value;
}

function collect<T>(parse: (text: string) => T): (text: string, before: readonly T[] | undefined) => T[] {
  return (text, before) => [...(before ?? []), parse(text)];
}

/** Limits as given; an explicit warm-up or number of iterations is taken literally. */
export function limitsOf(flags: BenchFlags): Partial<BenchOptions> {
  const { warmUp, rate, duration, iterations, limit, turn, sample } = flags;
  return {
    ...(warmUp === undefined ? {} : { warmUpMs: 0, warmUpChunks: warmUp, warmUpLimitChunks: warmUp }),
    ...(iterations === undefined ? {} : { iterations }),
    ...(rate === undefined ? {} : { rateHz: rate }),
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
  if (flags.url !== undefined) return benchUrls(context, flags);
  if (flags.html !== undefined) checkVega(`--html ${flags.html}`);
  const subjects = subjectsOf(checkpoints, flags);
  const given = flags.observation === undefined ? null : await readObservation(flags.observation);
  const instruction = flags.instruction ?? given?.instruction;
  const gate = await openGate(flags, subjects);
  const measured = await benchPolicies([...gate.subjects, ...subjects], {
    ...limitsOf(flags),
    ...(given === null ? {} : { observation: given.observation }),
    ...(instruction === undefined ? {} : { instruction }),
    ...(flags.frameSize === undefined ? {} : { frame: flags.frameSize }),
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
  const presets = Object.keys(synthPresets) as SynthPreset[];
  const command = program
    .command('bench')
    .description('Latency of policies, side by side: throughput, percentiles, every stage.')
    .argument('[checkpoint...]', checkpointArgument)
    .addOption(
      new Option(
        '--preset <name>',
        `policy of this size with random weights instead of a checkpoint; several allowed: ${presets.join(', ')}`,
      ).argParser(collect(oneOf(presets))),
    )
    .option(
      '--url <url>',
      'a running server instead: http://HOST:8777 (POST /act) or ws://HOST:8000 (openpi); several allowed',
      collect(String),
    )
    .option('--clients <n>', '--url: connections that ask at the same time; default: 1', wholeNumber(1))
    .option('--observation <dir>', 'folder with observation.json and its images; default: noise')
    .option(...frameSizeFlag)
    .option(
      '--instruction <text>',
      "what the robot should do; default: the observation's, else a typical sentence",
    )
    .option('--prompt-length <tokens>', 'tokens of the prompt', wholeNumber(1));
  addRuntimeFlags(command)
    .option(...warmUpFlag('until times are steady'))
    .option('--rate <hz>', "requests a second, as a robot's loop sends them; default: back to back", rate)
    .option('--duration <s>', 'measure for at least this long', numberIn(0))
    .option(
      '--iterations <n>',
      'chunks that are measured; at least this many; default: 1000 and 3 s',
      wholeNumber(1),
    )
    .option('--limit <s>', 'measure each subject for at most this long; default: 60', numberIn(0))
    .option(
      '--turn <ms>',
      'how long a subject runs before the next one does; default: 100. Energy per subject needs turns of several periods of the power sensor',
      numberIn(0),
    )
    .option(
      '--sample <ms>',
      "interval at which the machine's sensors are read; default: 100",
      wholeNumber(10),
    )
    .option('--percentile <percent>', 'a further percentile, e.g. 99.9', numberIn(0, 100))
    .option('--camera-counts <n>', 'number of cameras, e.g. 1,2', wholeNumber(1));
  several(command, [
    ...['--prompt-length', '--backend', '--weights', '--precision', '--threads'],
    ...['--percentile', '--camera-counts', '--clients'],
  ]);
  addHeadFlags(addPlatformFlags(command));
  addCheckpointFlags(command)
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
    .option(
      '--confidence <percent>',
      'confidence of the interval that decides; default: 95',
      numberIn(50, 99.99),
    )
    .option(
      '--between-runs <percent>',
      'how much runs of the same thing differ; default: 1, or from 5 reports',
      numberIn(0),
    )
    .option('--report <file.json>', 'write the whole report, for --baseline and semanticvla report')
    .option('--csv <file.csv>', 'write every chunk as a line')
    .option('--html <file.html>', 'write a page: figures, plots, comparison')
    .option('--layers', 'profile every subject afterwards: layers and blocks in --report and --html')
    .option(
      '--roofline [hardware]',
      'limits on a named device, or on the GPU at hand, and the share reached; by stage with --layers',
    )
    .option('--deadline <ms>', 'milliseconds that a prediction may take; default: 10000', wholeNumber(1));
  addWireFlags(command)
    .option(...jsonFlag)
    .addHelpText('after', observationHelp.trimEnd())
    .addHelpText('after', example);
  renamed(command, '--warmUp', '--warm-up N (chunks)');
  renamed(command, '--frame', '--frame-size WxH');
  renamed(command, '--prompt-lengths', '--prompt-length LIST');
  command.action((checkpoints: string[], flags: BenchFlags) => {
    const typed = command.options.filter(
      (one) => command.getOptionValueSource(one.attributeName()) === 'cli',
    );
    checkUrlFlags(
      typed.map((one) => [one.attributeName(), one.long!] as const),
      checkpoints,
    );
    return run((context, given) => bench(context, checkpoints, given), flags);
  });
}
