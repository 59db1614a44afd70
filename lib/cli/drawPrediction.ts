/** The picture of one prediction, from the policy's own view of its cameras. */

import { availableParallelism } from 'node:os';
import { openCheckpoint } from '../checkpoint/openCheckpoint.ts';
import { preprocessImages } from '../transforms/image.ts';
import type { ActionChunk, Observation, Policy } from '../types.ts';
import { patchScores } from '../view/patchScores.ts';
import { renderKeptPatches } from '../view/renderKeptPatches.ts';
import { type PolicyFlags, pickFrames, policyOptions } from './flags.ts';

export interface Prediction {
  readonly policy: Policy;
  readonly observation: Observation;
  readonly chunk: ActionChunk;
  readonly flags: Partial<PolicyFlags>;
  readonly signal: AbortSignal;
}

/** @returns a PNG: frames as they enter the towers, kept patches, similarity */
export async function drawPrediction(
  checkpoint: string,
  { policy, observation, chunk, flags, signal }: Prediction,
): Promise<Buffer> {
  const { cameras, centerCrop, jpeg, name } = policy.platform;
  const { siglipText, cacheDir } = policyOptions(flags);
  const { config } = await openCheckpoint(checkpoint, {
    signal,
    ...(siglipText === undefined ? {} : { siglipText }),
    ...(cacheDir === undefined ? {} : { cacheDir }),
  });
  const frames = await preprocessImages(pickFrames(observation, cameras), {
    imageSize: config.imageSize,
    centerCrop,
    jpeg,
    threads: flags.threads ?? availableParallelism(),
    names: cameras,
  });
  const patches = policy.patchGrid ** 2;
  return renderKeptPatches({
    frames,
    imageSize: config.imageSize,
    cameras,
    patchGrid: policy.patchGrid,
    keptPatches: chunk.keptPatches,
    scores: Object.fromEntries(
      Object.entries(chunk.similarity).map(([camera, similarity]) => [
        camera,
        patchScores(similarity, patches),
      ]),
    ),
    title: `"${chunk.instruction}"`,
    subtitle: `${config.variant}, platform ${name}, frames as they enter the vision towers`,
  });
}
