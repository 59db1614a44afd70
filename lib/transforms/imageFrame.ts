/** Checks camera frames before anything is computed. Never reads the pixels, so the cost does not depend on their number. */

import { type ErrorCode, SemanticVlaError } from '../support/errors.ts';
import type { ImageFrame } from '../types.ts';

/**
 * Frames with more pixels are refused: an 8192 x 8192 frame takes 201 MB. Cameras of robots stay far below; anything above is a
 * wrong width or height.
 */
export const maxFramePixels = 8192 * 8192;

/** Longest side in pixels: that of a JPEG image, since the reference sends every frame that it resizes through JPEG. */
export const maxFrameSide = 65_500;

/** An array as NumPy files and requests contain it: `dtype` is NumPy's type string, `data` its bytes in C order. */
export interface PixelArray {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView;
}

/**
 * uint8 [height, width, 3] -> a frame that shares its memory. Other types and layouts are refused: how to convert gray, alpha,
 * depth or channels-first would be a guess.
 *
 * @param name what to call the array in messages
 * @throws IMAGE_INVALID, IMAGE_DTYPE, IMAGE_TOO_LARGE
 */
export function frameOfArray({ dtype, shape, data }: PixelArray, name: string): ImageFrame {
  if (dtype !== '|u1' || !(data instanceof Uint8Array)) {
    throw new SemanticVlaError(
      'IMAGE_DTYPE',
      `${name}: expected a uint8 image (0..255), found NumPy type '${dtype}'. Scale, round and cast it to uint8 first.`,
    );
  }
  const [height = 0, width = 0, channels] = shape;
  if (shape.length !== 3 || channels !== 3 || height < 1 || width < 1) {
    throw new SemanticVlaError(
      'IMAGE_INVALID',
      `${name}: expected shape (height, width, 3), found (${shape.join(', ')})${layoutInWords(shape)}.`,
    );
  }
  checkFrameSize(width, height, name);
  const frame = { data, width, height };
  checkFrame(frame, name);
  return frame;
}

function layoutInWords(shape: readonly number[]): string {
  if (shape.length === 2 || (shape.length === 3 && shape[2] === 1))
    return ', a gray or depth image; repeat gray into three channels if the policy was trained so';
  if (shape.length === 3 && shape[2] === 4) return ', an alpha channel; drop it: image[..., :3]';
  if (shape.length === 3 && shape[0] === 3)
    return ', channels first; move them last: image.transpose(1, 2, 0)';
  if (shape.length === 4) return ', a batch; send one frame: image[0]';
  return '';
}

/**
 * For readers that know the size before they have pixels.
 * @throws IMAGE_TOO_LARGE
 */
export function checkFrameSize(width: number, height: number, name: string): void {
  if (width <= maxFrameSide && height <= maxFrameSide && width * height <= maxFramePixels) return;
  throw new SemanticVlaError(
    'IMAGE_TOO_LARGE',
    `${name}: expected at most ${maxFramePixels} pixels and ${maxFrameSide} a side, found ${width} x ${height}. Make the frame smaller first.`,
  );
}

/**
 * Checks one frame.
 *
 * @param name what to call the frame in messages, e.g. the name of the camera
 * @throws IMAGE_INVALID, IMAGE_DTYPE or IMAGE_TOO_LARGE
 */
export function checkFrame(frame: unknown, name: string): asserts frame is ImageFrame {
  const fail = (code: ErrorCode, expected: string, found: string): never => {
    throw new SemanticVlaError(code, `Image ${name}: expected ${expected}, found ${found}.`);
  };
  if (frame === null || typeof frame !== 'object') {
    return fail('IMAGE_INVALID', 'a frame { data, width, height }', describe(frame));
  }
  const { data, width, height, order } = frame as Partial<Record<keyof ImageFrame, unknown>>;
  if (!(data instanceof Uint8Array)) {
    const plain = Array.isArray(data) || ArrayBuffer.isView(data);
    return fail(
      plain ? 'IMAGE_DTYPE' : 'IMAGE_INVALID',
      'data to be a Uint8Array of RGB bytes (0..255; scale and round other types first)',
      describe(data),
    );
  }
  for (const [side, value] of [
    ['width', width],
    ['height', height],
  ] as const) {
    if (!Number.isInteger(value) || (value as number) < 1) {
      return fail('IMAGE_INVALID', `${side} to be a whole number of pixels, at least 1`, describe(value));
    }
  }
  const [columns, rows] = [width as number, height as number];
  checkFrameSize(columns, rows, `Image ${name}`);
  if (order !== undefined && order !== 'rgb' && order !== 'bgr') {
    return fail('IMAGE_INVALID', "order to be 'rgb' or 'bgr'", describe(order));
  }
  const pixels = columns * rows;
  if (data.length !== pixels * 3) {
    const guess =
      data.length === pixels * 4
        ? ' (4 bytes a pixel: drop the alpha channel)'
        : data.length === pixels
          ? ' (1 byte a pixel: a gray frame; repeat it into three channels if the policy was trained so)'
          : '';
    return fail(
      'IMAGE_INVALID',
      `${pixels * 3} bytes for height ${rows} x width ${columns} x 3 channels`,
      `${data.length} bytes${guess}`,
    );
  }
}

function describe(value: unknown): string {
  if (typeof value === 'number') return String(value);
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40));
  if (value === null || typeof value !== 'object') return String(typeof value);
  const length = (value as { length?: unknown }).length;
  const name = value.constructor?.name ?? 'object';
  return typeof length === 'number' ? `${name} of length ${length}` : name;
}

/** A copy turned by 180 degrees: its pixels in reverse. @param frame checked */
export function turnedFrame(frame: ImageFrame): ImageFrame {
  const { data } = frame;
  const out = new Uint8Array(data.length);
  for (let from = 0, to = data.length - 3; to >= 0; from += 3, to -= 3) {
    out[to] = data[from]!;
    out[to + 1] = data[from + 1]!;
    out[to + 2] = data[from + 2]!;
  }
  return { ...frame, data: out };
}
