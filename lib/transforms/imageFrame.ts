/** Is a camera frame one? Checked before anything is computed; never reads the pixels, so the cost does not grow with them. */

import { type ErrorCode, SemanticVlaError } from '../errors.ts';
import type { ImageFrame } from '../types.ts';

/**
 * Frames beyond this many pixels are refused: an 8192 x 8192 frame is 201 MB. Cameras of robots stay far below; what
 * lies above is a wrong width or height.
 */
export const maxFramePixels = 8192 * 8192;

/** Longest side in pixels: that of a JPEG image, through which the reference sends every frame it resizes. */
export const maxFrameSide = 65_500;

/**
 * Checks one frame.
 *
 * @param name what the frame is called in messages, e.g. the camera's name
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
  if (columns > maxFrameSide || rows > maxFrameSide || columns * rows > maxFramePixels) {
    return fail(
      'IMAGE_TOO_LARGE',
      `at most ${maxFramePixels} pixels and ${maxFrameSide} a side; make the frame smaller first`,
      `${columns} x ${rows}`,
    );
  }
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
