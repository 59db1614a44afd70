/** `semanticvla synth`: a random-weight checkpoint in the trained layout. */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Argument, type Command, Option } from 'commander';
import { type SynthOverrides, synthOverrideOptions } from '../synth/overrides.ts';
import { type SynthPreset, synthPresets } from '../synth/presets.ts';
import { randomObservation, usualInstruction } from '../synth/randomObservation.ts';
import { type SynthReport, synthesizeCheckpoint } from '../synth/synthesize.ts';
import { type CommandContext, exitCodes, type Run } from './context.ts';
import { jsonFlag, wholeNumber } from './flags.ts';
import { formatBytes, formatCount, formatMs } from './format.ts';
import { encodeNpy } from './npyWriter.ts';
import { writeOutput } from './outputFile.ts';

interface SynthFlags {
  readonly out: string;
  readonly seed: number;
  readonly json?: boolean;
  /** Sizes, by the keys of `synthOverrideOptions`. */
  readonly [size: string]: unknown;
}

const example = `
For measuring latency and trying the commands without trained weights: actions of such a policy mean nothing. Any size
of the preset can be changed by itself. Needs the disk space of the weights and little memory. The folder also holds an
observation of noise, observation/, for predict, stages, view, profile and bench.

Example:
  $ semanticvla synth tiny --out policy && semanticvla predict policy --observation policy/observation
  $ semanticvla synth libero --llama-layers 8 --out quarter`;

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
  const observation = await writeObservation(report);
  if (flags.json) {
    context.json({ ...report, observation });
  } else {
    const { dir, files, bytes, parameters, milliseconds } = report;
    context.print(
      `${dir}  ${formatCount(parameters)} random parameters in ${files.length} files, ` +
        `${formatBytes(bytes)}, seed ${report.seed}, ${formatMs(milliseconds)}\n` +
        `next: semanticvla predict ${flags.out} --observation ${join(flags.out, 'observation')}`,
    );
  }
  return exitCodes.ok;
}

/** What the policy can be asked about: frames with slopes and grain, a small joint state, a sentence of LIBERO. */
async function writeObservation({ dir, spec }: SynthReport): Promise<string> {
  const folder = join(dir, 'observation');
  await mkdir(folder);
  const { images, state } = randomObservation(
    spec.platform.cameras,
    { width: 256, height: 256 },
    spec.proprioDim,
  );
  const files: Record<string, string> = {};
  for (const [camera, { data, width, height }] of Object.entries(images)) {
    files[camera] = `${camera}.npy`;
    await writeOutput(join(folder, files[camera]), encodeNpy(data, [height, width, 3]));
  }
  const json = { instruction: usualInstruction, ...(state === undefined ? {} : { state }), images: files };
  await writeOutput(join(folder, 'observation.json'), Buffer.from(`${JSON.stringify(json, null, 2)}\n`));
  return folder;
}

export function synthCommand(program: Command, run: Run): void {
  const command = program
    .command('synth')
    .description('A random-weight checkpoint in the trained layout.')
    .addArgument(new Argument('<preset>', 'which policy').choices(Object.keys(synthPresets)))
    .requiredOption('--out <dir>', 'folder to write; absent or empty')
    .option('--seed <n>', 'the same seed gives the same bytes', wholeNumber(0), 0)
    .option(...jsonFlag);
  for (const { key, flag, description } of synthOverrideOptions) {
    const least = key === 'pooledTokens' ? 0 : 1;
    command.addOption(new Option(`${flag} <n>`, description).argParser(wholeNumber(least)));
  }
  command
    .addHelpText('after', example)
    .action((preset: SynthPreset, flags: SynthFlags) =>
      run((context, given) => synth(context, preset, given), flags),
    );
}
