/** `semanticvla synth`: a random-weight checkpoint in the trained layout. */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Argument, type Command, Option } from 'commander';
import { openCheckpoint } from '../checkpoint/openCheckpoint.ts';
import { observationNeeds } from '../inspect/observationNeeds.ts';
import { resolvePlatform, resolveUnnormKey } from '../policy/platform.ts';
import { checkpointOptions } from '../policy/policyParts.ts';
import { firstKey } from '../profile/measure/subjects.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { type SynthOverrides, synthOverrideOptions } from '../synth/overrides.ts';
import { type SynthPreset, type SynthSpec, synthPresets } from '../synth/presets.ts';
import { randomObservation, usualFrame, usualInstruction } from '../synth/randomObservation.ts';
import { synthesizeCheckpoint } from '../synth/synthesize.ts';
import type { Observation } from '../types.ts';
import { type CommandContext, exitCodes, hooksOf, type Run } from './context.ts';
import {
  addCheckpointFlags,
  addPlatformFlags,
  jsonFlag,
  observationHelp,
  type PolicyFlags,
  policyOptions,
  wholeNumber,
} from './flags.ts';
import { formatBytes, formatCount, formatMs } from './format.ts';
import { encodeNpy } from './npyWriter.ts';
import { writeOutput } from './outputFile.ts';

interface SynthFlags extends Partial<PolicyFlags> {
  readonly for?: string;
  readonly out: string;
  readonly seed: number;
  readonly json?: boolean;
  /** Sizes, by the keys of `synthOverrideOptions`. */
  readonly [size: string]: unknown;
}

const example = `
For measuring latency and trying the commands without trained weights: actions of such a policy mean nothing. Any size
of the preset can be changed by itself. Needs the disk space of the weights and little memory. The folder also holds an
observation of noise, observation/, for predict, stages, view, profile and bench. synth observation --for CHECKPOINT writes
one for a policy that is there: frames of noise by the names of its cameras, a joint state from the middle of its training.

Example:
  $ semanticvla synth tiny --out policy && semanticvla predict policy --observation policy/observation
  $ semanticvla synth libero --llama-layers 8 --out quarter
  $ semanticvla synth observation --for hf:owner/name --out obs0`;

async function synth(context: CommandContext, preset: SynthPreset, flags: SynthFlags): Promise<number> {
  const overrides: SynthOverrides = Object.fromEntries(
    synthOverrideOptions.map(({ key }) => [key, flags[key]]).filter(([, value]) => value !== undefined),
  );
  const report = await synthesizeCheckpoint(preset, flags.out, {
    seed: flags.seed,
    overrides,
    onProgress: context.onProgress,
    signal: context.signal,
  });
  const { cameras } = report.spec.platform;
  const observation = await writeObservation(
    join(report.dir, 'observation'),
    randomObservation(cameras, usualFrame, report.spec.proprioDim),
  );
  if (flags.json) {
    context.json({ ...report, observation });
  } else {
    const { dir, files, bytes, parameters, milliseconds } = report;
    context.print(
      `${dir}  ${formatCount(parameters)} random parameters in ${files.length} files, ` +
        `${formatBytes(bytes)}, seed ${report.seed}, ${formatMs(milliseconds)}\n` +
        `next: semanticvla predict ${flags.out} --observation ${join(flags.out, 'observation')}${headFlags(report.spec)}`,
    );
  }
  return exitCodes.ok;
}

/** `synth observation --for`: what a checkpoint at hand can be asked about, its joint state in the middle of the training data's. */
async function synthObservation(context: CommandContext, flags: SynthFlags): Promise<number> {
  const options = policyOptions(flags);
  const checkpoint = await openCheckpoint(flags.for!, checkpointOptions({ ...options, ...hooksOf(context) }));
  const platform = resolvePlatform(checkpoint, options);
  const key =
    options.unnormKey === undefined
      ? firstKey(checkpoint, platform)
      : resolveUnnormKey(checkpoint, options.unnormKey);
  const { cameras, state } = observationNeeds(checkpoint, platform, key);
  const { images } = randomObservation(cameras, usualFrame, 0);
  const middle = state?.low.map((low, i) => (low + state.high[i]!) / 2);
  const folder = await writeObservation(
    flags.out,
    middle === undefined ? { images } : { images, state: middle },
  );
  if (flags.json) context.json({ observation: folder, cameras, state: middle ?? null, unnormKey: key });
  else
    context.print(
      `${folder}  frames of noise for ${cameras.join(', ')}${middle === undefined ? '' : `, a joint state of ${middle.length} numbers in the units of ${key}`}\nnext: put your own frames in its place, then semanticvla predict ${flags.for} --observation ${flags.out}`,
    );
  return exitCodes.ok;
}

/** Of a policy of action tokens, which no file tells. */
function headFlags({ head, platform }: SynthSpec): string {
  if (head === 'autoregressive') return ' --head autoregressive';
  return head === 'discrete' ? ` --head discrete --cameras ${platform.cameras.join(',')}` : '';
}

/** Frames with slopes and grain as .npy, which needs no decoder, and a sentence of LIBERO. */
async function writeObservation(folder: string, { images, state }: Observation): Promise<string> {
  await mkdir(folder, { recursive: true });
  const files: Record<string, string> = {};
  for (const [camera, { data, width, height }] of Object.entries(images)) {
    files[camera] = `${camera}.npy`;
    await writeOutput(join(folder, files[camera]), encodeNpy(data, [height, width, 3]));
  }
  const json = { instruction: usualInstruction, ...(state === undefined ? {} : { state }), images: files };
  await writeOutput(join(folder, 'observation.json'), Buffer.from(`${JSON.stringify(json, null, 2)}\n`));
  return folder;
}

/** @param sizes attributes of the flags of presets. @throws OPTION_REQUIRED, OPTION_INVALID for a flag that would mean nothing */
function check(
  preset: string,
  flags: SynthFlags,
  typed: readonly Option[],
  sizes: ReadonlySet<string>,
): void {
  const isObservation = preset === 'observation';
  if (isObservation && flags.for === undefined)
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      'synth observation: expected --for CHECKPOINT, found none.',
    );
  const both = ['out', 'json'];
  const wrong = typed.find((option) => {
    const name = option.attributeName();
    return (
      !both.includes(name) &&
      (isObservation ? sizes.has(name) && name !== 'for' : !sizes.has(name) || name === 'for')
    );
  });
  if (wrong === undefined) return;
  throw new SemanticVlaError(
    'OPTION_INVALID',
    `synth ${preset}: expected ${isObservation ? 'flags of the policy in --for' : 'sizes of a preset'}, found ${wrong.long}. Leave it out${isObservation ? '' : ', or ask for an observation: synth observation --for CHECKPOINT'}.`,
  );
}

export function synthCommand(program: Command, run: Run): void {
  const command = program
    .command('synth')
    .description(
      'A random-weight checkpoint in the trained layout, or an observation for a checkpoint at hand.',
    )
    .addArgument(
      new Argument('<preset>', 'which policy; observation: none, but a folder for that of --for').choices([
        ...Object.keys(synthPresets),
        'observation',
      ]),
    )
    .option('--for <checkpoint>', 'observation: folder of a trained policy, or hf:owner/name')
    .requiredOption('--out <dir>', 'folder to write; absent or empty')
    .option('--seed <n>', 'the same seed gives the same bytes', wholeNumber(0), 0);
  for (const { key, flag, description } of synthOverrideOptions) {
    const least = key === 'pooledTokens' ? 0 : 1;
    command.addOption(new Option(`${flag} <n>`, description).argParser(wholeNumber(least)));
  }
  const sizes = new Set(command.options.map((option) => option.attributeName()));
  addCheckpointFlags(addPlatformFlags(command))
    .option(...jsonFlag)
    .addHelpText('after', observationHelp.trimEnd())
    .addHelpText('after', example)
    .action((preset: SynthPreset | 'observation', flags: SynthFlags) => {
      const typed = command.options.filter(
        (one) => command.getOptionValueSource(one.attributeName()) === 'cli',
      );
      check(preset, flags, typed, sizes);
      return run(
        (context, given) =>
          preset === 'observation' ? synthObservation(context, given) : synth(context, preset, given),
        flags,
      );
    });
}
