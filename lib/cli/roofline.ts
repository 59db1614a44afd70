/** `semanticvla roofline`: what a policy could do on a device, from the graph and the device's peaks alone. */

import { type Command, Option } from 'commander';
import { devices } from '../profile/roofline/devices.ts';
import {
  type EstimatedRoofline,
  type EstimateRooflineOptions,
  estimateRoofline,
  type RooflineEstimate,
  usualPromptTokens,
} from '../profile/roofline/estimateRoofline.ts';
import { engineOf, type RooflinePrecision, rooflinePrecisionNames } from '../profile/roofline/roofline.ts';
import type { Roofline } from '../profile/types.ts';
import { type SynthPreset, synthPresets } from '../synth/presets.ts';
import { type CommandContext, exitCodes, hooksOf, type Run } from './context.ts';
import {
  addCheckpointFlags,
  addPlatformFlags,
  checkpointArgument,
  jsonFlag,
  nameList,
  type PolicyFlags,
  policyOptions,
  renamed,
  wholeNumber,
} from './flags.ts';
import { formatBytes, formatTable } from './format.ts';

interface RooflineFlags extends Omit<Partial<PolicyFlags>, 'device' | 'precision'> {
  readonly preset?: SynthPreset;
  readonly hardware?: readonly string[];
  readonly precision?: RooflinePrecision;
  readonly promptLength?: number;
  readonly json?: boolean;
}

const example = `
A limit is max(operations / peak, bytes of weights / bandwidth) of each stage, summed: nobody is faster, and good
implementations reach 50 to 80 % of it. Nothing is run.
Hardware: ${devices.map(({ name }) => name).join(', ')}.

Example:
  $ semanticvla roofline --preset libero --hardware orin-agx-64,thor`;

const giga = (value: number): string =>
  (value / 1e9).toFixed(value >= 99.95e9 ? 0 : value >= 9.995e9 ? 1 : 2);

const ms = (value: number): string => value.toFixed(value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2);

/** Work by stage, in the checkpoint's own 16 bits. */
function workTable({ work }: RooflineEstimate): string {
  const rows = work.stages.map(({ stage, flops, weightElements, activationElements }) => [
    stage,
    giga(flops),
    giga(2 * weightElements),
    giga(2 * activationElements),
  ]);
  const perChunk = work.stages.filter(({ stage }) => stage !== 'instruction');
  const sum = (key: 'flops' | 'weightElements' | 'activationElements'): number =>
    perChunk.reduce((total, stage) => total + stage[key], 0);
  rows.push([
    'a chunk',
    giga(sum('flops')),
    giga(2 * sum('weightElements')),
    giga(2 * sum('activationElements')),
  ]);
  return formatTable([['16 bits', 'GFLOP', 'weights GB', 'activations GB'], ...rows], ['left']);
}

const limitOf = ({ rows }: Roofline, stage: string): string => {
  const { limitMs, boundBy } = rows.find((row) => row.stage === stage)!;
  return `${ms(limitMs)} ${boundBy === 'compute' ? 'C' : 'M'}`;
};

function limitTable(rooflines: readonly EstimatedRoofline[]): string {
  const stages = ['vision', 'fuser', 'llm', 'heads'];
  const rows = rooflines.map((roofline) => [
    roofline.deviceName,
    roofline.precisionName,
    ms(roofline.limitMs),
    (1000 / roofline.limitMs).toFixed(1),
    ...stages.map((stage) => limitOf(roofline, stage)),
    limitOf(roofline, 'instruction'),
    roofline.runs ? 'yes' : 'no',
    formatBytes(roofline.memory!.neededBytes),
    formatBytes(roofline.memory!.deviceBytes),
    roofline.memory!.fits ? 'yes' : 'NO',
  ]);
  const head = [
    'device',
    'precision',
    'limit ms',
    'chunks/s',
    ...stages,
    'instruction',
    'runs here',
    'weights',
    'memory',
    'fits',
  ];
  return formatTable([head, ...rows], ['left', 'left']);
}

/** Hardware on which nothing that runs here fits. */
function tooSmall(rooflines: readonly EstimatedRoofline[]): string[] {
  const names = [...new Set(rooflines.map(({ deviceName }) => deviceName))].filter(
    (name) => !rooflines.some((one) => one.deviceName === name && one.runs && one.memory!.fits),
  );
  return names.length === 0 ? [] : [`Of these rows none both runs here and fits: ${names.join(', ')}.`];
}

/** Rows and the precision to ask for. */
function asked(): string {
  const known = rooflinePrecisionNames.map((name) => [name, engineOf(name)] as const);
  return known
    .flatMap(([name, engine]) =>
      engine === null ? [] : [name === engine ? name : `${name} (--precision ${engine})`],
    )
    .join(', ');
}

/** The estimate as a person reads it. */
export function rooflineText(estimate: RooflineEstimate): string {
  const { work, rooflines } = estimate;
  const sources = new Map(
    rooflines.map(({ deviceName, device, source }) => [deviceName, `${device}: ${source}`]),
  );
  return [
    `${work.variant}: ${work.images} camera(s), prompt of ${work.promptTokens} tokens (sequence ${work.sequence}), chunk of ${work.chunk}`,
    '',
    workTable(estimate),
    '',
    limitTable(rooflines),
    '',
    'Stages in ms, C: bound by compute, M: by memory bandwidth. limit: all but the instruction, which runs once a sentence.',
    `runs here: TensorRT computes in it for this program (${asked()}); the other rows say what the hardware could do.`,
    'fits: weights within 85 % of the memory. Peaks are dense, as sold; activations are in no limit.',
    ...tooSmall(rooflines),
    ...sources.values(),
  ].join('\n');
}

async function roofline(
  context: CommandContext,
  dir: string | undefined,
  flags: RooflineFlags,
): Promise<number> {
  // devices and precisions of the estimate are not the runtime's
  const { preset, hardware, precision, promptLength, ...given } = flags;
  const {
    threads: _threads,
    backend: _backend,
    weights: _weights,
    precision: _precision,
    device: _device,
    ...shared
  } = policyOptions(given);
  const options: EstimateRooflineOptions = {
    ...shared,
    ...hooksOf(context),
    ...(dir === undefined ? {} : { checkpoint: dir }),
    ...(preset === undefined ? {} : { preset }),
    ...(hardware === undefined ? {} : { devices: hardware }),
    ...(precision === undefined ? {} : { precision }),
    ...(promptLength === undefined ? {} : { promptTokens: promptLength }),
  };
  const estimate = await estimateRoofline(options);
  if (flags.json) context.json(estimate);
  else context.print(rooflineText(estimate));
  return exitCodes.ok;
}

export function rooflineCommand(program: Command, run: Run): void {
  const command = program
    .command('roofline')
    .description('What a policy could do on a device at best, and whether it fits there; runs nothing.')
    .argument('[checkpoint]', checkpointArgument)
    .addOption(
      new Option(
        '--preset <name>',
        'policy of this size with random weights instead of a checkpoint',
      ).choices(Object.keys(synthPresets)),
    )
    .option('--hardware <names>', 'e.g. orin-agx-64,thor; default: all of the table', nameList)
    .addOption(
      new Option(
        '--precision <type>',
        'type of weights and activations; default: all that named hardware computes in, bfloat16 without --hardware',
      ).choices([...rooflinePrecisionNames]),
    )
    .option(
      '--prompt-length <tokens>',
      `tokens of the prompt; default: ${usualPromptTokens}`,
      wholeNumber(2),
    );
  addPlatformFlags(command);
  addCheckpointFlags(command)
    .option(...jsonFlag)
    .addHelpText('after', example);
  renamed(command, '--device', '--hardware NAMES (elsewhere --device is the number of a GPU)');
  command.action((checkpoint: string | undefined, flags: RooflineFlags) =>
    run((context, given) => roofline(context, checkpoint, given), flags),
  );
}
