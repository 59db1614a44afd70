/** Turns the head's output into actions in the dataset's units (docs/model.md, Un-normalize; Alternative heads). Pure. */

import type { Bounds } from '../checkpoint/checkpoint.ts';
import { SemanticVlaError } from '../support/errors.ts';
import type { Normalization, PlatformName } from '../types.ts';
import { lowHigh } from './bounds.ts';

/**
 * `where(mask, 0.5*(a+1)*(high-low+1e-8)+low, a)`, bit for bit as the reference's numpy: `a+1` in the precision of `a` (float32
 * from a regression head, float64 from bins), the rest in float64.
 * @param normalized [C, A] row-major
 * @param epsilon added to the range; 0 with OpenVLA's own tokens
 * @returns [C, A]
 * @throws ACTION_NOT_FINITE if a value is NaN or infinite; no part of such a chunk may reach a robot
 * @throws STATISTICS_INVALID if the rows of the chunk are not as wide as the statistics
 */
export function unnormalizeActions(
  normalized: Float32Array | Float64Array,
  bounds: Bounds,
  normalization: Normalization,
  epsilon = 1e-8,
): Float64Array<ArrayBuffer> {
  const { low, high } = lowHigh(bounds, normalization);
  const { mask } = bounds;
  const dim = low.length;
  if (dim === 0 || normalized.length === 0 || normalized.length % dim !== 0) {
    throw new SemanticVlaError(
      'STATISTICS_INVALID',
      `Action statistics: expected rows of ${dim} values as in dataset_statistics.json, found ${normalized.length} normalized ` +
        'values. Choose the normalization key of the robot that the action head was trained for.',
    );
  }
  checkFinite(normalized, dim);
  const single = normalized instanceof Float32Array;
  const out = new Float64Array(normalized.length);
  for (let i = 0; i < out.length; i++) {
    const a = normalized[i] as number;
    const d = i % dim;
    const l = low[d] as number;
    const shifted = single ? Math.fround(a + 1) : a + 1;
    out[i] = mask[d] ? 0.5 * shifted * ((high[d] as number) - l + epsilon) + l : a;
  }
  // a finite value times a finite range may still overflow
  checkFinite(out, dim);
  return out;
}

function checkFinite(normalized: ArrayLike<number>, dim: number): void {
  for (let i = 0; i < normalized.length; i++) {
    if (Number.isFinite(normalized[i])) continue;
    throw new SemanticVlaError(
      'ACTION_NOT_FINITE',
      `Action ${Math.floor(i / dim)}, dimension ${i % dim}: expected a finite value from the policy, found ${normalized[i]}. ` +
        'Nothing of this chunk is returned; check the observation, then the weights of the checkpoint.',
    );
  }
}

/**
 * Values of discrete action tokens: `bin = clip(tokenVocab - id - 1, 0, bins - 2)`, the centre of that interval of
 * `linspace(-1, 1, bins)`.
 * @param ids argmax over the whole vocabulary, one per action value
 * @param head `bins` counts the edges (256), `tokenVocab` the vocabulary without padding (32000)
 */
export function discreteActions(
  ids: ArrayLike<number>,
  head: { readonly bins: number; readonly tokenVocab: number },
): Float64Array<ArrayBuffer> {
  const step = 2 / (head.bins - 1);
  // As numpy's linspace: the last edge is exactly 1.
  const edge = (i: number): number => (i === head.bins - 1 ? 1 : i * step - 1);
  return Float64Array.from(ids, (id) => {
    const bin = Math.min(Math.max(head.tokenVocab - id - 1, 0), head.bins - 2);
    return (edge(bin) + edge(bin + 1)) / 2;
  });
}

/**
 * An answer that ends before its last action token has no action; the reference then reads words of the prompt as actions.
 * @param ids of one answer, in order  @throws ACTION_INCOMPLETE
 */
export function requireWholeAnswer(ids: Int32Array, endId: number): void {
  const at = ids.indexOf(endId);
  if (at < 0 || at === ids.length - 1) return;
  throw new SemanticVlaError(
    'ACTION_INCOMPLETE',
    `Tokens of the action: expected ${ids.length}, found the end of the answer (id ${endId}) after ${at} of them: ${[...ids.subarray(0, at + 1)].join(', ')}. ` +
      'Nothing of this answer is an action; check the instruction, the camera, and that the checkpoint was fine-tuned for robot actions.',
  );
}

/**
 * LIBERO's simulator wants the gripper as -1 (open) or 1 (closed), the dataset, and so the policy, has 0 (closed) to 1
 * (open).
 *
 * @param g last of the seven values of an action, 0..1
 * @returns -1..1
 * @throws never
 */
export function liberoGripper(g: number): number {
  return -Math.sign(2 * g - 1);
}

/** End-effector deltas and gripper, as LIBERO and BridgeData order them. */
const endEffector = ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper'];

/** One ALOHA arm: the joints of its ViperX, base to tool. */
const alohaArm = ['waist', 'shoulder', 'elbow', 'forearm_roll', 'wrist_angle', 'wrist_rotate', 'gripper'];

const namesByPlatform: Readonly<Record<PlatformName, readonly string[]>> = {
  libero: endEffector,
  bridge: endEffector,
  aloha: ['left', 'right'].flatMap((side) => alohaArm.map((joint) => `${side}_${joint}`)),
  custom: [],
};

/** Names of the A action dimensions; `action_0`, `action_1`, ... if the platform does not say what they are. */
export function actionDimensions(platform: PlatformName, actionDim: number): readonly string[] {
  const names = namesByPlatform[platform];
  return names.length === actionDim ? names : Array.from({ length: actionDim }, (_, i) => `action_${i}`);
}
