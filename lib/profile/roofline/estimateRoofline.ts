/** What a policy could do on devices, before any of them is bought: opens nothing but headers, runs nothing. */

import type { OpenCheckpointOptions } from '../../checkpoint/checkpoint.ts';
import { openCheckpoint } from '../../checkpoint/openCheckpoint.ts';
import { presetArchitecture, presetSizes } from '../../engine/presetArchitecture.ts';
import { type PlatformOptions, resolvePlatform } from '../../policy/platform.ts';
import { checkpointOptions, policySizes } from '../../policy/policyParts.ts';
import { SemanticVlaError } from '../../support/errors.ts';
import { checkOptions, expected, present } from '../../support/options.ts';
import { type SynthPreset, synthPresets } from '../../synth/presets.ts';
import type { PolicyOptions } from '../../types.ts';
import type { Roofline } from '../types.ts';
import { devices, findDevice } from './devices.ts';
import { type PolicyWork, policyWork } from './policyWork.ts';
import {
  engineOf,
  precisionsOf,
  type RooflinePrecision,
  rooflineOf,
  rooflinePrecisions,
} from './roofline.ts';

/** P of the sentences in LIBERO: about 30 tokens, so that L is about 130. Each token more is 0.6 % of the work. */
export const usualPromptTokens = 30;

/** Whose work, and on which devices. */
export interface EstimateRooflineOptions
  extends PlatformOptions,
    Pick<PolicyOptions, 'unnormKey'>,
    OpenCheckpointOptions {
  /** Folder of a checkpoint; or `preset`. */
  readonly checkpoint?: string;
  readonly preset?: SynthPreset;
  /** Names of the table; default: all of it. */
  readonly devices?: readonly string[];
  /** Default: all that a named device computes in, and bfloat16 without names. */
  readonly precision?: RooflinePrecision;
  /** P; default 30. */
  readonly promptTokens?: number;
}

/** The limits of one device in one precision. */
export interface EstimatedRoofline extends Roofline {
  /** As `--hardware` and `--precision` name them. */
  readonly deviceName: string;
  readonly precisionName: RooflinePrecision;
  /** Whether a runtime of this program computes in it; the others say what the hardware could do. */
  readonly runs: boolean;
}

/** Work of a chunk by stage, and the limits of each device. */
export interface RooflineEstimate {
  readonly work: PolicyWork;
  readonly rooflines: readonly EstimatedRoofline[];
}

const optionNames = [
  ...['checkpoint', 'preset', 'devices', 'precision', 'promptTokens', 'unnormKey', 'siglipText'],
  ...['head', 'rounding', 'cacheDir', 'onProgress', 'onNotice', 'signal'],
  ...['platform', 'cameras', 'proprio', 'centerCrop', 'jpeg', 'chunk', 'normalization'],
];

/**
 * What a policy could do at best on devices, from its graph and their peaks; runs nothing.
 *
 * @throws (rejects) OPTION_*, PLATFORM_REQUIRED, what opening the checkpoint throws, or the signal's reason
 */
export async function estimateRoofline(options: EstimateRooflineOptions): Promise<RooflineEstimate> {
  checkOptions(options, optionNames, 'estimateRoofline');
  const { precision, promptTokens = usualPromptTokens, devices: names } = options;
  if (precision !== undefined && !(precision in rooflinePrecisions)) {
    const known = Object.keys(rooflinePrecisions).join(', ');
    throw expected('OPTION_INVALID', `one of ${known}`, 'precision', precision);
  }
  if (!(Number.isSafeInteger(promptTokens) && promptTokens >= 2))
    throw expected('OPTION_INVALID', 'a whole number >= 2', 'promptTokens', promptTokens);
  const chosen = names === undefined ? devices : [...new Set(names)].map(findDevice);
  const work = await openWork(options, promptTokens);
  const rooflines = chosen.flatMap((device) => {
    const known = precisionsOf(device);
    // over the whole table a device that does not compute in the precision is left out; a named one must
    const all = precision ?? 'bfloat16';
    const wanted =
      names === undefined ? known.filter((name) => name === all) : precision ? [precision] : known;
    return wanted.map(
      (name): EstimatedRoofline => ({
        deviceName: device.name,
        precisionName: name,
        runs: engineOf(name) !== null,
        ...rooflineOf(work, device, { precision: name }),
      }),
    );
  });
  return { work, rooflines };
}

async function openWork(options: EstimateRooflineOptions, promptTokens: number): Promise<PolicyWork> {
  const { checkpoint: dir, preset, unnormKey } = options;
  if ((dir === undefined) === (preset === undefined)) {
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      `Expected a checkpoint folder or a preset, found ${dir === undefined ? 'neither' : 'both'}.`,
    );
  }
  const { platform, cameras, proprio, centerCrop, jpeg, chunk, normalization } = options;
  if (preset !== undefined) {
    if (!(preset in synthPresets))
      throw expected('OPTION_INVALID', `one of ${Object.keys(synthPresets).join(', ')}`, 'preset', preset);
    const sizes = presetSizes(preset, present({ cameras: cameras?.length, chunk, proprio }));
    return policyWork(presetArchitecture(preset), { ...sizes, promptTokens });
  }
  const checkpoint = await openCheckpoint(dir!, checkpointOptions(options));
  const given = { platform, cameras, proprio, centerCrop, jpeg, chunk, normalization, unnormKey };
  const resolved = resolvePlatform(checkpoint, present(given));
  return policyWork(checkpoint, { ...policySizes(checkpoint, resolved, unnormKey), promptTokens });
}
