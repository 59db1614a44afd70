/** Turns an observation into the fields of a request: the counterpart of `lib/serve/observationMap.ts`. */

import { float64Array, NdArray, type WireMap, type WireValue } from '../serve/ndarray.ts';
import type { ObservationKeys } from '../serve/observationMap.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { checkFrame } from '../transforms/imageFrame.ts';
import type { ImageFrame, Observation, Platform } from '../types.ts';

/** The default name of the instruction in a protocol. */
export type InstructionKey = 'instruction' | 'prompt';

export interface RequestForm {
  readonly platform: Pick<Platform, 'cameras' | 'proprio'>;
  readonly keys: ObservationKeys;
  readonly instructionKey: InstructionKey;
  /** Name of the robot, for the server's live page; default: none. */
  readonly robot?: string;
}

/**
 * Copies everything it takes.
 * @throws CAMERA_MISSING, IMAGE_INVALID, IMAGE_DTYPE, IMAGE_TOO_LARGE, STATE_INVALID, INSTRUCTION_INVALID
 */
export function requestFields(
  { images, state }: Observation,
  instruction: string,
  { platform, keys, instructionKey, robot }: RequestForm,
): WireMap {
  const fields = new Map<string, WireValue>();
  for (const camera of platform.cameras) {
    const frame = Object.hasOwn(images, camera) ? images[camera] : undefined;
    if (frame === undefined) {
      throw new SemanticVlaError(
        'CAMERA_MISSING',
        `observation.images: expected ${platform.cameras.join(', ')}; ${camera} is missing.`,
      );
    }
    fields.set(keys.cameras?.[camera] ?? camera, imageArray(frame, camera));
  }
  if (state !== undefined) fields.set(keys.state ?? 'state', stateArray(state));
  else if (platform.proprio) {
    throw new SemanticVlaError('STATE_INVALID', 'observation.state: expected the joint state, found none.');
  }
  if (typeof instruction !== 'string' || instruction.trim() === '') {
    throw new SemanticVlaError('INSTRUCTION_INVALID', 'Option instruction: expected a text, found none.');
  }
  if (robot !== undefined) fields.set('robot', robot);
  return fields.set(keys.instruction ?? instructionKey, instruction);
}

function stateArray(state: ArrayLike<number>): NdArray {
  const values = Float64Array.from(state);
  if (values.every(Number.isFinite)) return float64Array(values, [values.length]);
  throw new SemanticVlaError('STATE_INVALID', 'observation.state: expected finite numbers, found others.');
}

/** Both protocols carry only RGB. */
function imageArray(frame: ImageFrame, camera: string): NdArray {
  checkFrame(frame, camera);
  const { data, width, height, order } = frame;
  const copy = Uint8Array.from(data);
  if (order === 'bgr') {
    for (let i = 0; i < copy.length; i += 3) {
      copy[i] = data[i + 2]!;
      copy[i + 2] = data[i]!;
    }
  }
  return new NdArray('|u1', [height, width, 3], copy);
}
