/** What a policy could do on devices, before any of them is bought: opens nothing but headers, runs nothing. */

import type { OpenCheckpointOptions } from '../../checkpoint/checkpoint.ts';
import { openCheckpoint } from '../../checkpoint/openCheckpoint.ts';
import { presetArchitecture, presetSizes } from '../../engine/presetArchitecture.ts';
import { type PlatformOptions, resolvePlatform } from '../../policy/platform.ts';
import { checkpointOptions, policySizes } from '../../policy/policyParts.ts';
import { cpuPrecisions, enginePrecisions } from '../../policy/runtimeOptions.ts';
import { SemanticVlaError } from '../../support/errors.ts';
import { checkOptions, expected, present } from '../../support/options.ts';
import { type SynthPreset, synthPresets } from '../../synth/presets.ts';
import type { PolicyOptions } from '../../types.ts';
import type { Roofline } from '../types.ts';
import { type Device, devices, findDevice } from './devices.ts';
import { measureCpu } from './measureCpu.ts';
import { type PolicyWork, policyWork } from './policyWork.ts';
import {
  precisionsOf,
  type RooflinePrecision,
  rooflineOf,
  rooflinePrecisionNames,
  rooflinePrecisions,
} from './roofline.ts';

/** P of the sentences in LIBERO: about 30 tokens, so that L is about 130. Each token more is 0.6 % of the work. */
export const usualPromptTokens = 30;

/** The processor of this machine, which is measured. */
export const thisCpu = 'this-cpu';

/** Whose work, and on which devices. */
export interface EstimateRooflineOptions
  extends PlatformOptions,
    Pick<PolicyOptions, 'unnormKey'>,
    OpenCheckpointOptions {
  /** Folder of a checkpoint; or `preset`. */
  readonly checkpoint?: string;
  readonly preset?: SynthPreset;
  /** Names of the table, or `this-cpu`; default: all of the table. */
  readonly devices?: readonly string[];
  /** Default: all that a named device computes in, and bf16 without names. */
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
  ...['head', 'rounding', 'cacheDir'],
  ...[
    'onProgress',
    'onNotice',
    'signal',
    'platform',
    'cameras',
    'proprio',
    'centerCrop',
    'jpeg',
    'chunk',
    'normalization',
  ],
];

/**
 * What a policy could do at best on devices, from its graph and their peaks; runs nothing.
 *
 * @throws (rejects) OPTION_*, PLATFORM_REQUIRED, what opening the checkpoint throws, or the signal's reason
 */
export async function estimateRoofline(options: EstimateRooflineOptions): Promise<RooflineEstimate> {
  checkOptions(options, optionNames, 'estimateRoofline');
  const { precision, promptTokens = usualPromptTokens } = options;
  if (precision !== undefined && !rooflinePrecisionNames.includes(precision))
    throw expected('OPTION_INVALID', `one of ${rooflinePrecisionNames.join(', ')}`, 'precision', precision);
  if (!(Number.isSafeInteger(promptTokens) && promptTokens >= 2))
    throw expected('OPTION_INVALID', 'a whole number >= 2', 'promptTokens', promptTokens);
  const chosen = await chooseDevices(options.devices);
  const work = await openWork(options, promptTokens);
  const rooflines: EstimatedRoofline[] = [];
  for (const device of chosen) {
    for (const name of choosePrecisions(device, options)) {
      rooflines.push({
        deviceName: device.name,
        precisionName: name,
        runs: runsHere(device, name),
        ...rooflineOf(work, device, { precision: name }),
      });
    }
  }
  return { work, rooflines };
}

/** The runtime of a GPU and that of a processor compute in different ones. */
function runsHere({ name: device }: Device, name: RooflinePrecision): boolean {
  if (device === thisCpu && cpuPrecisions.some((own) => own === name)) return true;
  const own: readonly string[] = device === thisCpu ? cpuPrecisions : enginePrecisions;
  return own.includes(rooflinePrecisions[name].text);
}

async function chooseDevices(names: readonly string[] | undefined): Promise<readonly Device[]> {
  if (names === undefined) return devices;
  const found = new Map(names.map((name) => [name, name === thisCpu ? null : findDevice(name)]));
  return Promise.all([...found.values()].map((device) => device ?? measureCpu()));
}

/** Over the whole table a device that does not compute in the precision is left out; a named one must. */
function choosePrecisions(
  device: Device,
  { devices: names, precision }: EstimateRooflineOptions,
): readonly RooflinePrecision[] {
  if (names !== undefined) return precision === undefined ? precisionsOf(device) : [precision];
  const wanted = precision ?? 'bf16';
  return precisionsOf(device).includes(wanted) ? [wanted] : [];
}

async function openWork(options: EstimateRooflineOptions, promptTokens: number): Promise<PolicyWork> {
  const { checkpoint: dir, preset, unnormKey } = options;
  if ((dir === undefined) === (preset === undefined)) {
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      `Expected a checkpoint folder or a preset, found ${dir === undefined ? 'neither' : 'both'}.`,
    );
  }
  if (preset !== undefined) {
    if (!(preset in synthPresets))
      throw expected('OPTION_INVALID', `one of ${Object.keys(synthPresets).join(', ')}`, 'preset', preset);
    const { cameras, chunk, proprio } = options;
    const sizes = presetSizes(preset, present({ cameras: cameras?.length, chunk, proprio }));
    return policyWork(presetArchitecture(preset), { ...sizes, promptTokens });
  }
  const checkpoint = await openCheckpoint(dir!, checkpointOptions(options));
  const { platform, cameras, proprio, centerCrop, jpeg, chunk, normalization } = options;
  const given = { platform, cameras, proprio, centerCrop, jpeg, chunk, normalization, unnormKey };
  const resolved = resolvePlatform(checkpoint, present(given));
  return policyWork(checkpoint, { ...policySizes(checkpoint, resolved, unnormKey), promptTokens });
}
