/** Flags that several commands share, and what they mean in the API. */

import { type Command, InvalidArgumentError, Option } from 'commander';
import { weightRoundings } from '../checkpoint/checkpoint.ts';
import { headNames } from '../checkpoint/policyConfig.ts';
import { refusedTiers } from '../graph/tiers.ts';
import { cpuWeights, engineWeights, precisions } from '../policy/runtimeOptions.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { actionConventions } from '../transforms/environment.ts';
import type { PolicyOptions } from '../types.ts';

/** As commander delivers them; absent means not given. */
export interface PolicyFlags {
  readonly observation: string;
  readonly instruction?: string;
  readonly platform?: NonNullable<PolicyOptions['platform']>;
  readonly cameras?: readonly string[];
  readonly unnormKey?: string;
  readonly chunk?: number;
  readonly normalization?: NonNullable<PolicyOptions['normalization']>;
  readonly proprio?: boolean;
  readonly centerCrop?: boolean;
  readonly jpeg?: boolean;
  readonly backend?: NonNullable<PolicyOptions['backend']>;
  readonly threads?: number;
  readonly spin?: number;
  readonly weights?: NonNullable<PolicyOptions['weights']>;
  readonly precision?: NonNullable<PolicyOptions['precision']>;
  readonly tensorrt?: string;
  readonly device?: number;
  readonly cudaGraphs?: boolean;
  readonly head?: NonNullable<PolicyOptions['head']>;
  readonly diffusionSteps?: number;
  readonly diffusionTrainSteps?: number;
  readonly noiseSeed?: number;
  readonly actions?: NonNullable<PolicyOptions['actions']>;
  readonly upsideDown?: boolean | readonly string[];
  readonly prompt?: NonNullable<PolicyOptions['prompt']>;
  readonly siglipText?: string;
  readonly rounding?: NonNullable<PolicyOptions['rounding']>;
  readonly cache?: string;
}

/** For commander: a whole number >= `least`. */
export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < least) {
      throw new InvalidArgumentError(`Expected a whole number >= ${least}.`);
    }
    return value;
  };
}

/** For commander: a number in `least`..`most`, e.g. `5e-5`. */
export function numberIn(least: number, most = Number.POSITIVE_INFINITY): (text: string) => number {
  const range = most === Number.POSITIVE_INFINITY ? `a number >= ${least}` : `a number in ${least}..${most}`;
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isFinite(value) || value < least || value > most) {
      throw new InvalidArgumentError(`Expected ${range}.`);
    }
    return value;
  };
}

/** For commander: `640x480`. */
export function frameSize(text: string): { readonly width: number; readonly height: number } {
  const [, width, height] = /^([1-9]\d{0,4})x([1-9]\d{0,4})$/.exec(text) ?? [];
  if (width === undefined) throw new InvalidArgumentError('Expected WIDTHxHEIGHT like 640x480.');
  return { width: Number(width), height: Number(height) };
}

/** Frames that nobody took: noise to prepare or to measure with. */
export const frameSizeFlag = [
  '--frame-size <WxH>',
  'pixels of made-up frames; default: 256x256',
  frameSize,
] as const;

/** What a command that takes one says of its argument. */
export const checkpointArgument = 'folder of a trained policy, or hf:owner/name';

/** The last flag of every command. */
export const jsonFlag = ['--json', 'print the result as one JSON value'] as const;

/** What a run does before it counts: the same kind of chunks, exactly as many. */
export const warmUpFlag = (otherwise: string) =>
  ['--warm-up <n>', `warm-up chunks, exactly this many; default: ${otherwise}`, wholeNumber(0)] as const;

export const cacheFlag = [
  '--cache <dir>',
  'cache folder: merged and rounded weights, engines, presets; default: $SEMANTICVLA_CACHE, else the user cache',
] as const;

/** For commander: `a,b` -> ['a', 'b']. */
export function nameList(text: string): string[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.some((name) => name === ''))
    throw new InvalidArgumentError('Expected names with commas between.');
  return names;
}

/** For commander: names of cameras. A number is refused: it would be taken for the name of one. */
export function cameraList(text: string): string[] {
  const names = nameList(text);
  if (names.some((name) => /^\d+$/.test(name))) {
    throw new InvalidArgumentError(
      'Expected names, e.g. full_image,wrist_image. (bench counts cameras with --camera-counts.)',
    );
  }
  return names;
}

/** For commander: `camera=key`, several times. */
export function cameraKey(text: string, before: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1 || at === text.length - 1) throw new InvalidArgumentError('Expected CAMERA=KEY.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

/** Flags that elsewhere take one value take several, with commas between. */
export function several(command: Command, longs: readonly string[]): Command {
  for (const option of command.options.filter(({ long }) => longs.includes(long ?? ''))) {
    const one = option.parseArg!;
    option.description += '; several with commas between are compared';
    option.argParser((text) => nameList(text).map((value) => one(value, undefined)));
  }
  return command;
}

/** `--precision`; a format that is none of ours on purpose is refused with the reason. */
export function precisionOption(choices: readonly string[], description: string): Option {
  const option = new Option('--precision <type>', description).choices(choices);
  const choose = option.parseArg!;
  return option.argParser((text: string) => {
    const refusal = refusedTiers.get(text);
    if (refusal !== undefined) throw new InvalidArgumentError(refusal);
    return choose(text, undefined);
  });
}

/** A flag that has been renamed: refused with its new name, so that no script silently runs with a default instead. */
export function renamed(command: Command, old: string, now: string): Command {
  return command.addOption(
    new Option(`${old} <value>`).hideHelp().argParser(() => {
      throw new SemanticVlaError('OPTION_UNKNOWN', `${old} is not a flag of ${command.name()}: use ${now}.`);
    }),
  );
}

/** Where the checkpoint's side files are and where merged weights are kept. */
export function addCheckpointFlags(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--head <kind>',
        'how actions are made; needed where the folder has no action head: discrete (tokens, all at once) or ' +
          'autoregressive (OpenVLA, one token after another)',
      ).choices(headNames),
    )
    .option(
      '--siglip-text <dir>',
      'folder with the SigLIP tokenizer and text config; default: what config.json names',
    )
    .addOption(
      new Option(
        '--rounding <type>',
        "of weights: bfloat16, as the reference's loaders do (default), or none, as training left them",
      ).choices(weightRoundings),
    )
    .option(...cacheFlag);
}

/** What the checkpoint does not hold; each flag overrides one value of the platform. */
export function addPlatformFlags(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--platform <name>',
        'preset for the flags below; default: inferred when unambiguous',
      ).choices(['libero', 'aloha', 'bridge', 'custom']),
    )
    .option('--cameras <names>', 'cameras in input order, e.g. full_image,wrist_image', cameraList)
    .option('--unnorm-key <key>', 'dataset whose statistics (un)normalize; needed when there are several')
    .option('--chunk <n>', 'actions per prediction', wholeNumber(1))
    .addOption(new Option('--normalization <kind>', 'bounds of the statistics').choices(['q99', 'minmax']))
    .option('--proprio', 'use the joint state')
    .option('--no-proprio', 'do not use the joint state')
    .option('--center-crop', 'crop 90 % of the area')
    .option('--no-center-crop', 'do not crop')
    .option(
      '--jpeg',
      'JPEG round trip before the resize, as in the training data; default but for autoregressive',
    )
    .option('--no-jpeg', 'no JPEG round trip');
}

/** What the environment does otherwise than the dataset: where actions are played, not compared with recorded ones. */
export function addEnvironmentFlags(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--actions <convention>',
        "dataset: as recorded (default); env: as the platform's environment takes them (the gripper of LIBERO and Bridge)",
      ).choices(actionConventions),
    )
    .option(
      '--upside-down [cameras]',
      "frames arrive turned by 180 degrees, as LIBERO's simulator renders them: of all cameras, or of those named",
      cameraList,
    );
}

/** What single kinds of heads need besides: steps and noise of diffusion, the wording of OpenVLA's prompt. */
export function addHeadFlags(command: Command): Command {
  return command
    .option(
      '--diffusion-steps <n>',
      'diffusion: steps of a prediction; default: all that were trained',
      wholeNumber(1),
    )
    .option(
      '--diffusion-train-steps <n>',
      'diffusion: steps of the noise schedule in training; default: 50',
      wholeNumber(1),
    )
    .option(
      '--noise-seed <n>',
      'diffusion: every prediction starts from this noise; default: new noise',
      wholeNumber(0),
    )
    .addOption(
      new Option('--prompt <wording>', 'autoregressive: wording of the prompt; default: openvla').choices([
        'openvla',
        'openvla-v01',
      ]),
    );
}

export const threadsFlag = [
  '--threads <n>',
  'CPU threads; default: what the process may use',
  wholeNumber(1),
] as const;

export const tensorRtFlag = [
  '--tensorrt <path>',
  'tensorrt: the library or its folder; default: searched',
] as const;

export const deviceFlag = [
  '--device <n>',
  'tensorrt: number of the GPU; default: 0',
  wholeNumber(0),
] as const;

export const backendFlag = (): Option =>
  new Option('--backend <name>', 'runtime; default: cpu').choices(['cpu', 'tensorrt']);

/** The runtime, and how it holds the weights. */
export function addRuntimeFlags(command: Command): Command {
  return command
    .addOption(backendFlag())
    .option(...threadsFlag)
    .option(
      '--spin <us>',
      'cpu: microseconds that an idle worker spins before it sleeps; default: 0',
      wholeNumber(0),
    )
    .addOption(
      new Option(
        '--weights <how>',
        'cpu: folded, widened to float32 at load (fast), or mapped, left in their files (little memory), default by size; ' +
          'tensorrt: bound, put on the device at load, or baked into the plan, default by device',
      ).choices([...cpuWeights, ...engineWeights]),
    )
    .addOption(
      precisionOption(
        precisions,
        'cpu: float32 (default), int8 in every large linear layer, or int8-llm in those of the language model ' +
          '(see compare-precision); tensorrt: float32, bfloat16 or float16, default by device, or int8 or fp8 in the language model',
      ),
    )
    .option(...tensorRtFlag)
    .option(...deviceFlag)
    .option('--no-cuda-graphs', 'tensorrt: launch kernels one by one');
}

/** Appended to the help of every command that reads an observation. */
export const observationHelp = `
An observation is a folder with observation.json, {"instruction": "...", "state": [...], "images": {"full_image": "full.png"}},
and the images beside it: PNG or JPEG of RGB, or .npy uint8 [height, width, 3]. inspect says what a policy takes and how a
folder fits; synth observation --for CHECKPOINT writes one to start from.
`;

/** Everything that makes one prediction: `predict`, `stages` and `view`. */
export function addPolicyFlags(command: Command): Command {
  command
    .requiredOption('--observation <dir>', 'folder with observation.json and its images')
    .option('--instruction <text>', 'what the robot should do; default: the instruction in observation.json')
    .addHelpText('after', observationHelp.trimEnd());
  return addCheckpointFlags(addRuntimeFlags(addHeadFlags(addEnvironmentFlags(addPlatformFlags(command)))));
}

/** The flags as options of `loadPolicy`; what was not given stays absent. */
export function policyOptions(flags: Partial<PolicyFlags>): PolicyOptions {
  const {
    head,
    diffusionSteps,
    diffusionTrainSteps,
    noiseSeed: seed,
    prompt,
    platform,
    cameras,
    unnormKey,
    chunk,
    normalization,
    proprio,
    centerCrop,
    jpeg,
    backend,
    threads,
    spin,
    weights,
    precision,
    device,
  } = flags;
  const all = {
    head,
    diffusionSteps,
    diffusionTrainSteps,
    seed,
    prompt,
    platform,
    cameras,
    unnormKey,
    chunk,
    normalization,
    proprio,
    centerCrop,
    jpeg,
    backend,
    threads,
    spin,
    weights,
    precision,
    device,
    actions: flags.actions,
    rotate: flags.upsideDown === true ? (180 as const) : flags.upsideDown || undefined,
    tensorRt: flags.tensorrt,
    // commander makes a --no-x flag true when it is not given
    graphs: flags.cudaGraphs === false ? false : undefined,
    siglipText: flags.siglipText,
    rounding: flags.rounding,
    cacheDir: flags.cache,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** `--threads` where it was given. */
export function threadsOf({ threads }: Pick<PolicyFlags, 'threads'>): { readonly threads?: number } {
  return threads === undefined ? {} : { threads };
}
