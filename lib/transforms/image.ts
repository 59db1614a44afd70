/**
 * Turns camera frames into the input of the towers' normalization (docs/model.md, Input 1): JPEG round trip, Lanczos resize,
 * center crop. The addon does the arithmetic; here frames and options are checked, and errors worded.
 */

import { loadAddon, type NativePreprocessed } from '../addon/binding.ts';
import type { PixelNormalization } from '../checkpoint/policyConfig.ts';
import { SemanticVlaError } from '../support/errors.ts';
import type { ImageFrame } from '../types.ts';
import { checkFrame } from './imageFrame.ts';

export interface PreprocessOptions {
  /** Side S, in pixels, of the square image that enters the towers. */
  readonly imageSize: number;
  readonly centerCrop: boolean;
  /** JPEG round trip before the resize, as in the training data. */
  readonly jpeg: boolean;
  /** OpenVLA's own way: neither JPEG nor Lanczos; the crop, or else Pillow's resize, takes the frame at its own size. Default false. */
  readonly direct?: boolean;
  /** Number of CPU threads, >= 1. */
  readonly threads: number;
  /** Names of the frames in error messages, e.g. those of the cameras; default: `0`, `1`, .. */
  readonly names?: readonly string[];
}

/** The intermediate results of one frame. */
export interface PreprocessSteps {
  /** [224, 224, 3] RGB after JPEG and Lanczos; absent if the frame already has that size (then neither is applied). */
  readonly resized?: Uint8Array;
  /** [S, S, 3] RGB: what enters the normalization. */
  readonly cropped: Uint8Array;
}

/**
 * @returns [I, S, S, 3] uint8 RGB, frames in the given order. Frames are copied before this returns and never modified.
 * @throws (rejects) IMAGE_INVALID, IMAGE_DTYPE, IMAGE_TOO_LARGE, OPTION_INVALID, ADDON_NOT_BUILT
 */
export async function preprocessImages(
  frames: readonly ImageFrame[],
  options: PreprocessOptions,
): Promise<Uint8Array> {
  return (await run(frames, options, false)).images;
}

/** Policy images, and where the time went. */
export interface TimedImages {
  /** As returned by `preprocessImages`. */
  readonly images: Uint8Array;
  /** Milliseconds per step; together the time of the arithmetic, without waiting for a thread. */
  readonly times: { readonly decode: number; readonly resize: number; readonly crop: number };
}

/**
 * The same with the times of its steps.
 *
 * @throws (rejects) as `preprocessImages`
 */
export async function preprocessTimed(
  frames: readonly ImageFrame[],
  options: PreprocessOptions,
): Promise<TimedImages> {
  return run(frames, options, false);
}

/**
 * The same with every intermediate step, one entry per frame.
 *
 * @throws (rejects) as `preprocessImages`
 */
export async function preprocessSteps(
  frames: readonly ImageFrame[],
  options: PreprocessOptions,
): Promise<PreprocessSteps[]> {
  const { images, resized = [] } = await run(frames, options, true);
  const bytes = options.imageSize * options.imageSize * 3;
  return resized.map((image, i) => {
    const cropped = images.slice(i * bytes, (i + 1) * bytes);
    return image === null ? { cropped } : { resized: image, cropped };
  });
}

/**
 * What one tower sees of the policy images: `(x / 255 - mean) / std`, channels first.
 *
 * @param images [I, S, S, 3] uint8 RGB, as `preprocessImages` gives them
 * @returns [I, 3, S, S] float32
 */
export function normalizePixels(
  images: Uint8Array,
  imageSize: number,
  { mean, std }: PixelNormalization,
): Float32Array {
  const count = images.length / (imageSize * imageSize * 3);
  if (!Number.isInteger(count)) {
    throw new SemanticVlaError(
      'IMAGE_INVALID',
      `Policy images: expected whole images of ${imageSize} x ${imageSize} x 3 bytes, found ${images.length} bytes.`,
    );
  }
  return loadAddon().normalizePixels(images, count, imageSize, mean, std);
}

function run(
  frames: readonly ImageFrame[],
  options: PreprocessOptions,
  keepSteps: boolean,
): Promise<NativePreprocessed> {
  checkOptions(options);
  frames.forEach((frame, i) => {
    checkFrame(frame, options.names?.[i] ?? String(i));
  });
  const { imageSize, centerCrop, jpeg, direct = false, threads } = options;
  return loadAddon().preprocessImages(
    frames.map(({ data, width, height, order }) => ({ data, width, height, bgr: order === 'bgr' })),
    { imageSize, centerCrop, jpeg, direct, threads, keepSteps },
  );
}

function checkOptions({ imageSize, threads, centerCrop, jpeg }: PreprocessOptions): void {
  // Limits far above any policy or machine: a larger number is a mistake and must not allocate memory.
  const checks = [
    ['imageSize', imageSize, 4096],
    ['threads', threads, 256],
  ] as const;
  for (const [name, value, cap] of checks) {
    if (!Number.isInteger(value) || value < 1 || value > cap) {
      throw new SemanticVlaError(
        'OPTION_INVALID',
        `Option ${name}: expected a whole number in 1..${cap}, found ${value}.`,
      );
    }
  }
  for (const [name, value] of [
    ['centerCrop', centerCrop],
    ['jpeg', jpeg],
  ] as const) {
    if (typeof value !== 'boolean') {
      throw new SemanticVlaError('OPTION_INVALID', `Option ${name}: expected true or false, found ${value}.`);
    }
  }
}
