/** `semanticvla profile`: where the time of a chunk goes, layer by layer. */

import { type Command, Option } from 'commander';
import { readObservation } from '../observation/readObservation.ts';
import type { GraphName } from '../profile/layers/blocks.ts';
import { type PolicyProfile, profilePolicy } from '../profile/layers/profilePolicy.ts';
import { layersCsv, trtexecProfile } from '../profile/report/exports.ts';
import { encodeTrace } from '../profile/trace/perfettoTrace.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { presetFolder } from '../synth/presetFolder.ts';
import { type SynthPreset, synthPresets } from '../synth/presets.ts';
import { type CommandContext, exitCodes, type Run } from './context.ts';
import {
  addCheckpointFlags,
  addHeadFlags,
  addPlatformFlags,
  addRuntimeFlags,
  checkpointArgument,
  jsonFlag,
  observationHelp,
  type PolicyFlags,
  policyOptions,
  renamed,
  warmUpFlag,
  wholeNumber,
} from './flags.ts';
import { writeOutput } from './outputFile.ts';
import { profileText } from './profileText.ts';

interface ProfileFlags extends Partial<PolicyFlags> {
  readonly preset?: SynthPreset;
  readonly iterations?: number;
  readonly warmUp?: number;
  readonly graph: GraphName;
  readonly top: number;
  readonly json?: boolean;
  readonly csv?: string;
  readonly exportProfile?: string;
  readonly exportLayerInfo?: string;
  readonly trace?: string;
}

const example = `
The runtime's profiler slows what it watches, so it runs in a session of its own and takes turns with one without it; the
factor is printed. Layers are told by the policy's own blocks; what cannot be told is block "other". Without --observation
the cameras show noise, on which no time depends.

--export-profile and, with TensorRT, --export-layer-info are written as trtexec writes them, for one graph (--graph). --trace writes a Perfetto
trace: open it at ui.perfetto.dev.

Example:
  $ semanticvla profile --preset tiny
  $ semanticvla profile policy --platform libero --unnorm-key libero_spatial_no_noops --trace chunk.perfetto-trace`;

async function profile(
  context: CommandContext,
  checkpoint: string | undefined,
  flags: ProfileFlags,
): Promise<number> {
  const { onProgress, signal } = context;
  if (flags.trace?.endsWith('.json')) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `--trace ${flags.trace}: expected a name for a Perfetto trace, which is no JSON, found .json. Use ${flags.trace.replace(/json$/, 'perfetto-trace')}.`,
    );
  }
  if (flags.exportLayerInfo !== undefined && flags.backend !== 'tensorrt') {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      "--export-layer-info: expected --backend tensorrt, whose inspector it is, found the CPU runtime. Use --csv FILE for the CPU's layers.",
    );
  }
  const source = await sourceOf(checkpoint, flags, context);
  // read first: it is wrong more often than a checkpoint, and faster to read
  const folder = flags.observation === undefined ? null : await readObservation(flags.observation);
  const instruction = flags.instruction ?? folder?.instruction;
  const result = await profilePolicy(source, {
    policy: { ...policyOptions(flags), onNotice: context.onNotice },
    ...(folder === null ? {} : { observation: folder.observation }),
    ...(instruction === undefined ? {} : { instruction }),
    ...(flags.iterations === undefined ? {} : { iterations: flags.iterations }),
    warmUp: flags.warmUp ?? 3,
    onProgress,
    signal,
  });
  const written = await writeFiles(result, flags);
  if (flags.json) {
    context.json(result.report);
    return exitCodes.ok;
  }
  context.print(profileText(result.report, flags.top));
  for (const [what, file] of written) context.print(`${what.padEnd(13)} ${file}`);
  return exitCodes.ok;
}

/** A folder that was named, or random weights of a preset, made once. */
async function sourceOf(
  checkpoint: string | undefined,
  { preset, cache }: ProfileFlags,
  { onProgress, signal }: CommandContext,
): Promise<string> {
  if (checkpoint !== undefined && preset === undefined) return checkpoint;
  if (checkpoint === undefined && preset !== undefined) {
    return presetFolder(preset, { ...(cache === undefined ? {} : { cacheDir: cache }), onProgress, signal });
  }
  throw new SemanticVlaError(
    'OPTION_REQUIRED',
    `profile: expected a checkpoint's folder or --preset, found ${checkpoint === undefined ? 'neither' : 'both'}.`,
  );
}

async function writeFiles(result: PolicyProfile, flags: ProfileFlags): Promise<[string, string][]> {
  const { report, timeline, layerInfo } = result;
  const { graph } = flags;
  const written: [string, string][] = [];
  const write = async (
    what: string,
    file: string | undefined,
    bytes: () => Uint8Array | string,
  ): Promise<void> => {
    if (file === undefined) return;
    const content = bytes();
    await writeOutput(file, typeof content === 'string' ? Buffer.from(content, 'utf8') : content);
    written.push([what, file]);
  };
  await write('layers', flags.csv, () => layersCsv(report.layers));
  await write('profile', flags.exportProfile, () => {
    const layers = report.layers.filter((layer) => layer.graph === graph);
    const runs = report.graphs.find((one) => one.graph === graph)!.runs;
    return `${JSON.stringify(trtexecProfile(layers, runs), null, 1)}\n`;
  });
  await write('layer info', flags.exportLayerInfo, () => `${JSON.stringify(layerInfo![graph], null, 1)}\n`);
  await write('trace', flags.trace, () => encodeTrace(timeline));
  return written;
}

export function profileCommand(program: Command, run: Run): void {
  const command = program
    .command('profile')
    .description('Where the time of a chunk goes: layers, blocks, stages.')
    .argument('[checkpoint]', checkpointArgument)
    .addOption(
      new Option(
        '--preset <name>',
        'policy of this size with random weights instead of a checkpoint',
      ).choices(Object.keys(synthPresets)),
    )
    .option('--observation <dir>', 'folder with observation.json and its images; default: noise')
    .option(
      '--instruction <text>',
      "what the robot should do; default: the observation's, else a typical sentence",
    );
  addCheckpointFlags(addRuntimeFlags(addHeadFlags(addPlatformFlags(command))))
    .option(
      '--iterations <n>',
      'chunks that are measured; default: 20, fewer where they would take over 20 s',
      wholeNumber(1),
    )
    .option(...warmUpFlag('3'))
    .option('--top <n>', 'rows of the tables of blocks and layers', wholeNumber(1), 15)
    .addOption(
      new Option('--graph <name>', 'graph of the exports')
        .choices(['policy', 'instruction'])
        .default('policy'),
    )
    .option('--csv <file.csv>', 'write every layer as a line')
    .option('--export-profile <file.json>', "write layer times in trtexec's form")
    .option('--export-layer-info <file.json>', "write what TensorRT's inspector says of the layers")
    .option(
      '--trace <file>',
      'write a time line of host and device as a Perfetto trace, e.g. chunk.perfetto-trace',
    )
    .option(...jsonFlag)
    .addHelpText('after', observationHelp.trimEnd())
    .addHelpText('after', example);
  renamed(command, '--exportProfile', '--export-profile FILE');
  renamed(command, '--exportLayerInfo', '--export-layer-info FILE');
  command.action((checkpoint: string | undefined, flags: ProfileFlags) =>
    run((context, given) => profile(context, checkpoint, given), flags),
  );
}
