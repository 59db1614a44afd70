/** `semanticvla build`: TensorRT engines into the cache. */

import { type Command, InvalidArgumentError, Option } from 'commander';
import { openCheckpoint } from '../checkpoint/openCheckpoint.ts';
import { auditTable } from '../engine/auditTable.ts';
import {
  type CachedEngines,
  type CachedEnginesOptions,
  cachedEngines,
  closeEngines,
} from '../engine/cachedEngines.ts';
import { EngineCache } from '../engine/engineCache.ts';
import { type FoundTensorRt, findTensorRt } from '../engine/findTensorRt.ts';
import { engineOptions, findMachine, labelOf } from '../engine/openTensorRt.ts';
import { type Architecture, presetArchitecture, presetSizes } from '../engine/presetArchitecture.ts';
import { type Recipe, readRecipe, recipeNames } from '../engine/recipes.ts';
import type { PolicySizes } from '../graph/graphContext.ts';
import { type EnginePrecision, enginePrecisions, engineTypes } from '../graph/tiers.ts';
import { platformNotices, resolvePlatform } from '../policy/platform.ts';
import { checkpointOptions, policySizes, policyTokenizers } from '../policy/policyParts.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { present } from '../support/options.ts';
import { type SynthPreset, synthPresets } from '../synth/presets.ts';
import { type CommandContext, exitCodes, hooksOf, type Run } from './context.ts';
import {
  addCheckpointFlags,
  addPlatformFlags,
  checkpointArgument,
  deviceFlag,
  jsonFlag,
  type PolicyFlags,
  policyOptions,
  precisionOption,
  tensorRtFlag,
  wholeNumber,
} from './flags.ts';
import { formatBytes, formatTable } from './format.ts';

interface BuildFlags extends Omit<Partial<PolicyFlags>, 'weights' | 'precision'> {
  readonly preset?: SynthPreset;
  readonly tensorrt?: string;
  readonly recipe?: string;
  readonly target?: readonly number[];
  readonly precision?: EnginePrecision;
  readonly weights?: 'bound' | 'baked';
  readonly promptLength?: Recipe['promptLength'];
  readonly optimizationLevel?: number;
  readonly timingCache?: string;
  readonly rebuild?: boolean;
  readonly json?: boolean;
}

const example = `
Engines of a checkpoint, or with --preset of an architecture: bound weights (the default) are put on the device when a
policy is loaded, so one plan serves every checkpoint of its shape. Without a GPU TensorRT-RTX builds for the devices that
--target or --recipe names.

TensorRT 10 and 11 measure while they build and keep it in a timing cache. TensorRT-RTX has none: it compiles kernels when a
policy first runs, and those are kept beside the plan. Like plans both are used only when this machine wrote them.

Example:
  $ semanticvla build policy --platform libero
  $ semanticvla build --preset libero --recipe rtx-40`;

/** For commander: `sm_89,sm_120` -> [89, 120]. */
function targetList(text: string): number[] {
  return text.split(',').map((name) => {
    const number = /^(?:sm_)?(\d{2,3})$/.exec(name.trim())?.[1];
    if (number === undefined)
      throw new InvalidArgumentError('Expected compute capabilities like sm_89,sm_120.');
    return Number(number);
  });
}

/** For commander: `32` or `8,32,128`. */
function promptRange(text: string): Recipe['promptLength'] {
  const numbers = text.split(',').map(Number);
  const [min, opt, max] = numbers.length === 1 ? [numbers[0], numbers[0], numbers[0]] : numbers;
  if (numbers.length > 3 || numbers.length === 2 || [min, opt, max].some((n) => !Number.isInteger(n)))
    throw new InvalidArgumentError('Expected prompt tokens: one number, or smallest,usual,largest.');
  return { min: min!, opt: opt!, max: max! };
}

interface Source {
  readonly architecture: Architecture;
  readonly sizes: PolicySizes;
}

async function openSource(
  context: CommandContext,
  dir: string | undefined,
  flags: BuildFlags,
): Promise<Source> {
  if ((dir === undefined) === (flags.preset === undefined)) {
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      `Expected a checkpoint folder or --preset, found ${dir === undefined ? 'neither' : 'both'}.`,
    );
  }
  if (dir === undefined) {
    const sizes = presetSizes(flags.preset!, flags.chunk === undefined ? {} : { chunk: flags.chunk });
    return { architecture: presetArchitecture(flags.preset!), sizes };
  }
  const { weights: _weights, precision: _precision, ...shared } = flags;
  const options = policyOptions(shared);
  const checkpoint = await openCheckpoint(dir, checkpointOptions({ ...options, ...hooksOf(context) }));
  const platform = resolvePlatform(checkpoint, options);
  await policyTokenizers(checkpoint);
  platformNotices(checkpoint, options, platform).forEach(context.onNotice);
  return { architecture: checkpoint, sizes: policySizes(checkpoint, platform, options.unnormKey) };
}

type Choice = ReturnType<typeof engineOptions>;

/** From the recipe or targets that were named, else from the device at hand; single flags override. */
function choose(tensorRt: FoundTensorRt, flags: BuildFlags): Choice {
  const { precision } = flags;
  const base =
    named(tensorRt, flags) ?? engineOptions(findMachine(machineFlags(flags)), present({ precision }));
  return {
    ...base,
    ...engineTypes(precision, base.precision),
    ...(flags.weights === undefined ? {} : { weights: flags.weights }),
    ...(flags.promptLength === undefined ? {} : { promptLength: flags.promptLength }),
    ...(flags.optimizationLevel === undefined ? {} : { optimizationLevel: flags.optimizationLevel }),
  };
}

function named(tensorRt: FoundTensorRt, { recipe: name, target, device }: BuildFlags): Choice | null {
  if (name === undefined && target === undefined) return null;
  if (device !== undefined) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `--device ${device}: expected it without --${name === undefined ? 'target' : 'recipe'}, which is no GPU of this machine. Leave one of them out.`,
    );
  }
  const recipes = recipeNames().map(readRecipe);
  const recipe =
    name !== undefined
      ? readRecipe(name)
      : recipes.find(({ computeCapability }) => computeCapability === target![0]);
  if (recipe === undefined) {
    const known = recipes.map(({ computeCapability }) => `sm_${computeCapability}`).join(', ');
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      `--target sm_${target![0]}: no recipe is for it (there are ${known}). Name one whose options suit it with --recipe.`,
    );
  }
  const targets = target ?? [recipe.computeCapability];
  if (tensorRt.family !== 'rtx1') {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `--${name === undefined ? 'target' : 'recipe'}: ${labelOf(tensorRt)} builds for the device at hand only; leave it out, or name TensorRT-RTX with --tensorrt.`,
    );
  }
  return { ...recipe, targets, device: '' };
}

function machineFlags({ tensorrt, device }: BuildFlags): { tensorRt?: string; device?: number } {
  return {
    ...(tensorrt === undefined ? {} : { tensorRt: tensorrt }),
    ...(device === undefined ? {} : { device }),
  };
}

async function run(context: CommandContext, dir: string | undefined, flags: BuildFlags): Promise<number> {
  const { architecture, sizes } = await openSource(context, dir, flags);
  const tensorRt = findTensorRt(flags.tensorrt === undefined ? {} : { path: flags.tensorrt });
  const cache = await EngineCache.open(flags.cache === undefined ? {} : { dir: flags.cache });
  const options: CachedEnginesOptions = {
    ...choose(tensorRt, flags),
    tensorRt,
    cache,
    sizes,
    rebuild: flags.rebuild ?? false,
    ...(flags.timingCache === undefined ? {} : { timingCache: flags.timingCache }),
    onNotice: context.onNotice,
    onProgress: context.onProgress,
    onWait: (engine) =>
      context.onNotice({
        code: 'ENGINE_WAIT',
        message: `another process is building this ${engine} engine; waiting for it`,
      }),
    signal: context.signal,
  };
  const engines = await cachedEngines(architecture, options);
  await closeEngines(engines);
  if (flags.json) context.json(report(engines, options));
  else context.print(buildText(engines, options));
  return exitCodes.ok;
}

function report(engines: CachedEngines, { tensorRt, cache }: CachedEnginesOptions): object {
  const engine = ({ name, isNew, identity, sidecar, audit }: CachedEngines['policy']) => ({
    name,
    isNew,
    file: `${cache.folder}/${sidecar.plan.file}`,
    bytes: sidecar.plan.bytes,
    sha256: sidecar.plan.sha256,
    seconds: sidecar.built.seconds,
    identity,
    audit,
  });
  return {
    tensorRt: { version: tensorRt.version, family: tensorRt.family, library: tensorRt.library },
    engines: [engine(engines.instruction), engine(engines.policy)],
  };
}

/** What was built or found, and the audit of what was built. */
export function buildText(engines: CachedEngines, { tensorRt, cache }: CachedEnginesOptions): string {
  const both = [engines.instruction, engines.policy];
  const rows = both.map(({ name, isNew, sidecar, identity }) => [
    name,
    isNew ? `built in ${sidecar.built.seconds.toFixed(1)} s` : 'from the cache',
    formatBytes(sidecar.plan.bytes),
    identity.target,
    identity.precision,
    identity.weights.split(' ')[0]!,
    sidecar.plan.file,
  ]);
  const head = ['engine', '', 'plan', 'target', 'precision', 'weights', `file in ${cache.folder}`];
  const table = formatTable([head, ...rows], ['left', 'left', 'right', 'left']);
  const audits = both.flatMap(({ audit }) => (audit === null ? [] : [auditTable(audit)]));
  return [`${labelOf(tensorRt)}, ${tensorRt.library}`, table, ...audits].join('\n\n');
}

export function buildCommand(program: Command, start: Run): void {
  const command = program
    .command('build')
    .description('TensorRT engines of a policy, into the cache.')
    .argument('[checkpoint]', checkpointArgument)
    .addOption(
      new Option(
        '--preset <name>',
        'policy of this size with random weights instead of a checkpoint',
      ).choices(Object.keys(synthPresets)),
    )
    .option(...tensorRtFlag)
    .option(...deviceFlag)
    .addOption(
      new Option('--recipe <name>', 'options for a kind of device; default: the device at hand').choices(
        recipeNames(),
      ),
    )
    .option('--target <list>', 'compute capabilities to build for, e.g. sm_89,sm_120', targetList)
    .addOption(
      precisionOption(
        enginePrecisions,
        "type of weights and activations; int8, fp8: the language model's layers in 8 bits, the rest as the recipe says",
      ),
    )
    .addOption(
      new Option('--weights <how>', 'put on the device at load, or in the plan').choices(['bound', 'baked']),
    )
    .option(
      '--prompt-length <tokens>',
      'tokens of the prompt: one number, or smallest,usual,largest',
      promptRange,
    )
    .option('--optimization-level <n>', "0..5; default: TensorRT's", wholeNumber(0))
    .option(
      '--timing-cache <file>',
      "what TensorRT measured, for the next build (trtexec's --timingCacheFile): a file, or off; default: one for this TensorRT and device in the cache folder",
    )
    .option('--rebuild', 'build even when the cache holds the engines');
  addPlatformFlags(command);
  addCheckpointFlags(command)
    .option(...jsonFlag)
    .addHelpText('after', example)
    .action((checkpoint: string | undefined, flags: BuildFlags) =>
      start((context, given) => run(context, checkpoint, given), flags),
    );
}
