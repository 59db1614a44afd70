/** `semanticvla export`: the two ONNX models of a checkpoint. */

import { type Command, Option } from 'commander';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { openCheckpoint } from '../checkpoint/openCheckpoint.ts';
import { type CachedEnginesOptions, cachedEngines, closeEngines } from '../engine/cachedEngines.ts';
import { EngineCache } from '../engine/engineCache.ts';
import { prepareModels } from '../engine/engineModels.ts';
import { engineOptions, findMachine, labelOf } from '../engine/openTensorRt.ts';
import { precisions } from '../engine/recipes.ts';
import { type ExportReport, exportPolicy } from '../export/exportPolicy.ts';
import { type TritonReport, writeTritonRepository } from '../export/tritonRepository.ts';
import type { PolicySizes } from '../graph/graphContext.ts';
import type { Precision } from '../graph/onnxModel.ts';
import { platformNotices, resolvePlatform } from '../policy/platform.ts';
import { checkpointOptions, policySizes, policyTokenizers } from '../policy/policyParts.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { present } from '../support/options.ts';
import { type CommandContext, exitCodes, hooksOf, type Run } from './context.ts';
import {
  addCheckpointFlags,
  addPlatformFlags,
  checkpointArgument,
  deviceFlag,
  jsonFlag,
  type PolicyFlags,
  policyOptions,
  tensorRtFlag,
} from './flags.ts';
import { formatBytes, formatTable } from './format.ts';

interface ExportFlags extends Omit<Partial<PolicyFlags>, 'precision'> {
  readonly triton?: string;
  readonly tensorrt?: string;
  readonly precision?: Precision;
  readonly out?: string;
  readonly link?: 'hard' | 'symbolic';
  readonly json?: boolean;
}

const example = `
Writes instruction.onnx (once per sentence) and policy.onnx (once per observation), and opens both with ONNX Runtime. Weights
stay in the checkpoint's own files where the models lie beside them (the default). Files that lie elsewhere, or are links
(a hub's cache), are copied, so that ONNX Runtime, onnx.load and TensorRT open the models; --link saves the space:
hard links are refused by onnx, symbolic ones by ONNX Runtime too.

With --triton a model repository for Triton Inference Server instead (docs/triton.md): the two TensorRT engines with the
weights inside, built for the GPU at hand, and an ensemble of both.

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

/** Flags that mean nothing without `--triton`, and with it. @throws OPTION_INVALID */
function checkTritonFlags(flags: ExportFlags): void {
  const wrong = (
    flags.triton === undefined ? (['tensorrt', 'device', 'precision'] as const) : (['out', 'link'] as const)
  ).find((name) => flags[name] !== undefined);
  if (wrong === undefined) return;
  throw new SemanticVlaError(
    'OPTION_INVALID',
    flags.triton === undefined
      ? `--${wrong}: expected --triton beside it, found none: ONNX models belong to no device. Leave it out.`
      : `--triton: expected no --${wrong}, which is of ONNX models. Leave it out.`,
  );
}

async function exportTriton(
  context: CommandContext,
  checkpoint: Checkpoint,
  sizes: PolicySizes,
  flags: ExportFlags,
): Promise<TritonReport> {
  const { kind } = checkpoint.config.head;
  if (kind === 'diffusion' || kind === 'autoregressive') {
    throw new SemanticVlaError(
      'CONFIG_UNSUPPORTED',
      `${checkpoint.dir}: expected a policy whose actions one engine computes, found ${kind}, which runs one many times: an ensemble has no loop. Run it here (serve).`,
    );
  }
  const machine = findMachine(present({ tensorRt: flags.tensorrt, device: flags.device }));
  const { tensorRt } = machine;
  if (tensorRt.family === 'rtx1') {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `--triton: expected TensorRT 10 or 11, whose plans Triton's backend opens, found ${labelOf(tensorRt)}. Name the version of your Triton container with --tensorrt.`,
    );
  }
  const options: CachedEnginesOptions = {
    ...engineOptions(machine, { weights: 'baked', ...present({ precision: flags.precision }) }),
    tensorRt,
    cache: await EngineCache.open(present({ dir: flags.cache })),
    sizes,
    ...hooksOf(context),
  };
  const { instruction, policy } = prepareModels(checkpoint, options);
  const engines = await cachedEngines(checkpoint, options);
  try {
    return await writeTritonRepository(
      {
        instruction: { graph: instruction.graph, plan: engines.instruction.plan },
        policy: { graph: policy.graph, plan: engines.policy.plan },
        library: tensorRt.module,
      },
      flags.triton!,
      context.signal,
    );
  } finally {
    await closeEngines(engines);
  }
}

/** The report as a person reads it. */
export function tritonText({ out, models, command }: TritonReport): string {
  const rows = models.map(({ name, bytes }) => [name, bytes === 0 ? 'ensemble' : formatBytes(bytes)]);
  return `${formatTable([[`model in ${out}`, 'plan'], ...rows], ['left', 'right'])}\n\n${command}`;
}

async function run(context: CommandContext, dir: string, flags: ExportFlags): Promise<number> {
  const { signal } = context;
  checkTritonFlags(flags);
  const { precision: _precision, device: _device, ...shared } = flags;
  const options = policyOptions(shared);
  const checkpoint = await openCheckpoint(dir, checkpointOptions({ ...options, ...hooksOf(context) }));
  const platform = resolvePlatform(checkpoint, options);
  await policyTokenizers(checkpoint);
  platformNotices(checkpoint, options, platform).forEach(context.onNotice);
  const sizes = policySizes(checkpoint, platform, options.unnormKey);
  if (flags.triton !== undefined) {
    const written = await exportTriton(context, checkpoint, sizes, flags);
    if (flags.json) context.json(written);
    else context.print(tritonText(written));
    return exitCodes.ok;
  }
  const report = await exportPolicy(checkpoint, {
    sizes,
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
    .description(
      'The two ONNX models of a checkpoint, with references to its weights; or a model repository for Triton.',
    )
    .argument('<checkpoint>', checkpointArgument)
    .option('--out <dir>', 'folder to write; default: the checkpoint folder')
    .addOption(
      new Option('--link <how>', 'links to weight files outside the folder instead of copies').choices([
        'hard',
        'symbolic',
      ]),
    )
    .option('--triton <dir>', 'folder for a model repository of Triton Inference Server, instead of ONNX')
    .option(...tensorRtFlag)
    .option(...deviceFlag)
    .addOption(
      new Option('--precision <type>', 'tensorrt: type of weights and activations').choices(precisions),
    );
  addPlatformFlags(command);
  addCheckpointFlags(command)
    .option(...jsonFlag)
    .addHelpText('after', example)
    .action((checkpoint: string, flags: ExportFlags) =>
      start((context, given) => run(context, checkpoint, given), flags),
    );
}
