/**
 * Camera frames from files: PNG, JPEG, or .npy uint8 [height, width, 3].
 *
 * Pixels come out as stored, as NumPy users get them from Pillow: an EXIF orientation is not applied, nor an embedded
 * color profile, and JPEG is decoded with the accurate inverse DCT. Only three channels of 8 bits are a frame. The
 * reference refuses every other array too, and turning gray, transparent or 16-bit pixels into RGB would be a guess. A
 * PNG palette without transparency is accepted: it stores exactly RGB bytes.
 */

import { extname } from 'node:path';
import { SemanticVlaError } from '../errors.ts';
import { loadSharp } from '../sharp.ts';
import { readRegular } from '../support/fileAccess.ts';
import { checkFrame, maxFramePixels } from '../transforms/imageFrame.ts';
import type { ImageFrame } from '../types.ts';
import { parseNpy } from './npy.ts';

/** A larger file holds a larger frame than is accepted, or something else. */
const maxFileBytes = maxFramePixels * 3 + 65_536;

/**
 * @param path of the file; its ending (.png, .jpg, .jpeg, .npy) says what it should hold
 * @throws IMAGE_INVALID, IMAGE_DTYPE, IMAGE_TOO_LARGE, NPY_INVALID
 */
export async function readImageFile(path: string): Promise<ImageFrame> {
  const kind = kinds[extname(path).toLowerCase()];
  if (kind === undefined)
    throw invalid(path, 'a .png, .jpg, .jpeg or .npy file', `the ending '${extname(path)}'`);
  const bytes = await readRegular(path, {
    missing: 'IMAGE_INVALID',
    tooLarge: 'IMAGE_TOO_LARGE',
    cap: maxFileBytes,
  });
  return kind === 'npy' ? frameFromNpy(bytes, path) : decode(bytes, path, kind);
}

const kinds: Readonly<Record<string, 'png' | 'jpeg' | 'npy'>> = {
  '.png': 'png',
  '.jpg': 'jpeg',
  '.jpeg': 'jpeg',
  '.npy': 'npy',
};

/** First bytes of what each kind holds. */
const magic = { png: '89504e470d0a1a0a', jpeg: 'ffd8ff' } as const;

function frameFromNpy(bytes: Uint8Array, path: string): ImageFrame {
  const { dtype, shape, data } = parseNpy(bytes, path);
  if (dtype !== '|u1') {
    throw new SemanticVlaError(
      'IMAGE_DTYPE',
      `${path}: expected a uint8 image (0..255), found NumPy type '${dtype}'. Scale, round and cast it to uint8 first.`,
    );
  }
  const [height, width, channels] = shape;
  if (shape.length !== 3 || channels !== 3 || height === undefined || width === undefined) {
    throw invalid(path, 'shape (height, width, 3)', `(${shape.join(', ')})`);
  }
  const frame = { data, width, height };
  checkFrame(frame, path);
  return frame;
}

async function decode(bytes: Uint8Array, path: string, kind: 'png' | 'jpeg'): Promise<ImageFrame> {
  // Looked at before the decoder sees it: libvips would also open formats that read other files or run scripts.
  const start = Buffer.from(bytes.subarray(0, magic[kind].length / 2)).toString('hex');
  if (start !== magic[kind]) {
    const hex = start === '' ? 'an empty file' : `a file that starts with 0x${start}`;
    throw invalid(path, `a ${kind.toUpperCase()} file`, hex);
  }
  const sharp = await loadSharp();
  const metadata = await attempt(path, () => sharp(bytes, { limitInputPixels: false }).metadata());
  const { width, height, channels, depth, hasAlpha, space } = metadata;
  if (width * height > maxFramePixels) {
    throw new SemanticVlaError(
      'IMAGE_TOO_LARGE',
      `${path}: expected at most ${maxFramePixels} pixels, found ${width} x ${height}. Make the image smaller first.`,
    );
  }
  if (channels !== 3 || depth !== 'uchar' || hasAlpha || space !== 'srgb') {
    const alpha = hasAlpha ? ' with an alpha channel' : '';
    const bits = depth === 'ushort' ? '16' : '8';
    const color = space === 'b-w' || space === 'grey16' ? 'gray' : space === 'cmyk' ? 'CMYK' : 'RGB';
    throw invalid(
      path,
      'three channels of 8 bits (RGB)',
      `${color}${alpha}, ${channels} channel${channels === 1 ? '' : 's'} of ${bits} bits`,
    );
  }
  const { data, info } = await attempt(path, () =>
    sharp(bytes, { ignoreIcc: true, limitInputPixels: maxFramePixels })
      .raw()
      .toBuffer({ resolveWithObject: true }),
  );
  const frame = {
    data: new Uint8Array(data.buffer, data.byteOffset, data.length),
    width: info.width,
    height: info.height,
  };
  checkFrame(frame, path);
  return frame;
}

async function attempt<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split('\n', 1)[0] : String(cause);
    throw invalid(path, 'an image that decodes', `${reason}`, cause);
  }
}

function invalid(path: string, expected: string, found: string, cause?: unknown): SemanticVlaError {
  return new SemanticVlaError('IMAGE_INVALID', `${path}: expected ${expected}, found ${found}.`, { cause });
}
