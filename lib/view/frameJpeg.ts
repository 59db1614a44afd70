/** A camera's frame as a small JPEG, for a page. */

import { loadSharp } from '../support/sharp.ts';
import type { ImageFrame } from '../types.ts';

/** Longest side, in pixels. */
const longestSide = 256;

/**
 * @param what is to be drawn
 * @param frame RGB
 * @param isUpsideDown turns it by 180 degrees
 * @throws (rejects) PACKAGE_UNAVAILABLE
 */
export async function frameJpeg(
  what: string,
  { data, width, height }: ImageFrame,
  isUpsideDown = false,
): Promise<Buffer> {
  const sharp = await loadSharp(what);
  const image = sharp(data, { raw: { width, height, channels: 3 } });
  return (isUpsideDown ? image.rotate(180) : image)
    .resize({ width: longestSide, height: longestSide, fit: 'inside', withoutEnlargement: true })
    .jpeg({ quality: 85 })
    .toBuffer();
}
