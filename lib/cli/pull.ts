/** `semanticvla pull`: a checkpoint by its name at a hub, into the hub's cache. */

import type { Command } from 'commander';
import { type PullReport, pullCheckpoint } from '../checkpoint/hubCheckpoint.ts';
import { type CommandContext, exitCodes, type Run } from './context.ts';
import { jsonFlag } from './flags.ts';
import { formatBytes } from './format.ts';

interface PullFlags {
  readonly json?: boolean;
}

const example = `
Fetches what a policy is opened from, and nothing else of the repository, into the cache that Python's huggingface_hub uses too. A
run that was interrupted goes on where it stopped; each file is kept only with the check sum that the hub states. Afterwards every
command takes the name instead of a folder, and needs no network. To follow a branch that has moved, pull again.

HF_TOKEN (or hf auth login) opens private and gated repositories; HF_ENDPOINT names another hub; HF_HUB_CACHE or HF_HOME say where
the files are kept; with HF_HUB_OFFLINE=1 nothing is asked.

Example:
  $ semanticvla pull hf:owner/name
  $ semanticvla inspect hf:owner/name
  $ semanticvla pull hf:owner/name@v1.0 --json`;

function pullText({ name, folder, commit, files, bytes, fetched }: PullReport): string {
  const amount =
    files === 0 ? 'in the cache, not asked for (HF_HUB_OFFLINE)' : `${files} files, ${formatBytes(bytes)}`;
  const now =
    files === 0
      ? ''
      : fetched === 0
        ? ', all there already'
        : `, ${formatBytes(fetched)} of them fetched now`;
  return `${name} at ${commit}\n${amount}${now}\n${folder}`;
}

async function pull({ onProgress, signal, ...context }: CommandContext, name: string, flags: PullFlags) {
  const report = await pullCheckpoint(name, { onProgress, signal });
  if (flags.json) context.json(report);
  else context.print(pullText(report));
  return exitCodes.ok;
}

export function pullCommand(program: Command, run: Run): void {
  program
    .command('pull')
    .description('Fetches a checkpoint by its name at the Hugging Face hub.')
    .argument('<name>', 'hf:owner/name, or hf:owner/name@revision')
    .option(...jsonFlag)
    .addHelpText('after', example)
    .action((name: string, flags: PullFlags) => run((context, given) => pull(context, name, given), flags));
}
