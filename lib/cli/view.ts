/** `semanticvla view`: the kept patches and the similarity over each camera image. */

import type { Command } from 'commander';
import { checkSharp } from '../support/sharp.ts';
import { type CommandContext, exitCodes, type Run } from './context.ts';
import { addPolicyFlags, checkpointArgument, jsonFlag, type PolicyFlags, threadsOf } from './flags.ts';
import { writeOutput } from './outputFile.ts';
import { withPolicy } from './withPolicy.ts';

interface ViewFlags extends PolicyFlags {
  readonly out: string;
  readonly json?: boolean;
}

const example = `
Kept patches are bright and outlined, the others darkened; beside them the mean cosine similarity of each patch to the
instruction. A policy without a pruner (OpenVLA-OFT) shows its frames.

Example:
  $ semanticvla view policy --observation obs0 --instruction "pick up the black bowl" --out kept-patches.png`;

async function view(context: CommandContext, checkpoint: string, flags: ViewFlags): Promise<number> {
  checkSharp(`--out ${flags.out}`);
  return withPolicy(context, checkpoint, flags, async ({ policy, observation, instruction }) => {
    const { drawPrediction } = await import('../view/drawPrediction.ts');
    const { signal } = context;
    const chunk = await policy.predict(observation, { instruction, signal });
    const picture = await drawPrediction({ policy, observation, chunk, ...threadsOf(flags) });
    await writeOutput(flags.out, picture);
    const kept = Object.fromEntries(
      Object.entries(chunk.keptPatches).map(([name, list]) => [name, list.length]),
    );
    if (flags.json) context.json({ file: flags.out, bytes: picture.length, kept });
    else
      context.print(
        `${flags.out}  ${Object.entries(kept)
          .map(([name, n]) => `${name} ${n}`)
          .join(', ')}`.trimEnd(),
      );
    return exitCodes.ok;
  });
}

export function viewCommand(program: Command, run: Run): void {
  const command = program
    .command('view')
    .description('Picture of what the policy kept of each camera image.')
    .argument('<checkpoint>', checkpointArgument);
  addPolicyFlags(command)
    .requiredOption('--out <file.png>', 'picture to write')
    .option(...jsonFlag)
    .addHelpText('after', example)
    .action((checkpoint: string, flags: ViewFlags) =>
      run((context, given) => view(context, checkpoint, given), flags),
    );
}
