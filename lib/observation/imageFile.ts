/** Camera frames from files: PNG, JPEG (decodeImage.ts says which), or .npy uint8 [height, width, 3]. */

import { readFile, stat } from 'node:fs/promises';
import { extname } from 'node:path';
import { SemanticVlaError } from '../errors.ts';
import { frameOfArray } from '../transforms/imageFrame.ts';
import type { ImageFrame } from '../types.ts';
import { checkImageBytes, decodeImage, imageInvalid } from './decodeImage.ts';
import { parseNpy } from './npy.ts';

/**
 * @param path of the file; its ending (.png, .jpg, .jpeg, .npy) says what it should hold
 * @throws IMAGE_INVALID, IMAGE_DTYPE, IMAGE_TOO_LARGE, NPY_INVALID
 */
export async function readImageFile(path: string): Promise<ImageFrame> {
  const kind = kinds[extname(path).toLowerCase()];
  if (kind === undefined)
    throw imageInvalid(path, 'a .png, .jpg, .jpeg or .npy file', `the ending '${extname(path)}'`);
  const bytes = await readBounded(path);
  return kind === 'npy' ? frameOfArray(parseNpy(bytes, path), path) : decodeImage(bytes, path, kind);
}

const kinds: Readonly<Record<string, 'png' | 'jpeg' | 'npy'>> = {
  '.png': 'png',
  '.jpg': 'jpeg',
  '.jpeg': 'jpeg',
  '.npy': 'npy',
};

async function readBounded(path: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(path);
    checkImageBytes(size, path);
    return await readFile(path);
  } catch (cause) {
    if (cause instanceof SemanticVlaError) throw cause;
    const reason = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw imageInvalid(path, 'a readable image file', reason === 'ENOENT' ? 'no such file' : reason, {
      cause,
    });
  }
}
