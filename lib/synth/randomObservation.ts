/** A made-up observation for measuring: the work for a chunk does not depend on the values. */

import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { Random } from '../support/random.ts';
import type { ImageFrame, Observation, Platform } from '../types.ts';

/** Pixels of a frame. */
export interface FrameSize {
  readonly width: number;
  readonly height: number;
}

/** The size of LIBERO's frames, so that they have to be resized. */
export const usualFrame: FrameSize = { width: 256, height: 256 };

/** As long as LIBERO's instructions. */
export const usualInstruction = 'pick up the black bowl on the stove and place it on the plate';

/** An observation that this policy accepts. */
export function observationFor(
  {
    platform,
    checkpoint,
  }: { readonly platform: Platform; readonly checkpoint: Pick<Checkpoint, 'statistics'> },
  unnormKey: string,
  frame: FrameSize = usualFrame,
): Observation {
  const proprio = platform.proprio ? checkpoint.statistics.get(unnormKey)?.proprio : null;
  return randomObservation(platform.cameras, frame, proprio?.min.length ?? 0);
}

/** Frames with gradients and grain, one per camera, and a joint state of small numbers. The same on every call. */
export function randomObservation(
  cameras: readonly string[],
  frame: FrameSize,
  stateLength: number,
): Observation {
  const random = new Random(1);
  const images = Object.fromEntries(cameras.map((camera) => [camera, randomFrame(frame, random)]));
  if (stateLength === 0) return { images };
  return { images, state: Array.from({ length: stateLength }, () => random.between(-0.1, 0.1)) };
}

function randomFrame({ width, height }: FrameSize, random: Random): ImageFrame {
  const data = new Uint8Array(width * height * 3);
  const slopes = [random.between(0.2, 0.8), random.between(0.2, 0.8), random.between(0.2, 0.8)];
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const grain = random.integer(-12, 12);
      for (let c = 0; c < 3; c++) {
        const ramp = 40 + 170 * (slopes[c]! * (x / width) + (1 - slopes[c]!) * (y / height));
        data[at++] = Math.max(0, Math.min(255, Math.round(ramp + grain)));
      }
    }
  }
  return { data, width, height };
}
