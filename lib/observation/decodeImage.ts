/**
 * The one entrance for encoded images from any source (a file, a ROS message): bytes -> an RGB frame, or a refusal that names
 * the reason.
 *
 * Accepted are PNG and JPEG with three channels of 8 bits, recognized by their first bytes; also PNG palettes without
 * transparency, which store exact RGB bytes. Pixels come out as stored, as NumPy users get them from Pillow: an embedded color
 * profile is not applied, nor is an EXIF orientation (a warning mentions it), and JPEG is decoded with the accurate inverse
 * DCT. Gray, CMYK, 16 bits, alpha, animations and all other kinds are refused: the reference refuses such arrays, and turning
 * them into RGB would be a guess. Bytes and pixels are bounded before anything is decoded.
 */

import { SemanticVlaError } from '../support/errors.ts';
import { loadSharp } from '../support/sharp.ts';
import { checkFrame, checkFrameSize, maxFramePixels } from '../transforms/imageFrame.ts';
import type { ImageFrame } from '../types.ts';

/** A larger file contains a larger frame than is accepted, or something else. */
export const maxImageBytes = maxFramePixels * 3 + 65_536;

export type ImageKind = 'png' | 'jpeg';

/**
 * @param bytes of a PNG or JPEG; not kept
 * @param name what to call the image in messages
 * @param kind what it should be; default: either
 * @throws (rejects) IMAGE_INVALID, IMAGE_TOO_LARGE, PACKAGE_UNAVAILABLE
 */
export async function decodeImage(bytes: Uint8Array, name: string, kind?: ImageKind): Promise<ImageFrame> {
  if (!(bytes instanceof Uint8Array)) throw imageInvalid(name, 'the bytes of an image', `a ${typeof bytes}`);
  checkImageBytes(bytes.length, name);
  // Checked before the decoder sees it: libvips would also open formats that read other files or run scripts.
  const found = kindOf(bytes);
  if (!(found === kind || (kind === undefined && (found === 'png' || found === 'jpeg')))) {
    const wanted = kind === undefined ? 'a PNG or JPEG image' : `a ${kind.toUpperCase()} file`;
    throw imageInvalid(name, wanted, bytesInWords(bytes, found));
  }
  if (found === 'png' && isAnimated(bytes)) {
    throw imageInvalid(name, 'one picture', 'an animation (APNG)', { next: 'Save the frame that is meant.' });
  }
  const sharp = await loadSharp(name, "give the frame's raw pixels (a file: .npy)");
  const metadata = await attempt(name, () => sharp(bytes, { limitInputPixels: false }).metadata());
  checkFrameSize(metadata.width, metadata.height, name);
  const { channels, depth, hasAlpha, space, orientation } = metadata;
  if (channels !== 3 || depth !== 'uchar' || hasAlpha || space !== 'srgb') {
    const alpha = hasAlpha ? ' with an alpha channel' : '';
    const color = colors[space] ?? (space === 'srgb' || space === 'rgb' ? 'RGB' : space);
    const bits = bitsOf[depth] ?? depth;
    const plural = channels === 1 ? '' : 's';
    throw imageInvalid(
      name,
      'three channels of 8 bits (RGB)',
      `${color}${alpha}, ${channels} channel${plural} of ${bits}`,
      {
        next: 'Convert it to RGB of 8 bits in the way the images that the policy was trained with were made.',
      },
    );
  }
  if (orientation !== undefined && orientation > 1) warnOrientation(name, orientation);
  const { data, info } = await attempt(name, () =>
    sharp(bytes, { ignoreIcc: true, limitInputPixels: maxFramePixels })
      .raw()
      .toBuffer({ resolveWithObject: true }),
  );
  const frame = {
    data: new Uint8Array(data.buffer, data.byteOffset, data.length),
    width: info.width,
    height: info.height,
  };
  checkFrame(frame, name);
  return frame;
}

/** @throws IMAGE_TOO_LARGE */
export function checkImageBytes(size: number, name: string): void {
  if (size <= maxImageBytes) return;
  throw new SemanticVlaError(
    'IMAGE_TOO_LARGE',
    `${name}: expected an image of at most ${maxImageBytes} bytes, found ${size}. Make the image smaller first.`,
  );
}

export function imageInvalid(
  name: string,
  expected: string,
  found: string,
  { cause, next }: { readonly cause?: unknown; readonly next?: string } = {},
): SemanticVlaError {
  const text = `${name}: expected ${expected}, found ${found}.${next === undefined ? '' : ` ${next}`}`;
  return new SemanticVlaError('IMAGE_INVALID', text, { cause });
}

const colors: Readonly<Record<string, string>> = {
  'b-w': 'gray',
  grey16: 'gray',
  cmyk: 'CMYK',
  rgb16: 'RGB',
};
const bitsOf: Readonly<Record<string, string>> = { uchar: '8 bits', ushort: '16 bits', float: '32 bits' };
const kindWords: Readonly<Record<string, string>> = { png: 'a PNG image', jpeg: 'a JPEG image' };

/** Offsets and bytes (as Latin-1) that identify a kind. */
const signatures: readonly (readonly [at: number, bytes: string, kind: string])[] = [
  [0, '\x89PNG\r\n\x1a\n', 'png'],
  [0, '\xff\xd8\xff', 'jpeg'],
  [0, 'GIF8', 'a GIF image'],
  [8, 'WEBP', 'a WebP image'],
  [0, 'II*\0', 'a TIFF image'],
  [0, 'MM\0*', 'a TIFF image'],
  [0, 'II+\0', 'a TIFF image'],
  [0, 'MM\0+', 'a TIFF image'],
  [0, 'BM', 'a BMP image'],
  [4, 'ftypavi', 'an AVIF image'],
  [4, 'ftyphe', 'a HEIF image'],
  [4, 'ftypmif1', 'a HEIF image'],
  [4, 'ftypmsf1', 'a HEIF image'],
  [4, 'ftyp', 'an MP4 video'],
  [4, 'jP  ', 'a JPEG 2000 image'],
  [0, '\xff\x4f\xff\x51', 'a JPEG 2000 image'],
  [4, 'JXL ', 'a JPEG XL image'],
  [0, '\xff\x0a', 'a JPEG XL image'],
  [0, '\0\0\0\x01', 'an H.264 or H.265 stream'],
  [0, '\0\0\x01', 'an H.264 or H.265 stream, or an icon'],
  [0, 'P5', 'a Netpbm image'],
  [0, 'P6', 'a Netpbm image'],
  [0, 'qoif', 'a QOI image'],
  [0, '8BPS', 'a Photoshop image'],
  [0, 'v/1\x01', 'an OpenEXR image'],
  [0, '\x93NUMPY', 'a NumPy array (.npy)'],
  [0, 'PK\x03\x04', 'a ZIP archive (.npz is one)'],
  [0, '%PDF', 'a PDF document'],
  [0, 'version https://git-lfs', 'a Git LFS pointer: run `git lfs pull` where it came from'],
  [12, '\x89PNG', 'a depth image (compressedDepth)'],
];

/** The kind according to the first bytes; null if it is not known here. */
function kindOf(bytes: Uint8Array): string | null {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 1024)).toString('latin1');
  const known = signatures.find(([at, signature]) => start.startsWith(signature, at));
  if (known !== undefined) return known[2];
  if (/<svg[\s>]/i.test(start)) return 'an SVG drawing';
  return /^\W*(?:doctype )?html/i.test(start) ? 'a web page' : null;
}

function bytesInWords(bytes: Uint8Array, kind: string | null): string {
  if (bytes.length === 0) return 'an empty file';
  const start = `a file that starts with 0x${Buffer.from(bytes.subarray(0, 8)).toString('hex')}`;
  return kind === null ? start : `${start}: ${kindWords[kind] ?? kind}`;
}

/** Animated PNG: its control chunk comes before the data of the first image (PNG, third edition, 11.3.6). */
function isAnimated(png: Uint8Array): boolean {
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  for (let at = 8; at + 12 <= png.length; ) {
    const type = view.getUint32(at + 4);
    if (type === 0x6163544c /* acTL */) return true;
    if (type === 0x49444154 /* IDAT */) return false;
    at += 12 + view.getUint32(at);
  }
  return false;
}

/** Node shows a warning of one code and text once for each name; a camera would repeat it with every frame. */
const warned = new Set<string>();

function warnOrientation(name: string, orientation: number): void {
  if (warned.has(name) || warned.size >= 64) return;
  warned.add(name);
  process.emitWarning(
    `${name}: EXIF orientation ${orientation} is not applied: the frame is as stored, as Pillow reads it, while viewers and ` +
      'OpenCV turn it. Save it turned, without the tag, if the policy was trained on such.',
    { type: 'SemanticVlaWarning', code: 'IMAGE_ORIENTATION' },
  );
}

async function attempt<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split('\n', 1)[0] : String(cause);
    throw imageInvalid(name, 'an image that decodes', `${reason}`, { cause });
  }
}
