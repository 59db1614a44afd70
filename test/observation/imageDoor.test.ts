/**
 * Frames pass the same checks whichever way they come in: each way accepts the same image, or refuses it with the same code.
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32, deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { requestFields } from '../../lib/client/requestFields.ts';
import { maxImageBytes } from '../../lib/observation/decodeImage.ts';
import { readImageFile } from '../../lib/observation/imageFile.ts';
import { decodedFrameOf, frameOf } from '../../lib/ros2/messages.ts';
import { NdArray, type WireValue } from '../../lib/serve/ndarray.ts';
import { observationReader } from '../../lib/serve/observationMap.ts';
import { wireFields } from '../../lib/serve/wireFields.ts';
import { checkFrame } from '../../lib/transforms/imageFrame.ts';
import type { ImageFrame } from '../../lib/types.ts';
import { failure } from './errorCode.ts';

const test = suite('one door for images');
const header = { stamp: { sec: 1, nanosec: 2 }, frame_id: 'camera' };

const raw = { width: 5, height: 4, channels: 3 } as const;
const pixels = Uint8Array.from({ length: 60 }, (_, i) => (i * 37) % 256);
const drawn = () => sharp(pixels, { raw });

type Door = (bytes: Uint8Array) => Promise<ImageFrame>;

/** The entrances for encoded images. The extension of a file is part of what it claims to be. */
async function withDoors(
  ending: string,
  check: (doors: Readonly<Record<string, Door>>) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-door-'));
  try {
    await check({
      file: async (bytes) => {
        const path = join(folder, `camera.${ending}`);
        writeFileSync(path, bytes);
        return readImageFile(path);
      },
      compressed: (data) => decodedFrameOf({ header, format: ending, data }, 'wrist'),
      'compressed of a mono camera': (data) =>
        decodedFrameOf({ header, format: `mono8; ${ending} compressed`, data }, 'wrist'),
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function chunk(type: string, data: Uint8Array): Buffer {
  const bytes = Buffer.alloc(12 + data.length);
  bytes.writeUInt32BE(data.length, 0);
  bytes.write(type, 4, 'latin1');
  bytes.set(data, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, 8 + data.length)), 8 + data.length);
  return bytes;
}

/** A PNG by hand, with chunks before its pixels. `ihdr`: bit depth and color type (PNG, third edition, 11.2.1). */
function png(
  width: number,
  height: number,
  ihdr: readonly [depth: number, color: number],
  before: readonly Uint8Array[] = [],
  data: Uint8Array = new Uint8Array(0),
): Buffer {
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set(ihdr, 8);
  const signature = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
  const rest = [chunk('IDAT', deflateSync(data)), chunk('IEND', new Uint8Array(0))];
  return Buffer.concat([signature, chunk('IHDR', head), ...before, ...rest]);
}

/** A JPEG whose frame header claims other sizes (SOF0: marker, length, precision, height, width). */
function claiming(jpeg: Buffer, width: number, height: number): Buffer {
  const bytes = Buffer.from(jpeg);
  const at = bytes.indexOf(Buffer.from([0xff, 0xc0]));
  bytes.writeUInt16BE(height, at + 5);
  bytes.writeUInt16BE(width, at + 7);
  return bytes;
}

test('RGB of 8 bits comes in by every door, PNG and a palette exactly', async () => {
  const flat = pixels.map((_, i) => (i < 30 ? [200, 10, 30] : [5, 250, 90])[i % 3]!);
  const turned = await drawn().withMetadata({ orientation: 6 }).png().toBuffer();
  const pictures: [Uint8Array, Uint8Array][] = [
    [await drawn().png().toBuffer(), pixels],
    [await drawn().png({ progressive: true }).toBuffer(), pixels],
    [await drawn().withIccProfile('p3').png().toBuffer(), new Uint8Array(0)],
    [await sharp(flat, { raw }).png({ palette: true }).toBuffer(), flat],
    [turned, pixels],
  ];
  await withDoors('png', async (doors) => {
    for (const [bytes, expected] of pictures) {
      for (const [name, door] of Object.entries(doors)) {
        const frame = await door(bytes);
        assert.equal([frame.width, frame.height], [5, 4], name);
        if (expected.length > 0) assert.equal(frame.data, expected, name);
      }
    }
  });
});

test('an EXIF orientation is not applied, and said once a camera', async () => {
  const heard: Error[] = [];
  const hear = (warning: Error): void => {
    if ((warning as Error & { code?: string }).code === 'IMAGE_ORIENTATION') heard.push(warning);
  };
  process.on('warning', hear);
  const data = await drawn().withMetadata({ orientation: 8 }).jpeg().toBuffer();
  for (let i = 0; i < 3; i++) {
    const frame = await decodedFrameOf({ header, format: 'jpeg', data }, 'turned');
    assert.equal([frame.width, frame.height], [5, 4]);
  }
  await new Promise(setImmediate);
  process.off('warning', hear);
  assert.is(heard.length, 1);
  assert.match(heard[0]!.message, /^Image turned: EXIF orientation 8 is not applied/);
});

test('what is no RGB PNG or JPEG is refused by every door, by name', async () => {
  const gray = drawn().toColourspace('b-w');
  const alpha = drawn().ensureAlpha(0.5);
  const jpeg = await drawn().jpeg().toBuffer();
  const animation = chunk('acTL', Uint8Array.from([0, 0, 0, 2, 0, 0, 0, 0]));
  const transparent = [chunk('PLTE', Uint8Array.from([1, 2, 3])), chunk('tRNS', Uint8Array.from([9]))];
  const pngs: [string, Uint8Array, RegExp][] = [
    ['gray', await gray.clone().png().toBuffer(), /gray, 1 channel of 8 bits/],
    ['gray of 1 bit', png(8, 1, [1, 0], [], Uint8Array.from([0, 170])), /gray, 1 channel/],
    ['gray of 16 bits, as depth is', png(1, 1, [16, 0], [], new Uint8Array(3)), /gray, 1 channel of 16 bits/],
    ['gray with alpha', await gray.clone().ensureAlpha(0.5).png().toBuffer(), /gray with an alpha channel/],
    ['alpha', await alpha.clone().png().toBuffer(), /RGB with an alpha channel, 4 channels/],
    ['alpha by a palette', png(1, 1, [8, 3], transparent, new Uint8Array(2)), /RGB with an alpha channel/],
    ['alpha by one color', png(1, 1, [8, 2], [chunk('tRNS', new Uint8Array(6))], new Uint8Array(4)), /alpha/],
    ['16 bits', await drawn().toColourspace('rgb16').png().toBuffer(), /3 channels of 16 bits/],
    ['an animation', png(1, 1, [8, 2], [animation], new Uint8Array(4)), /one picture.*animation \(APNG\)/],
  ];
  const jpegs: [string, Uint8Array, RegExp][] = [
    ['gray', await gray.clone().jpeg().toBuffer(), /gray, 1 channel of 8 bits/],
    ['CMYK', await drawn().toColourspace('cmyk').jpeg().toBuffer(), /CMYK, 4 channels/],
  ];
  const heif = await drawn()
    .heif({ compression: 'av1' })
    .toBuffer()
    .catch(() => Buffer.from('\0\0\0\x1cftypavif\0\0\0\0'));
  const both: [string, Uint8Array, RegExp][] = [
    ['GIF', await drawn().gif().toBuffer(), /a GIF image/],
    ['WebP', await drawn().webp().toBuffer(), /a WebP image/],
    ['TIFF', await drawn().tiff().toBuffer(), /a TIFF image/],
    ['AVIF', heif, /an AVIF image/],
    ['HEIC', Buffer.from('\0\0\0\x18ftypheic\0\0\0\0', 'latin1'), /a HEIF image/],
    ['BMP', Buffer.from('BM\x36\0'), /a BMP image/],
    ['Netpbm', Buffer.from('P6 1 1 255 abc'), /a Netpbm image/],
    ['video', Buffer.from('\0\0\0\x01\x67\x42', 'latin1'), /an H\.264 or H\.265 stream/],
    ['SVG', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'), /an SVG drawing/],
    ['SVG after XML', Buffer.from('<?xml version="1.0"?>\n<!-- x -->\n<svg width="9"/>'), /an SVG drawing/],
    ['PDF', Buffer.from('%PDF-1.7'), /a PDF document/],
    ['web page', Buffer.from('<!DOCTYPE html><html>'), /a web page/],
    ['LFS pointer', Buffer.from('version https://git-lfs.github.com/spec/v1\n'), /a Git LFS pointer/],
    ['array', Buffer.from('\x93NUMPY\x01\0', 'latin1'), /a NumPy array/],
    ['compressedDepth', Buffer.concat([Buffer.alloc(12), png(1, 1, [16, 0])]), /a depth image/],
    ['nothing', new Uint8Array(0), /an empty file/],
    ['noise', Uint8Array.from({ length: 99 }, (_, i) => i * 7 + 1), /starts with 0x01080f16/],
    ['half a JPEG', jpeg.subarray(0, jpeg.length - 30), /decodes|starts with/],
  ];
  for (const [ending, pictures] of [
    ['png', [...pngs, ...both]],
    ['jpg', [...jpegs, ...both]],
  ] as const) {
    await withDoors(ending, async (doors) => {
      for (const [what, bytes, words] of pictures) {
        for (const [name, door] of Object.entries(doors)) {
          const { code, message } = await failure(() => door(bytes));
          assert.is(code, 'IMAGE_INVALID', `${what} as ${ending} by ${name}: ${message}`);
          assert.match(message, words, `${what} as ${ending} by ${name}`);
        }
      }
    });
  }
});

test('size is bounded before anything is decoded', async () => {
  const jpeg = await drawn().jpeg({ mozjpeg: false }).toBuffer();
  await withDoors('png', async (doors) => {
    // a bomb: 1 MB of zeros as the pixels of a picture of 30 GB
    const bomb = png(100_000, 100_000, [8, 2], [], new Uint8Array(1_000_000));
    for (const bytes of [bomb, png(70_000, 1, [8, 2]), png(8193, 8192, [8, 2])]) {
      for (const door of Object.values(doors)) {
        const { code, message } = await failure(() => door(bytes));
        assert.is(code, 'IMAGE_TOO_LARGE', message);
      }
    }
  });
  await withDoors('jpg', async (doors) => {
    for (const [name, door] of Object.entries(doors)) {
      const { code, message } = await failure(() => door(claiming(jpeg, 60_000, 60_000)));
      assert.is(code, 'IMAGE_TOO_LARGE', `${name}: ${message}`);
    }
  });
  // never touched: only its length counts
  const { code } = await failure(() =>
    decodedFrameOf({ header, format: 'png', data: new Uint8Array(maxImageBytes + 1) }, 'wrist'),
  );
  assert.is(code, 'IMAGE_TOO_LARGE');
});

test('depth is refused by the name of its format, whatever the bytes are', async () => {
  const data = await drawn().png().toBuffer();
  for (const format of [
    '16UC1; compressedDepth',
    '16UC1; compressedDepth png',
    '32FC1; compressedDepth rvl',
  ]) {
    const { code, message } = await failure(() => decodedFrameOf({ header, format, data }, 'wrist'));
    assert.is(code, 'IMAGE_INVALID');
    assert.match(message, /depth image/);
  }
});

test('raw messages: what is no RGB of 8 bits, and sizes that lie', async () => {
  const good = { header, width: 2, height: 2, is_bigendian: 0, encoding: 'rgb8', step: 6 };
  const data = new Uint8Array(12);
  assert.equal(frameOf({ ...good, data }, 'wrist').data, data);
  const encodings: Record<string, RegExp> = {
    mono8: /a gray image/,
    mono16: /depth or 16-bit/,
    '16UC1': /depth or 16-bit/,
    '32FC1': /depth or 16-bit/,
    rgb16: /not 8 bits/,
    bgra16: /not 8 bits/,
    '8UC3': /unspecified order/,
    '32FC3': /not 8 bits/,
    bayer_rggb8: /Bayer/,
    yuv422_yuy2: /YUV/,
    nv12: /YUV/,
    constructor: /found "constructor"/,
    __proto__: /found "__proto__"/,
    '': /found ""/,
  };
  for (const [encoding, words] of Object.entries(encodings)) {
    const { code, message } = await failure(() => frameOf({ ...good, encoding, data }, 'wrist'));
    assert.is(code, 'IMAGE_INVALID', encoding);
    assert.match(message, words);
  }
  const lies: [Record<string, unknown>, string][] = [
    [{ step: Number.NaN }, 'IMAGE_INVALID'],
    [{ step: 5 }, 'IMAGE_INVALID'],
    [{ step: 6.5 }, 'IMAGE_INVALID'],
    [{ width: 4_294_967_295 }, 'IMAGE_INVALID'],
    [{ height: 3 }, 'IMAGE_INVALID'],
    [{ data: [0, 0, 0] }, 'IMAGE_INVALID'],
    [{ width: 1, height: 70_000, step: 3, data: new Uint8Array(210_000) }, 'IMAGE_TOO_LARGE'],
  ];
  for (const [lie, expected] of lies) {
    const { code } = await failure(() => frameOf({ ...good, data, ...lie } as never, 'wrist'));
    assert.is(code, expected, JSON.stringify(lie).slice(0, 60));
  }
});

test('arrays: files and requests answer alike, and say what the layout looks like', async () => {
  const read = observationReader({ platform: { cameras: ['full_image'], proprio: false } as never });
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-door-'));
  const doors = {
    request: async (dtype: string, shape: readonly number[], bytes: Uint8Array) => {
      const fields = new Map<string, WireValue>([
        ['full_image', new NdArray(dtype, shape, bytes)],
        ['instruction', 'open'],
      ]);
      const whole = { inside: () => null, decode: (value: WireValue) => value };
      return (await read(wireFields(fields, whole)).observation()).images.full_image!;
    },
    npy: async (descr: string, shape: readonly number[], bytes: Uint8Array) => {
      const tuple = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
      const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${tuple}), }`;
      const path = join(folder, 'frame.npy');
      const head = Buffer.from('\x93NUMPY\x01\x00\x76\x00', 'latin1');
      writeFileSync(path, Buffer.concat([head, Buffer.from(`${text.padEnd(117)}\n`, 'latin1'), bytes]));
      return readImageFile(path);
    },
  };
  const cases: [string, number[], number, string, RegExp][] = [
    ['|u1', [4, 5], 20, 'IMAGE_INVALID', /gray or depth/],
    ['|u1', [4, 5, 1], 20, 'IMAGE_INVALID', /gray or depth/],
    ['|u1', [4, 5, 4], 80, 'IMAGE_INVALID', /alpha/],
    ['|u1', [3, 4, 5], 60, 'IMAGE_INVALID', /channels first/],
    ['|u1', [1, 4, 5, 3], 60, 'IMAGE_INVALID', /a batch/],
    ['|u1', [60], 60, 'IMAGE_INVALID', /\(60\)/],
    ['|u1', [0, 5, 3], 0, 'IMAGE_INVALID', /\(0, 5, 3\)/],
    ['<f4', [4, 5, 3], 240, 'IMAGE_DTYPE', /'<f4'/],
    ['<u2', [4, 5], 40, 'IMAGE_DTYPE', /'<u2'/],
    ['|i1', [4, 5, 3], 60, 'IMAGE_DTYPE', /'\|i1'/],
    ['|b1', [4, 5, 3], 60, 'IMAGE_DTYPE', /'\|b1'/],
    ['|u1', [70_000, 1, 3], 210_000, 'IMAGE_TOO_LARGE', /1 x 70000/],
  ];
  try {
    // a request may have its channels first, as openpi's ALOHA clients do; a file may not
    const planes = Uint8Array.from({ length: 60 }, (_, i) => pixels[3 * (i % 20) + Math.floor(i / 20)]!);
    const moved = await doors.request('|u1', [3, 4, 5], planes);
    assert.equal([moved.height, moved.width, moved.data], [4, 5, pixels]);
    const { code } = await failure(() => doors.request('|u1', [3, 0, 5], new Uint8Array(0)));
    assert.is(code, 'IMAGE_INVALID');
    for (const [name, door] of Object.entries(doors)) {
      assert.equal((await door('|u1', [4, 5, 3], pixels)).data, pixels, name);
      for (const [dtype, shape, length, expected, words] of cases) {
        if (name === 'request' && words.source === 'channels first') continue;
        const { code, message } = await failure(() => door(dtype, shape, new Uint8Array(length)));
        assert.is(code, expected, `${name} ${dtype} (${shape}): ${message}`);
        assert.match(message, words, name);
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('frames of the API: the policy here and the one on another machine answer alike', async () => {
  const form = {
    platform: { cameras: ['wrist'], proprio: false },
    keys: {},
    instructionKey: 'prompt',
  } as const;
  const doors = {
    local: async (frame: ImageFrame) => checkFrame(frame, 'wrist'),
    remote: async (frame: ImageFrame) => void requestFields({ images: { wrist: frame } }, 'open', form),
  };
  const frame = { data: new Uint8Array(60), width: 5, height: 4 };
  const cases: [Record<string, unknown> | null, string][] = [
    [null, 'IMAGE_INVALID'],
    [{ ...frame, data: new Float32Array(60) }, 'IMAGE_DTYPE'],
    [{ ...frame, data: new Uint16Array(60) }, 'IMAGE_DTYPE'],
    [{ ...frame, data: Array.from(pixels) }, 'IMAGE_DTYPE'],
    [{ ...frame, data: new Uint8Array(20) }, 'IMAGE_INVALID'],
    [{ ...frame, data: new Uint8Array(80) }, 'IMAGE_INVALID'],
    [{ ...frame, order: 'rbg' }, 'IMAGE_INVALID'],
    [{ ...frame, width: 2.5, height: 8 }, 'IMAGE_INVALID'],
    [{ data: new Uint8Array(210_000), width: 70_000, height: 1 }, 'IMAGE_TOO_LARGE'],
  ];
  for (const [name, door] of Object.entries(doors)) {
    await door(frame);
    for (const [value, expected] of cases) {
      const { code, message } = await failure(() => door(value as never));
      assert.is(code, expected, `${name}: ${message}`);
    }
  }
});

test.run();
