/** Draws one prediction on the camera images as the policy sees them. */

import { availableParallelism } from 'node:os';
import { preprocessImages } from '../transforms/image.ts';
import { pickFrames } from '../transforms/pickFrames.ts';
import type { ActionChunk, Observation, Policy } from '../types.ts';
import { patchScores } from './patchScores.ts';
import { renderKeptPatches } from './renderKeptPatches.ts';

/** A prediction and what it was made from. */
export interface Prediction {
  readonly policy: Pick<Policy, 'platform' | 'variant' | 'imageSize' | 'patchGrid'>;
  /** The observation that `chunk` was predicted from. */
  readonly observation: Observation;
  readonly chunk: ActionChunk;
  /** CPU threads for preprocessing; default: the machine's available parallelism. */
  readonly threads?: number;
}

/**
 * Draws what a prediction was based on: the kept patches of each camera, and their similarity to the instruction.
 *
 * @returns a PNG: frames as they enter the towers, kept patches, similarity
 * @throws (rejects) IMAGE_*, CAMERA_MISSING, PACKAGE_UNAVAILABLE
 */
export async function drawPrediction({ policy, observation, chunk, threads }: Prediction): Promise<Buffer> {
  const { cameras, centerCrop, jpeg, name, rotate } = policy.platform;
  const { imageSize, patchGrid } = policy;
  const frames = await preprocessImages(pickFrames(observation, cameras, rotate), {
    imageSize,
    centerCrop,
    jpeg,
    // OpenVLA's own preprocessing
    direct: policy.variant === 'OpenVLA' && !jpeg,
    threads: threads ?? availableParallelism(),
    names: cameras,
  });
  return renderKeptPatches({
    frames,
    imageSize,
    cameras,
    patchGrid,
    keptPatches: chunk.keptPatches,
    scores: Object.fromEntries(
      Object.entries(chunk.similarity).map(([camera, similarity]) => [
        camera,
        patchScores(similarity, patchGrid ** 2),
      ]),
    ),
    title: `"${chunk.instruction}"`,
    subtitle: `${policy.variant}, platform ${name}, frames as they enter the vision towers`,
  });
}
