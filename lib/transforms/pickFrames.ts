/** Observation -> frames in input order (docs/model.md, Input 1). Cameras are identified by name. */

import { SemanticVlaError } from '../support/errors.ts';
import type { ImageFrame, Observation } from '../types.ts';
import { turned } from './environment.ts';

/**
 * The frames of a policy's cameras, in its order; the observation may contain others.
 * @param rotate cameras whose frames are turned by 180 degrees  @throws OBSERVATION_INVALID, CAMERA_MISSING, IMAGE_*
 */
export function pickFrames(
  observation: Observation,
  cameras: readonly string[],
  rotate: readonly string[] = [],
): ImageFrame[] {
  const { images } = observation ?? {};
  if (typeof images !== 'object' || images === null) {
    throw new SemanticVlaError(
      'OBSERVATION_INVALID',
      `observation.images: expected an object of camera frames by name, found ${images === null ? 'null' : typeof images}.`,
    );
  }
  return cameras.map((camera) => {
    const frame = Object.hasOwn(images, camera) ? images[camera] : undefined;
    if (frame === undefined) {
      throw new SemanticVlaError(
        'CAMERA_MISSING',
        `observation.images: expected the cameras ${cameras.join(', ')}; ${camera} is missing, ` +
          `found ${Object.keys(images).join(', ') || 'none'}. Add the frame, or name your cameras in order with the option cameras.`,
      );
    }
    return rotate.includes(camera) ? turned(frame, camera) : frame;
  });
}
