/** `semanticvla stages`: every named intermediate tensor of one prediction, into one file. */

import { stat } from 'node:fs/promises';
import type { Command } from 'commander';
import { writeStages } from '../stages/stageFile.ts';
import { type CommandContext, exitCodes, type Run } from './context.ts';
import { addPolicyFlags, checkpointArgument, jsonFlag, type PolicyFlags } from './flags.ts';
import { formatBytes } from './format.ts';
import { withPolicy } from './withPolicy.ts';

interface StagesFlags extends PolicyFlags {
  readonly out: string;
  readonly json?: boolean;
}

const example = `
Names and shapes are those of the reference outputs, so that a file of another implementation can be compared:

Example:
  $ semanticvla stages policy --observation obs0 --instruction "pick up the black bowl" --out mine.safetensors
  $ semanticvla compare mine.safetensors reference.safetensors`;

async function stages(context: CommandContext, checkpoint: string, flags: StagesFlags): Promise<number> {
  return withPolicy(context, checkpoint, flags, async ({ policy, observation, instruction }) => {
    const tensors = await policy.stages(observation, { instruction, signal: context.signal });
    await writeStages(flags.out, tensors);
    const { size } = await stat(flags.out);
    if (flags.json) {
      context.json({
        file: flags.out,
        bytes: size,
        stages: [...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape })),
      });
    } else {
      context.print(`${flags.out}  ${tensors.size} stages, ${formatBytes(size)}`);
    }
    return exitCodes.ok;
  });
}

export function stagesCommand(program: Command, run: Run): void {
  const command = program
    .command('stages')
    .description('Every named intermediate tensor of one prediction, for comparing implementations.')
    .argument('<checkpoint>', checkpointArgument);
  addPolicyFlags(command)
    .requiredOption('--out <file.safetensors>', 'file to write')
    .option(...jsonFlag)
    .addHelpText('after', example)
    .action((checkpoint: string, flags: StagesFlags) =>
      run((context, given) => stages(context, checkpoint, given), flags),
    );
}
