/** `semanticvla inspect`: what a checkpoint is. */

import type { Command } from 'commander';
import { openCheckpoint } from '../checkpoint/openCheckpoint.ts';
import type { VitConfig } from '../checkpoint/policyConfig.ts';
import { verifyTensors } from '../checkpoint/verifyTensors.ts';
import { type InspectReport, inspectCheckpoint } from '../inspect/inspectCheckpoint.ts';
import {
  compareObservation,
  expectedParts,
  type ObservationNeeds,
  type ObservationPart,
} from '../inspect/observationNeeds.ts';
import { readObservation } from '../observation/readObservation.ts';
import { checkpointOptions, policyTokenizers } from '../policy/policyParts.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { present } from '../support/options.ts';
import { type CommandContext, exitCodes, hooksOf, type Run } from './context.ts';
import {
  addCheckpointFlags,
  addPlatformFlags,
  checkpointArgument,
  jsonFlag,
  observationHelp,
  type PolicyFlags,
  policyOptions,
} from './flags.ts';
import { formatBytes, formatCount, formatTable } from './format.ts';

interface InspectFlags extends Partial<PolicyFlags> {
  readonly observation?: string;
  readonly verify?: boolean;
  readonly json?: boolean;
}

const example = `
Says what an observation must hold, and with --observation how a folder's fits (exit code 1 when it does not).
Reads headers only, whatever the size; --verify reads every weight, looks for NaN and Infinity and checks archives'
checksums (exit code 1 when it finds any). Memory: the weights of a prediction; activations come on top.

Example:
  $ semanticvla inspect policy --observation obs0
  $ semanticvla inspect policy --verify`;

function tower(vit: VitConfig): string {
  const { width, depth, heads, mlpWidth, patchSize, outputBlock, queries, sampler, film } = vit;
  const extras = [
    film ? 'FiLM' : '',
    queries > 0 ? `${queries} queries` : '',
    sampler === null ? '' : `keeps ${sampler.visionTopk} + ${Math.max(0, sampler.textTopk)} pooled`,
  ].filter((text) => text !== '');
  const core = `width ${width}, ${depth} blocks (output of block ${outputBlock}), ${heads} heads, MLP ${mlpWidth}, patch ${patchSize}`;
  return [core, ...extras].join(', ');
}

function headText({ head, actionDim }: InspectReport): string {
  if (head.kind === 'discrete') return `discrete tokens, decoded in parallel, ${head.bins} bins`;
  if (head.kind === 'autoregressive') return `tokens, one after another, ${head.bins} bins`;
  if (head.kind !== 'split') {
    const what = head.kind === 'diffusion' ? 'diffusion (DDIM), one MLP that predicts noise' : 'one MLP';
    return `${what}, ${actionDim} dimensions`;
  }
  const { translation, rotation, gripper, bimanual } = head;
  return `three MLPs (${translation} + ${rotation} + ${gripper}), ${actionDim} dimensions${bimanual ? ', two arms' : ''}`;
}

function platformText({ platform, platformProblem }: InspectReport): string {
  if (platform === null) return `not inferred: ${platformProblem}`;
  const { name, cameras, proprio, centerCrop, jpeg, chunk, normalization } = platform;
  const words = [
    `cameras ${cameras.join(', ')}`,
    proprio ? 'proprio' : 'no proprio',
    centerCrop ? 'center crop' : 'no center crop',
    jpeg ? 'jpeg' : 'no jpeg',
    `chunk ${chunk}`,
    normalization,
  ];
  return `${name}: ${words.join('; ')}`;
}

/** The report as a person reads it. */
export function inspectText(report: InspectReport): string {
  const { llama, tokens, sources, platform } = report;
  const beside =
    tokens.besidePrompt === null ? '' : ` = ${tokens.besidePrompt} + (P - 1) on ${platform!.name}`;
  const pairs = report.exchangePairs.map(([a, b]) => `${a}/${b}`).join(', ');
  const facts: [string, string][] = [
    ['checkpoint', report.dir],
    ['variant', `${report.variant} (${report.family})`],
    ['image', imageText(report)],
    ['DINOv2', tower(report.dinov2)],
    ['SigLIP', tower(report.siglip)],
    ['exchange', pairs === '' ? 'none' : `after blocks ${pairs}`],
    [
      'LLM',
      `width ${llama.width}, ${llama.layers} layers, ${llama.heads} heads, MLP ${llama.mlpWidth}, vocab ${llama.vocabSize}`,
    ],
    ['action head', headText(report)],
    ['proprio', report.proprioDim === null ? 'no projector' : `${report.proprioDim} dimensions`],
    [
      'tokens an image',
      `${tokens.patches} patches + ${tokens.pooled} pooled = ${tokens.perImage} (${report.aggregation})`,
    ],
    ['sequence length', `${tokens.formula}${beside}`],
    ['platform', platformText(report)],
    [
      'normalization',
      report.normalizationKeys
        .map(
          ({ key, actionDim, proprioDim, problem }) =>
            `${key} (action ${actionDim ?? 'none'}, proprio ${proprioDim ?? 'none'}${problem === null ? '' : ', does not fit'})`,
        )
        .join(', '),
    ],
    ['', ''],
  ];
  const sizes = formatTable(
    [
      ['part', 'parameters', 'size'],
      ...report.parts.map(({ part, parameters, bytes }) => [
        part,
        formatCount(parameters),
        formatBytes(bytes),
      ]),
      ['total', formatCount(report.parameters), ''],
    ],
    ['left', 'right', 'right'],
  );
  const memory = formatTable(
    [
      ['weights in memory', ''],
      ...report.memory.map(({ precision, bytes }) => [precision, formatBytes(bytes)]),
    ],
    ['left', 'right'],
  );
  const files = formatTable(
    [
      ['file', 'size', 'tensors read'],
      ...sources.weights.map(({ file, bytes, tensors }) => [file, formatBytes(bytes), String(tensors)]),
      ['total', formatBytes(report.bytesOnDisk), ''],
    ],
    ['left', 'right', 'right'],
  );
  const notes: string[] = [];
  if (sources.rounding === 'bfloat16')
    notes.push("weights are bfloat16, as the reference's loaders round them");
  if (sources.madeWeights !== null) {
    const { file, merged, rounded, fromCache } = sources.madeWeights;
    const what = [`${merged} tensors with LoRA merged`, `${rounded} rounded`];
    const where = fromCache ? 'from the cache' : 'written to the cache';
    notes.push(`${what.filter((part) => !/^0 /.test(part)).join(', ')}, ${where}: ${file}`);
  }
  if (report.supersededTensors > 0) {
    notes.push(
      `${report.supersededTensors} tensors of the shards are superseded by the .pt archives or not used`,
    );
  }
  for (const { precision, gate } of report.precisions) notes.push(precisionNote(precision, gate));
  for (const { code, message } of report.notices) notes.push(`NOTICE ${code}: ${message}`);
  for (const { file, bytes, reason } of report.ignored)
    notes.push(`ignored: ${file} (${formatBytes(bytes)}): ${reason}`);
  const others = [sources.statistics, ...sources.tokenizers].join(', ');
  return [
    formatTable(facts, ['left', 'left']),
    sizes,
    '',
    memory,
    '',
    files,
    `also read: ${others}`,
    ...notes,
    ...(report.observation === null ? [] : ['', observationText(report.observation)]),
  ].join('\n');
}

/** What observation.json and the files beside it hold, or how those of a folder fit. */
export function observationText(needs: ObservationNeeds, parts?: readonly ObservationPart[]): string {
  const images = Object.fromEntries(needs.cameras.map((camera) => [camera, `${camera}.png`]));
  const state = needs.state === null ? '' : `"state": [${needs.state.length} numbers], `;
  const file = `{"instruction": "...", ${state}"images": ${JSON.stringify(images).replaceAll('":"', '": "').replaceAll(',"', ', "')}}`;
  if (parts === undefined) {
    const rows = Object.entries(expectedParts(needs));
    return [
      'an observation is a folder with PNG, JPEG or .npy (uint8 [height, width, 3]) files and observation.json:',
      `  ${file}`,
      formatTable(
        rows.map(([part, expected]) => [`  ${part}`, expected]),
        ['left', 'left'],
      ),
    ].join('\n');
  }
  const rows = parts.map(({ part, expected, found, fits }) => [fits ? 'ok' : 'NO', part, expected, found]);
  return formatTable([['', 'observation', 'expected', 'found'], ...rows], ['left', 'left', 'left', 'left']);
}

function precisionNote(precision: string, gate: InspectReport['precisions'][number]['gate']): string {
  if (gate === null)
    return `precision ${precision}: not compared with float32 here (semanticvla compare-precision)`;
  const { observations, meanChange } = gate.figures;
  const verdict = gate.failures.length === 0 ? 'passed' : `FAILED (${gate.failures.join('; ')})`;
  const loop = gate.closedLoop;
  const driven =
    loop === undefined
      ? 'no closed loops compared'
      : `closed loop ${loop.rounded} of ${loop.pairs}, float32 ${loop.float32}`;
  const where = gate.runsOn === 'cpu' ? '' : ` on ${gate.runsOn}`;
  return `precision ${precision}${where}: ${verdict} on ${observations} observations, normalized actions ${meanChange.toExponential(1)} from float32; ${driven}`;
}

/** Towers use whole patches: of 384 pixels 27 of 14, and the last 6 not at all. */
function imageText({ imageSize, siglip }: InspectReport): string {
  const grid = Math.sqrt(siglip.patches);
  const rest = imageSize - grid * siglip.patchSize;
  const unused = rest === 0 ? '' : `; the last ${rest} pixels of each side are unused`;
  return `${imageSize} x ${imageSize}, ${grid} x ${grid} patches of ${siglip.patchSize}${unused}`;
}

async function inspect(context: CommandContext, dir: string, flags: InspectFlags): Promise<number> {
  const { onProgress, signal } = context;
  const options = policyOptions(flags);
  const { platform, cameras, proprio, centerCrop, jpeg, chunk, normalization, unnormKey } = options;
  const folder = flags.observation === undefined ? null : await readObservation(flags.observation);
  const checkpoint = await openCheckpoint(dir, checkpointOptions({ ...options, ...hooksOf(context) }));
  const { cacheDir } = options;
  const given = { platform, cameras, proprio, centerCrop, jpeg, chunk, normalization, unnormKey, cacheDir };
  const report = await inspectCheckpoint(
    checkpoint,
    Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
  );
  await policyTokenizers(checkpoint);
  // those of the checkpoint were said when it was opened
  report.notices.slice(checkpoint.notices.length).forEach(context.onNotice);
  if (folder !== null && report.observation === null) {
    throw new SemanticVlaError(
      'PLATFORM_REQUIRED',
      `--observation ${flags.observation}: expected to know the cameras of the policy. ${report.platformProblem}`,
    );
  }
  let verified: { tensors: number; bytes: number; problem: string | null } | null = null;
  if (flags.verify) {
    try {
      verified = { ...(await verifyTensors(checkpoint, { onProgress, signal })), problem: null };
    } catch (error) {
      if (!(error instanceof SemanticVlaError) || !isFinding(error)) throw error;
      verified = { tensors: checkpoint.tensors.size, bytes: 0, problem: `${error.code}: ${error.message}` };
    }
  }
  const parts =
    folder === null || report.observation === null
      ? undefined
      : compareObservation(report.observation, folder);
  if (flags.json) {
    context.json({ ...report, ...present({ verified: verified ?? undefined, observed: parts }) });
  } else {
    context.print(inspectText(report));
    if (parts !== undefined) context.print(`\n${observationText(report.observation!, parts)}`);
    if (verified?.problem) context.print(`verified: REFUSED, ${verified.problem}`);
    else if (verified)
      context.print(`verified: ${verified.tensors} tensors, ${formatBytes(verified.bytes)}, all finite`);
  }
  return verified?.problem || parts?.some(({ fits }) => !fits) ? exitCodes.refused : exitCodes.ok;
}

function isFinding({ code }: SemanticVlaError): boolean {
  return code === 'TENSOR_NOT_FINITE' || code === 'TORCH_ARCHIVE_INVALID';
}

export function inspectCommand(program: Command, run: Run): void {
  const command = program
    .command('inspect')
    .description('What a checkpoint is: variant, token budget, normalization keys, parameters, memory.')
    .argument('<checkpoint>', checkpointArgument);
  addPlatformFlags(command);
  addCheckpointFlags(command)
    .option('--observation <dir>', 'folder with observation.json and its images; default: none is compared')
    .option('--verify', 'read every weight and look for NaN and Infinity')
    .option(...jsonFlag)
    .addHelpText('after', observationHelp.trimEnd())
    .addHelpText('after', example)
    .action((checkpoint: string, flags: InspectFlags) =>
      run((context, given) => inspect(context, checkpoint, given), flags),
    );
}
