/** `semanticvla export`: the two ONNX models of a checkpoint. */

import { type Command, Option } from 'commander';
import { openCheckpoint } from '../checkpoint/openCheckpoint.ts';
import { type ExportReport, exportPolicy } from '../export/exportPolicy.ts';
import { platformNotices, resolvePlatform } from '../policy/platform.ts';
import { checkpointOptions, policySizes, policyTokenizers } from '../policy/policyParts.ts';
import { type CommandContext, exitCodes, hooksOf, type Run } from './context.ts';
import {
  addCheckpointFlags,
  addPlatformFlags,
  checkpointArgument,
  jsonFlag,
  type PolicyFlags,
  policyOptions,
} from './flags.ts';
import { formatBytes, formatTable } from './format.ts';

interface ExportFlags extends Partial<PolicyFlags> {
  readonly out?: string;
  readonly link?: 'hard' | 'symbolic';
  readonly json?: boolean;
}

const example = `
Writes instruction.onnx (once per sentence) and policy.onnx (once per observation), and opens both with ONNX Runtime. Weights
stay in the checkpoint's own files where the models lie beside them (the default). Files that lie elsewhere, or are links
(a hub's cache), are copied, so that ONNX Runtime, onnx.load and TensorRT open the models; --link saves the space:
hard links are refused by onnx, symbolic ones by ONNX Runtime too.

Example:
  $ semanticvla export policy --platform libero
  $ semanticvla export policy --platform libero --out onnx`;

/** The report as a person reads it. */
export function exportText({ instruction, policy, weights, opened }: ExportReport): string {
  const models = formatTable(
    [
      ['model', 'size', 'nodes', 'weights', 'inputs', 'outputs'],
      ...[instruction, policy].map(({ file, bytes, nodes, initializers, inputs, outputs }) => [
        file,
        formatBytes(bytes),
        ...[nodes, initializers, inputs, outputs].map(String),
      ]),
    ],
    ['left'],
  );
  const files = formatTable(
    weights.map(({ location, bytes, how }) => [location, formatBytes(bytes), how]),
    ['left', 'right', 'left'],
  );
  const hows = new Set(weights.map(({ how }) => how));
  const who = hows.has('symbolic link')
    ? 'Symbolic links: TensorRT opens them; ONNX Runtime and onnx do not.'
    : hows.has('hard link')
      ? 'Hard links: ONNX Runtime and TensorRT open them; onnx.load and onnx.checker do not.'
      : 'Plain files: ONNX Runtime, onnx and TensorRT open them.';
  return `${models}\n\n${files}\n\n${who}${opened ? ' ONNX Runtime has opened both models.' : ''}`;
}

async function run(context: CommandContext, dir: string, flags: ExportFlags): Promise<number> {
  const { signal } = context;
  const options = policyOptions(flags);
  const checkpoint = await openCheckpoint(dir, checkpointOptions({ ...options, ...hooksOf(context) }));
  const platform = resolvePlatform(checkpoint, options);
  await policyTokenizers(checkpoint);
  platformNotices(checkpoint, options, platform).forEach(context.onNotice);
  const report = await exportPolicy(checkpoint, {
    sizes: policySizes(checkpoint, platform, options.unnormKey),
    signal,
    ...(flags.out === undefined ? {} : { out: flags.out }),
    ...(flags.link === undefined ? {} : { link: flags.link }),
  });
  if (flags.json) context.json(report);
  else context.print(exportText(report));
  return exitCodes.ok;
}

export function exportCommand(program: Command, start: Run): void {
  const command = program
    .command('export')
    .description('The two ONNX models of a checkpoint, with references to its weights.')
    .argument('<checkpoint>', checkpointArgument)
    .option('--out <dir>', 'folder to write; default: the checkpoint folder')
    .addOption(
      new Option('--link <how>', 'links to weight files outside the folder instead of copies').choices([
        'hard',
        'symbolic',
      ]),
    );
  addPlatformFlags(command);
  addCheckpointFlags(command)
    .option(...jsonFlag)
    .addHelpText('after', example)
    .action((checkpoint: string, flags: ExportFlags) =>
      start((context, given) => run(context, checkpoint, given), flags),
    );
}
