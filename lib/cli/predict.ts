/** `semanticvla predict`: one action chunk from one observation. */

import type { Command } from 'commander';
import { npyNumbers, parseNpy } from '../observation/npy.ts';
import { readRegular } from '../support/fileAccess.ts';
import { present } from '../support/options.ts';
import { checkSharp } from '../support/sharp.ts';
import type { ActionChunk, Policy } from '../types.ts';
import { type CommandContext, exitCodes, type Run } from './context.ts';
import {
  addPolicyFlags,
  checkpointArgument,
  jsonFlag,
  type PolicyFlags,
  threadsOf,
  wholeNumber,
} from './flags.ts';
import { formatMs, formatTable } from './format.ts';
import { encodeNpy } from './npyWriter.ts';
import { writeOutput } from './outputFile.ts';
import { type LoadedPolicy, withPolicy } from './withPolicy.ts';

interface PredictFlags extends PolicyFlags {
  readonly json?: boolean;
  readonly out?: string;
  readonly view?: string;
  readonly noise?: string;
  readonly repeat: number;
}

const example = `
--json prints {"actions": [[...]], "normalized": [[...]], "dimensions": [...], "keptPatches": {camera: [...]},
"timings": {...}}: actions [chunk, dimensions] in the dataset's units, normalized as the head gives them, kept patches
as ascending indices into the camera's grid (row by row), milliseconds by stage.

Example:
  $ semanticvla predict policy --observation obs0 --unnorm-key libero_spatial_no_noops \\
      --instruction "pick up the black bowl" --view kept-patches.png`;

/** [C, A] -> C rows of A numbers. */
function rows(values: Float64Array | Float32Array, [count, width]: ActionChunk['shape']): number[][] {
  return Array.from({ length: count }, (_, i) => Array.from(values.subarray(i * width, (i + 1) * width)));
}

/** The chunk as `--json` prints it. */
export function chunkJson(chunk: ActionChunk): Record<string, unknown> {
  return {
    actions: rows(chunk.actions, chunk.shape),
    normalized: rows(chunk.normalized, chunk.shape),
    dimensions: chunk.dimensions,
    keptPatches: Object.fromEntries(
      Object.entries(chunk.keptPatches).map(([camera, indices]) => [camera, Array.from(indices)]),
    ),
    timings: chunk.timings,
  };
}

/** The chunk as a person reads it. */
export function chunkText(
  chunk: ActionChunk,
  policy: Pick<Policy, 'platform' | 'patchGrid'>,
  loadMs: number,
): string {
  const table = formatTable(
    [
      ['step', ...chunk.dimensions],
      ...rows(chunk.actions, chunk.shape).map((row, i) => [
        String(i),
        ...row.map((value) => value.toFixed(4)),
      ]),
    ],
    [],
  );
  const patches = policy.patchGrid ** 2;
  const kept = policy.platform.cameras
    .map((camera) => `${camera} ${chunk.keptPatches[camera]?.length ?? 'all'} of ${patches}`)
    .join(', ');
  const times = Object.entries({ load: loadMs, ...chunk.timings })
    .map(([stage, ms]) => `${stage} ${formatMs(ms)}`)
    .join(', ');
  return [
    `instruction   ${chunk.instruction}`,
    `platform      ${policy.platform.name}, actions in the units of ${chunk.unnormKey}`,
    '',
    table,
    '',
    `kept patches  ${kept}`,
    `time          ${times}`,
  ].join('\n');
}

/** Medians by stage of all but the first prediction, which also encodes the instruction. */
function medianTimings(chunks: readonly ActionChunk[]): Record<string, number> {
  const later = chunks.length > 1 ? chunks.slice(1) : chunks;
  return Object.fromEntries(
    Object.keys(later[0]!.timings).map((stage) => {
      const times = later.map(({ timings }) => timings[stage]!).sort((a, b) => a - b);
      return [stage, times[Math.floor(times.length / 2)]!];
    }),
  );
}

async function predictRepeatedly(
  loaded: LoadedPolicy,
  count: number,
  noise: ArrayLike<number> | undefined,
  signal: AbortSignal,
): Promise<ActionChunk> {
  const chunks: ActionChunk[] = [];
  for (let i = 0; i < count; i++) {
    const options = { instruction: loaded.instruction, signal, ...present({ noise }) };
    chunks.push(await loaded.policy.predict(loaded.observation, options));
  }
  return { ...chunks.at(-1)!, timings: medianTimings(chunks) };
}

/** @throws (rejects) NPY_INVALID */
async function readNoise(file: string): Promise<Float64Array> {
  return npyNumbers(parseNpy(await readRegular(file, { missing: 'NPY_INVALID', cap: 2 ** 20 }), file));
}

async function predict(context: CommandContext, checkpoint: string, flags: PredictFlags): Promise<number> {
  if (flags.view !== undefined) checkSharp(`--view ${flags.view}`);
  const noise = flags.noise === undefined ? undefined : await readNoise(flags.noise);
  return withPolicy(context, checkpoint, flags, async (loaded) => {
    const { policy, observation, loadMs } = loaded;
    const chunk = await predictRepeatedly(loaded, flags.repeat, noise, context.signal);
    if (flags.out !== undefined) await writeOutput(flags.out, encodeNpy(chunk.actions, chunk.shape));
    if (flags.view !== undefined) {
      const { drawPrediction } = await import('../view/drawPrediction.ts');
      const picture = await drawPrediction({ policy, observation, chunk, ...threadsOf(flags) });
      await writeOutput(flags.view, picture);
    }
    if (flags.json) {
      context.json(chunkJson(chunk));
      return exitCodes.ok;
    }
    context.print(chunkText(chunk, policy, loadMs));
    if (flags.repeat > 1)
      context.print(`              medians of ${flags.repeat - 1} predictions after the first`);
    if (flags.out !== undefined) context.print(`actions       ${flags.out}`);
    if (flags.view !== undefined) context.print(`picture       ${flags.view}`);
    return exitCodes.ok;
  });
}

export function predictCommand(program: Command, run: Run): void {
  const command = program
    .command('predict')
    .description('One action chunk from one observation.')
    .argument('<checkpoint>', checkpointArgument);
  addPolicyFlags(command)
    .option('--out <file.npy>', 'write the actions, float64 [chunk, dimensions]')
    .option('--view <file.png>', 'draw the kept patches over the camera images')
    .option('--noise <file.npy>', 'diffusion: start from this noise, float32 [chunk, dimensions]')
    .option('--repeat <n>', 'predict several times and show the median times', wholeNumber(1), 1)
    .option(...jsonFlag)
    .addHelpText('after', example)
    .action((checkpoint: string, flags: PredictFlags) =>
      run((context, given) => predict(context, checkpoint, given), flags),
    );
}
