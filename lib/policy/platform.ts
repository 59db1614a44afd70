/**
 * What a checkpoint does not hold, per robot platform (docs/model.md, Variants): cameras and their order, proprioception, center
 * crop, chunk length, kind of normalization. Inferred only when unambiguous; each value can be overridden by itself.
 */

import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { isTokenHead } from '../checkpoint/policyConfig.ts';
import { SemanticVlaError } from '../support/errors.ts';
import type { Notice } from '../support/notices.ts';
import { expected, nearest } from '../support/options.ts';
import { checkConvention } from '../transforms/environment.ts';
import type { Platform, PlatformName, PolicyOptions } from '../types.ts';

/** The options that a platform is resolved from. */
export type PlatformOptions = Pick<
  PolicyOptions,
  | 'platform'
  | 'cameras'
  | 'proprio'
  | 'centerCrop'
  | 'jpeg'
  | 'chunk'
  | 'normalization'
  | 'actions'
  | 'rotate'
  | 'unnormKey'
>;

/** The facts of a checkpoint that tell platforms apart. */
export type PlatformEvidence = Pick<Checkpoint, 'dir' | 'config' | 'statistics'>;

interface Preset extends Omit<Platform, 'name' | 'jpeg'> {
  readonly actionDim: number;
  readonly proprioDim: number;
  /** Part of the names of the datasets recorded on it. */
  readonly datasetName: RegExp;
}

const presets: Readonly<Record<Exclude<PlatformName, 'custom'>, Preset>> = {
  libero: {
    cameras: ['full_image', 'wrist_image'],
    proprio: true,
    centerCrop: true,
    chunk: 8,
    normalization: 'q99',
    actionDim: 7,
    proprioDim: 8,
    datasetName: /libero/i,
  },
  aloha: {
    cameras: ['full_image', 'left_wrist_image', 'right_wrist_image'],
    proprio: true,
    centerCrop: true,
    chunk: 25,
    normalization: 'minmax',
    actionDim: 14,
    proprioDim: 14,
    datasetName: /aloha/i,
  },
  bridge: {
    cameras: ['full_image'],
    proprio: true,
    centerCrop: false,
    chunk: 5,
    normalization: 'q99',
    actionDim: 7,
    proprioDim: 7,
    datasetName: /bridge/i,
  },
};

type PresetName = keyof typeof presets;
const presetNames = Object.keys(presets) as PresetName[];
const platformNames: readonly PlatformName[] = [...presetNames, 'custom'];

/** The values that a custom platform must be given one by one. */
const customValues = ['cameras', 'proprio', 'centerCrop', 'chunk', 'normalization'] as const;

/**
 * The platform of a checkpoint: the preset that `options.platform` names or, without one, the only preset that fits the
 * checkpoint's dimensions, dataset names and (where known) cameras; then each value that `options` gives. With all of
 * `customValues` given no preset is needed. `jpeg` is on unless said otherwise, as the training data needs it.
 *
 * A preset's cameras are the platform's usual ones; OpenVLA-OFT policies have one to three, and no file says how many. So they
 * are inferred only for a policy that is the preset's in all else: one without its proprioception is asked for them. A head of
 * discrete tokens never takes proprioception. Never guesses: a policy that gets the wrong cameras still moves the robot.
 *
 * @param observationCameras names in the observation at hand, to compare a preset's with
 * @throws PLATFORM_REQUIRED none or several presets fit, or evidence contradicts; says what was seen and what to pass
 * @throws OPTION_INVALID a value is of the wrong type or contradicts the checkpoint
 * @throws OPTION_REQUIRED a custom platform lacks a value
 * @throws CHECKPOINT_FILE_MISSING the preset uses proprioception, and there is no projector for it
 */
export function resolvePlatform(
  checkpoint: PlatformEvidence,
  options: PlatformOptions,
  observationCameras?: readonly string[],
): Platform {
  const platform = modelPlatform(checkpoint, options, observationCameras);
  const { actions, rotate } = options;
  return {
    ...platform,
    ...(actions !== undefined && checkConvention(actions, platform.name) === 'env' ? { actions: 'env' } : {}),
    ...(rotate === undefined ? {} : { rotate: camerasToTurn(rotate, platform.cameras) }),
  };
}

function camerasToTurn(rotate: unknown, cameras: readonly string[]): readonly string[] {
  if (rotate === 180) return [...cameras];
  if (Array.isArray(rotate) && rotate.every((name) => cameras.includes(name))) return [...rotate];
  throw expected('OPTION_INVALID', `180, or cameras of the policy (${cameras.join(', ')})`, 'rotate', rotate);
}

/** What the model itself needs. */
function modelPlatform(
  checkpoint: PlatformEvidence,
  options: PlatformOptions,
  observationCameras: readonly string[] | undefined,
): Platform {
  checkValues(options);
  if (checkpoint.config.head.kind === 'autoregressive')
    return autoregressivePlatform(checkpoint, options, observationCameras);
  const complete = customValues.every((name) => options[name] !== undefined);
  const name =
    options.platform ?? (complete ? 'custom' : inferPreset(checkpoint, options, observationCameras));
  const preset = name === 'custom' ? null : presets[name];
  if (preset !== null) checkActionDim(checkpoint, name, preset);
  const platform = {
    name,
    cameras: [...(options.cameras ?? need(preset, 'cameras'))],
    proprio: options.proprio ?? (takesNoProprio(checkpoint) ? false : need(preset, 'proprio')),
    centerCrop: options.centerCrop ?? need(preset, 'centerCrop'),
    jpeg: options.jpeg ?? true,
    chunk: options.chunk ?? need(preset, 'chunk'),
    normalization: options.normalization ?? need(preset, 'normalization'),
  };
  checkProprio(checkpoint, options, platform);
  const isInferred = options.platform === undefined && !complete;
  if (isInferred && options.cameras === undefined && isUnusual(checkpoint, platform))
    throw camerasNeeded(checkpoint, platform);
  return platform;
}

/**
 * OpenVLA's own: one camera, no proprioception, one action at a time, quantiles, frames at their own size. Only the crop differs
 * from one training to another.
 */
function autoregressivePlatform(
  checkpoint: PlatformEvidence,
  options: PlatformOptions,
  observationCameras: readonly string[] | undefined,
): Platform {
  const { dir } = checkpoint;
  const { cameras = ['full_image'], chunk = 1, normalization = 'q99', jpeg = false } = options;
  const wrong = (name: string, wanted: string, found: unknown): SemanticVlaError =>
    new SemanticVlaError(
      'OPTION_INVALID',
      `Option ${name} of ${dir}: expected ${wanted}, as every autoregressive policy has, found ${String(found)}. Leave the option out.`,
    );
  if (cameras.length !== 1) throw wrong('cameras', 'one camera', cameras.join(', '));
  if (chunk !== 1) throw wrong('chunk', '1', chunk);
  if (options.proprio === true) throw wrong('proprio', 'false', true);
  const name = options.platform ?? presetIfOne(checkpoint, { ...options, cameras }, observationCameras);
  const preset = name === 'custom' ? null : presets[name];
  const centerCrop = options.centerCrop ?? preset?.centerCrop;
  if (centerCrop === undefined) {
    throw new SemanticVlaError(
      'PLATFORM_REQUIRED',
      `Platform of ${dir}: expected option centerCrop, since no file says whether an autoregressive policy was trained with image augmentation, found none. Pass true for a policy that was (fine-tunes, by default), false for openvla-7b itself, or platform (${presetNames.join(', ')}).`,
    );
  }
  return { name, cameras: [...cameras], proprio: false, centerCrop, jpeg, chunk, normalization };
}

function presetIfOne(
  checkpoint: PlatformEvidence,
  options: PlatformOptions,
  observationCameras: readonly string[] | undefined,
): PlatformName {
  try {
    return inferPreset(checkpoint, options, observationCameras);
  } catch (error) {
    if (error instanceof SemanticVlaError && error.code === 'PLATFORM_REQUIRED') return 'custom';
    throw error;
  }
}

/** What should be known of a platform that was resolved. */
export function platformNotices(
  checkpoint: PlatformEvidence,
  options: PlatformOptions,
  platform: Platform,
): readonly Notice[] {
  const { dir, config } = checkpoint;
  const notices: Notice[] = [];
  const { name, cameras, proprio } = platform;
  if (options.cameras === undefined && isUnusual(checkpoint, platform)) {
    notices.push({
      code: 'CAMERAS_FROM_PLATFORM',
      message: `${dir}: cameras ${cameras.join(', ')} are those of platform ${name}; this policy has no proprioception, as ${name}'s usual ones have, and no file says how many images it was trained with. Pass cameras to say it.`,
    });
  }
  if (!proprio && config.proprioDim !== null) {
    notices.push({
      code: 'PROPRIO_UNUSED',
      message: `${dir}: the policy has a proprio projector, so it was trained with the joint state, and option proprio is false: its actions are not those it was trained for.`,
    });
  }
  if (config.family === 'openvla-oft' && name === 'aloha' && !config.dinov2.film) {
    notices.push({
      code: 'FILM_ABSENT',
      message: `${dir}: no vision_backbone--*.pt: computed as OpenVLA-OFT without FiLM. Its authors' recipe for ALOHA has FiLM (OFT+), and no other file says whether yours had: copy that archive from the training run if there is one.`,
    });
  }
  return notices;
}

/** Not a policy whose cameras the preset knows: those have a projector for the joint state. */
function isUnusual({ config }: PlatformEvidence, { name }: Platform): boolean {
  if (config.head.kind === 'autoregressive') return false;
  return name !== 'custom' && presets[name].proprio && config.proprioDim === null;
}

function camerasNeeded({ dir, config }: PlatformEvidence, { name, cameras }: Platform): SemanticVlaError {
  const why =
    config.head.kind === 'discrete' ? 'a policy of discrete tokens' : 'a policy without proprioception';
  return new SemanticVlaError(
    'PLATFORM_REQUIRED',
    `Platform of ${dir}: expected the cameras of ${why}, found none: no file says how many images it was trained with (${name} fits in all else). ` +
      `Pass the option cameras, in the order of training: ${cameras[0]} for one image, ${cameras.join(',')} for all of ${name}'s.`,
  );
}

function need<K extends (typeof customValues)[number]>(preset: Preset | null, name: K): Preset[K] {
  if (preset !== null) return preset[name];
  throw new SemanticVlaError(
    'OPTION_REQUIRED',
    `Platform custom: expected the option ${name}, found none. A custom platform needs the options ${customValues.join(', ')}.`,
  );
}

function checkValues(options: PlatformOptions): void {
  const { platform, cameras, chunk, normalization } = options;
  if (platform !== undefined && !platformNames.includes(platform)) {
    throw expected('OPTION_INVALID', `one of ${platformNames.join(', ')}`, 'platform', platform);
  }
  if (cameras !== undefined) checkCameras(cameras);
  if (chunk !== undefined && !(Number.isSafeInteger(chunk) && chunk > 0)) {
    throw expected('OPTION_INVALID', 'a positive integer', 'chunk', chunk);
  }
  if (normalization !== undefined && normalization !== 'q99' && normalization !== 'minmax') {
    throw expected('OPTION_INVALID', 'q99 or minmax', 'normalization', normalization);
  }
  for (const name of ['proprio', 'centerCrop', 'jpeg'] as const) {
    const value: unknown = options[name];
    if (value !== undefined && typeof value !== 'boolean') {
      throw expected('OPTION_INVALID', 'true or false', name, value);
    }
  }
}

function checkCameras(cameras: unknown): void {
  const isNames = Array.isArray(cameras) && cameras.every((name) => typeof name === 'string' && name !== '');
  if (!isNames || cameras.length === 0 || new Set(cameras).size !== cameras.length) {
    throw expected('OPTION_INVALID', 'a list of distinct camera names', 'cameras', cameras);
  }
}

function checkActionDim(checkpoint: PlatformEvidence, name: PlatformName, preset: Preset): void {
  const { actionDim } = checkpoint.config;
  if (actionDim === null || actionDim === preset.actionDim) return;
  throw new SemanticVlaError(
    'OPTION_INVALID',
    `Platform ${name} of ${checkpoint.dir}: expected actions of ${preset.actionDim} dimensions, found an action head of ${actionDim}. ` +
      `Pass platform custom with ${customValues.join(', ')}.`,
  );
}

function takesNoProprio({ config }: PlatformEvidence): boolean {
  return isTokenHead(config.head);
}

function checkProprio(checkpoint: PlatformEvidence, options: PlatformOptions, platform: Platform): void {
  if (!platform.proprio) return;
  if (takesNoProprio(checkpoint)) {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Option proprio of ${checkpoint.dir}: expected false, since a policy of discrete action tokens takes no proprioception, ` +
        'found true. Leave the option out, or copy the missing action_head--*.pt into the checkpoint.',
    );
  }
  if (checkpoint.config.proprioDim !== null) return;
  throw new SemanticVlaError(
    options.proprio === true ? 'OPTION_INVALID' : 'CHECKPOINT_FILE_MISSING',
    `${checkpoint.dir}: expected proprio_projector--*.pt, since ${options.proprio === true ? 'option proprio is true' : `platform ${platform.name} uses proprioception`}, ` +
      'found no such file. Copy it into the checkpoint, or pass proprio false if the policy was trained without.',
  );
}

/** The only preset that all the evidence supports. */
function inferPreset(
  checkpoint: PlatformEvidence,
  options: PlatformOptions,
  observationCameras: readonly string[] | undefined,
): PresetName {
  const { config, statistics } = checkpoint;
  const { unnormKey } = options;
  // a data set that was not chosen tells nothing
  const keys = unnormKey === undefined ? [...statistics.keys()] : [resolveUnnormKey(checkpoint, unnormKey)];
  const actionDims = new Set(
    config.actionDim === null ? keys.map((key) => statistics.get(key)!.actionDim) : [config.actionDim],
  );
  const named = presetNames.filter((name) => keys.some((key) => presets[name].datasetName.test(key)));
  const sized = presetNames.filter((name) => {
    const { actionDim, proprioDim } = presets[name];
    const fits = actionDims.size === 1 && actionDims.has(actionDim);
    return fits && (config.proprioDim === null || config.proprioDim === proprioDim);
  });
  const fitting = sized.filter((name) => {
    // Cameras that the caller lists replace the preset's, so an observation's contradict nothing then.
    const camerasFit =
      options.cameras !== undefined ||
      observationCameras === undefined ||
      presets[name].cameras.every((camera) => observationCameras.includes(camera));
    return camerasFit && (named.length === 0 || named.includes(name));
  });
  const [only] = fitting;
  if (only !== undefined && fitting.length === 1) return only;
  const seen = [
    `actions of ${[...actionDims].join(' or ')} dimensions`,
    config.proprioDim === null ? 'no proprioception' : `proprioception of ${config.proprioDim}`,
    `datasets ${keys.join(', ')}`,
    ...(observationCameras === undefined ? [] : [`cameras ${observationCameras.join(', ')}`]),
  ];
  const verdict = fitting.length > 1 ? `fits ${fitting.join(' and ')}` : 'fits no preset';
  const near = fitting.length > 1 ? fitting : sized.length > 0 ? sized : presetNames;
  throw new SemanticVlaError(
    'PLATFORM_REQUIRED',
    `Platform of ${checkpoint.dir}: expected a checkpoint that tells its robot, found ${seen.join('; ')}, which ${verdict}. ` +
      `Pass platform (${near.join(', ')}), overriding single values such as cameras, or custom with ${customValues.join(', ')}.`,
  );
}

/**
 * The normalization key: the given one, else the only one there is.
 * @throws OPTION_INVALID not a string
 * @throws UNNORM_KEY_UNKNOWN not in the checkpoint; with the nearest key and the list
 * @throws UNNORM_KEY_REQUIRED several and none chosen; with the list
 */
export function resolveUnnormKey(checkpoint: Pick<Checkpoint, 'dir' | 'statistics'>, key?: string): string {
  const keys = [...checkpoint.statistics.keys()];
  if (key === undefined) {
    const [only] = keys;
    if (only !== undefined && keys.length === 1) return only;
    throw new SemanticVlaError(
      'UNNORM_KEY_REQUIRED',
      `Normalization key of ${checkpoint.dir}: expected option unnormKey, since the checkpoint holds ${keys.length} datasets, found none. ` +
        `Pass one of ${keys.join(', ')}.`,
    );
  }
  if (typeof key !== 'string') throw expected('OPTION_INVALID', 'a string', 'unnormKey', key);
  if (checkpoint.statistics.has(key)) return key;
  // LIBERO's training data is named after the suite, with or without this suffix.
  const twin = key.endsWith('_no_noops') ? key.slice(0, -'_no_noops'.length) : `${key}_no_noops`;
  const meant = checkpoint.statistics.has(twin) ? twin : nearest(key, keys);
  throw new SemanticVlaError(
    'UNNORM_KEY_UNKNOWN',
    `Normalization key of ${checkpoint.dir}: expected one of ${keys.join(', ')}, found ${JSON.stringify(key)}.` +
      (meant === null ? '' : ` Did you mean ${meant}?`),
  );
}
