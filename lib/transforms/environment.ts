/**
 * What stands between a policy and the code that it moves: conventions of simulators and robots that its dataset does not share.
 * Declared in the platform (`actions`, `rotate`), so that whoever plays the actions knows which ones they are.
 */

import { SemanticVlaError } from '../support/errors.ts';
import { expected } from '../support/options.ts';
import type { ImageFrame, PlatformName } from '../types.ts';
import { liberoGripper } from './actions.ts';
import { checkFrame, turnedFrame } from './imageFrame.ts';

/** `dataset`: actions as the dataset has them; `env`: as the platform's own environment takes them. */
export const actionConventions = ['dataset', 'env'] as const;
export type ActionConvention = (typeof actionConventions)[number];

/** BridgeData's controller opens or closes: 1 (open) from the middle on, else 0. */
export function bridgeGripper(g: number): number {
  return g < 0.5 ? 0 : 1;
}

/** From the dataset's gripper to the environment's; null: the environment takes the dataset's. */
const grippers: Readonly<Record<Exclude<PlatformName, 'custom'>, ((g: number) => number) | null>> = {
  libero: liberoGripper,
  bridge: bridgeGripper,
  aloha: null,
};

/** @throws OPTION_INVALID an unknown convention, or `env` on a platform whose environment is not known */
export function checkConvention(convention: unknown, platform: PlatformName): ActionConvention {
  if (convention !== 'dataset' && convention !== 'env')
    throw expected('OPTION_INVALID', 'dataset or env', 'actions', convention);
  if (convention === 'env' && platform === 'custom') {
    throw new SemanticVlaError(
      'OPTION_INVALID',
      `Option actions: expected dataset on a custom platform, since nothing says what its environment takes, found env. Pass platform ${Object.keys(grippers).join(', ')}, or change the actions yourself.`,
    );
  }
  return convention;
}

/** @param actions [C, A] in the dataset's units; changed in place  @param dimensions names of the A dimensions */
export function toEnvironment(
  actions: Float64Array,
  platform: PlatformName,
  dimensions: readonly string[],
): void {
  const gripper = platform === 'custom' ? null : grippers[platform];
  if (gripper === null) return;
  for (const [d, name] of dimensions.entries()) {
    if (name !== 'gripper') continue;
    for (let at = d; at < actions.length; at += dimensions.length) actions[at] = gripper(actions[at]!);
  }
}

/** The frame turned by 180 degrees, a copy: LIBERO's cameras render upside down, and its dataset is turned. @throws IMAGE_* */
export function turned(frame: ImageFrame, camera: string): ImageFrame {
  checkFrame(frame, camera);
  return turnedFrame(frame);
}
