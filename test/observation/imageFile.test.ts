import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readImageFile } from '../../lib/observation/imageFile.ts';
import { failure } from './errorCode.ts';

const imageFile = suite('observation/imageFile');

const observation = fileURLToPath(new URL('../golden/libero-tiny/obs0/', import.meta.url));

/** Runs `work` with a fresh folder that is removed afterwards. */
async function withFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-image-'));
  try {
    await work(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** 5 x 4 RGB with every value different from its neighbours. */
const raw = { width: 5, height: 4, channels: 3 } as const;
const pixels = Uint8Array.from({ length: 60 }, (_, i) => (i * 37) % 256);
const drawn = () => sharp(pixels, { raw });

imageFile('a PNG is the .npy twin that NumPy wrote', async () => {
  const png = await readImageFile(join(observation, 'full_image.png'));
  const npy = await readImageFile(join(observation, 'full_image.npy'));
  assert.equal([png.width, png.height], [224, 224]);
  assert.ok(Buffer.from(png.data).equals(Buffer.from(npy.data)));
});

imageFile('a palette PNG is the RGB it names, and a JPEG keeps its stored orientation', async () => {
  await withFolder(async (folder) => {
    const flat = new Uint8Array(60).map((_, i) => (i < 30 ? [200, 10, 30] : [5, 250, 90])[i % 3]!);
    const file = join(folder, 'palette.png');
    await sharp(flat, { raw }).png({ palette: true }).toFile(file);
    assert.is((await sharp(file).metadata()).isPalette, true);
    assert.equal((await readImageFile(file)).data, flat);

    const turned = join(folder, 'turned.jpg');
    await drawn().withMetadata({ orientation: 6 }).jpeg({ quality: 100 }).toFile(turned);
    const frame = await readImageFile(turned);
    assert.equal([frame.width, frame.height], [5, 4]);
  });
});

imageFile('an embedded color profile changes no pixel', async () => {
  await withFolder(async (folder) => {
    const file = join(folder, 'profile.png');
    await drawn().withIccProfile('p3').png().toFile(file);
    const stored = await sharp(file, { ignoreIcc: true }).raw().toBuffer();
    assert.ok((await sharp(file).metadata()).icc !== undefined);
    assert.not.equal(new Uint8Array(await sharp(file).raw().toBuffer()), new Uint8Array(stored));
    assert.equal((await readImageFile(file)).data, new Uint8Array(stored));
  });
});

imageFile('what is no RGB image of 8 bits is refused, saying what it is', async () => {
  await withFolder(async (folder) => {
    const png = await drawn().png().toBuffer();
    const jpeg = await drawn().jpeg().toBuffer();
    const gray = drawn().toColourspace('b-w');
    const cases: [string, Uint8Array | string, string, RegExp][] = [
      [
        'alpha.png',
        await drawn().ensureAlpha(0.5).png().toBuffer(),
        'IMAGE_INVALID',
        /RGB with an alpha channel, 4/,
      ],
      ['gray.png', await gray.clone().png().toBuffer(), 'IMAGE_INVALID', /gray, 1 channel of 8 bits/],
      ['gray.jpg', await gray.clone().jpeg().toBuffer(), 'IMAGE_INVALID', /gray, 1 channel of 8 bits/],
      ['deep.png', await drawn().toColourspace('rgb16').png().toBuffer(), 'IMAGE_INVALID', /16 bits/],
      [
        'print.jpg',
        await drawn().toColourspace('cmyk').jpeg().toBuffer(),
        'IMAGE_INVALID',
        /CMYK, 4 channels/,
      ],
      ['cut.png', png.subarray(0, png.length - 30), 'IMAGE_INVALID', /decodes/],
      ['cut.jpg', jpeg.subarray(0, jpeg.length - 30), 'IMAGE_INVALID', /decodes/],
      ['empty.png', '', 'IMAGE_INVALID', /an empty file/],
      ['jpeg.png', jpeg, 'IMAGE_INVALID', /expected a PNG file, found a file that starts with 0xffd8/],
      ['webp.png', await drawn().webp().toBuffer(), 'IMAGE_INVALID', /expected a PNG file/],
      [
        'drawing.png',
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        'IMAGE_INVALID',
        /PNG/,
      ],
      ['frame.bmp', 'BM', 'IMAGE_INVALID', /ending '\.bmp'/],
      ['lies.npy', 'numpy', 'NPY_INVALID', /magic string/],
      ['huge.png', hugePng(png), 'IMAGE_TOO_LARGE', /60000 x 60000/],
    ];
    for (const [name, bytes, expectedCode, expectedMessage] of cases) {
      const file = join(folder, name);
      writeFileSync(file, bytes);
      const { code, message } = await failure(() => readImageFile(file));
      assert.is(code, expectedCode, `${name}: ${message}`);
      assert.match(message, expectedMessage, name);
    }
    const missing = await failure(() => readImageFile(join(folder, 'none.png')));
    assert.is(missing.code, 'IMAGE_INVALID');
    assert.match(missing.message, /no such file/);
  });
});

/** The same PNG claiming 60,000 x 60,000 pixels: it must be refused before anything of that size is allocated. */
function hugePng(png: Uint8Array): Uint8Array {
  const bytes = Buffer.from(png);
  bytes.writeUInt32BE(60_000, 16);
  bytes.writeUInt32BE(60_000, 20);
  bytes.writeUInt32BE(crc32(bytes.subarray(12, 29)), 29);
  return bytes;
}

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let k = 0; k < 8; k++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

imageFile('an .npy of another type or shape is refused, saying which', async () => {
  await withFolder(async (folder) => {
    const file = join(folder, 'frame.npy');
    const write = (descr: string, shape: string, bytes: number) => {
      const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape}), }`.padEnd(117);
      const head = Buffer.from('\x93NUMPY\x01\x00\x76\x00', 'latin1');
      writeFileSync(file, Buffer.concat([head, Buffer.from(`${header}\n`, 'latin1'), new Uint8Array(bytes)]));
    };
    const cases: [string, string, number, string, RegExp][] = [
      ['<f4', '2, 2, 3', 48, 'IMAGE_DTYPE', /uint8 image .* '<f4'/],
      ['<u2', '2, 2, 3', 24, 'IMAGE_DTYPE', /'<u2'/],
      ['|u1', '2, 2, 4', 16, 'IMAGE_INVALID', /\(2, 2, 4\)/],
      ['|u1', '2, 2', 4, 'IMAGE_INVALID', /\(2, 2\)/],
      ['|u1', '3, 2, 2', 12, 'IMAGE_INVALID', /\(3, 2, 2\)/],
      ['|u1', '0, 2, 3', 0, 'IMAGE_INVALID', /height/],
      ['|u1', '1, 2, 2, 3', 12, 'IMAGE_INVALID', /\(1, 2, 2, 3\)/],
    ];
    for (const [descr, shape, bytes, expectedCode, expectedMessage] of cases) {
      write(descr, shape, bytes);
      const { code, message } = await failure(() => readImageFile(file));
      assert.is(code, expectedCode, `${descr} ${shape}: ${message}`);
      assert.match(message, expectedMessage);
    }
    write('|u1', '1, 1, 3', 3);
    assert.equal(await readImageFile(file), { data: new Uint8Array(3), width: 1, height: 1 });
  });
});

imageFile.run();
