/** `semanticvla synth`: a random-weight checkpoint in the trained layout. */

import { Argument, type Command, Option } from 'commander';
import { type SynthOverrides, synthOverrideOptions } from '../synth/overrides.ts';
import { type SynthPreset, synthPresets } from '../synth/presets.ts';
import { synthesizeCheckpoint } from '../synth/synthesize.ts';
import { type CommandContext, exitCodes, type Run } from './context.ts';
import { wholeNumber } from './flags.ts';
import { formatBytes, formatCount, formatMs } from './format.ts';

interface SynthFlags {
  readonly out: string;
  readonly seed: number;
  readonly json?: boolean;
  /** Sizes, by the keys of `synthOverrideOptions`. */
  readonly [size: string]: unknown;
}

const example = `
For measuring latency and trying the commands without trained weights: actions of such a policy mean nothing. Any size
of the preset can be changed by itself. Needs the disk space of the weights and little memory.

Example:
  $ semanticvla synth tiny --out policy
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
  if (flags.json) {
    context.json(report);
  } else {
    const { dir, files, bytes, parameters, milliseconds } = report;
    context.print(
      `${dir}  ${formatCount(parameters)} random parameters in ${files.length} files, ` +
        `${formatBytes(bytes)}, seed ${report.seed}, ${formatMs(milliseconds)}`,
    );
  }
  return exitCodes.ok;
}

export function synthCommand(program: Command, run: Run): void {
  const command = program
    .command('synth')
    .description('A random-weight checkpoint in the trained layout.')
    .addArgument(new Argument('<preset>', 'which policy').choices(Object.keys(synthPresets)))
    .requiredOption('--out <dir>', 'folder to write; absent or empty')
    .option('--seed <n>', 'the same seed gives the same bytes', wholeNumber(0), 0)
    .option('--json', 'print JSON');
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
