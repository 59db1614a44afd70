/** Camera frames from files: PNG, JPEG (see decodeImage.ts), or .npy uint8 [height, width, 3]. */

import { extname } from 'node:path';
import { readRegular } from '../support/fileAccess.ts';
import { frameOfArray } from '../transforms/imageFrame.ts';
import type { ImageFrame } from '../types.ts';
import { decodeImage, imageInvalid, maxImageBytes } from './decodeImage.ts';
import { parseNpy } from './npy.ts';

/**
 * @param path of the file; its ending (.png, .jpg, .jpeg, .npy) says what it should hold
 * @throws IMAGE_INVALID, IMAGE_DTYPE, IMAGE_TOO_LARGE, NPY_INVALID; PACKAGE_UNAVAILABLE for a PNG or JPEG without sharp
 */
export async function readImageFile(path: string): Promise<ImageFrame> {
  const kind = kinds[extname(path).toLowerCase()];
  if (kind === undefined)
    throw imageInvalid(path, 'a .png, .jpg, .jpeg or .npy file', `the ending '${extname(path)}'`);
  const bytes = await readRegular(path, {
    missing: 'IMAGE_INVALID',
    tooLarge: 'IMAGE_TOO_LARGE',
    cap: maxImageBytes,
  });
  return kind === 'npy' ? frameOfArray(parseNpy(bytes, path), path) : decodeImage(bytes, path, kind);
}

const kinds: Readonly<Record<string, 'png' | 'jpeg' | 'npy'>> = {
  '.png': 'png',
  '.jpg': 'jpeg',
  '.jpeg': 'jpeg',
  '.npy': 'npy',
};
