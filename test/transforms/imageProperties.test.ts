import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { preprocessImages, preprocessSteps } from '../../lib/transforms/image.ts';
import type { ImageFrame } from '../../lib/types.ts';
import { difference } from './imageGolden.ts';

const properties = suite('transforms/image properties');

const exact = { count: 0, max: 0 };

/** A frame of random size: noise, two flat colors, or one color. */
const frames: fc.Arbitrary<ImageFrame> = fc
  .record({
    width: fc.integer({ min: 1, max: 90 }),
    height: fc.integer({ min: 1, max: 90 }),
    seed: fc.nat(),
    kind: fc.constantFrom('noise', 'extremes', 'flat'),
  })
  .map(({ width, height, seed, kind }) => {
    let state = seed >>> 0;
    const next = () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state >>> 24;
    };
    const flat = next();
    const value = { noise: next, extremes: () => (next() & 1) * 255, flat: () => flat }[kind];
    return { data: Uint8Array.from({ length: width * height * 3 }, value), width, height };
  });

const settings = fc.record({
  imageSize: fc.constantFrom(224, 28, 98),
  centerCrop: fc.boolean(),
  jpeg: fc.boolean(),
});

properties('threads change no bit, frames stay as they are, and each is by itself', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(frames, { minLength: 1, maxLength: 3 }), settings, async (images, options) => {
      const before = images.map(({ data }) => Uint8Array.from(data));
      const [one, two, three] = await Promise.all(
        [1, 2, 3].map((threads) => preprocessImages(images, { ...options, threads })),
      );
      assert.is(one!.length, images.length * options.imageSize ** 2 * 3);
      assert.equal(difference(one!, two!), exact);
      assert.equal(difference(one!, three!), exact);
      images.forEach(({ data }, i) => {
        assert.equal(difference(data, before[i]!), exact);
      });
      const alone = await preprocessSteps([images[0]!], { ...options, threads: 1 });
      assert.equal(difference(alone[0]!.cropped, one!.subarray(0, options.imageSize ** 2 * 3)), exact);
    }),
    { numRuns: 40 },
  );
});

properties('a BGR frame is the RGB frame with its channels swapped', async () => {
  await fc.assert(
    fc.asyncProperty(frames, settings, async (frame, options) => {
      const swapped = frame.data.map((_, i, data) => data[i - (i % 3) + 2 - (i % 3)]!);
      const rgb = await preprocessImages([frame], { ...options, threads: 1 });
      const bgr = await preprocessImages([{ ...frame, data: swapped, order: 'bgr' }], {
        ...options,
        threads: 1,
      });
      assert.equal(difference(rgb, bgr), exact);
    }),
    { numRuns: 40 },
  );
});

properties('a flat frame stays flat, within the error that JPEG’s color conversion makes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(255), fc.boolean(), settings, async (value, square, options) => {
      const [width, height] = square ? [224, 224] : [37, 61];
      const frame = { data: new Uint8Array(width * height * 3).fill(value), width, height };
      const image = await preprocessImages([frame], { ...options, threads: 1 });
      // A flat gray block is one luma coefficient, 8 times its level and a multiple of 16 after quantization (step 2):
      // off by at most one level; its chroma is exactly 128.
      assert.ok(image.every((byte) => byte === image[0]));
      assert.ok(Math.abs(image[0]! - value) <= 1, `${image[0]} for ${value}`);
    }),
    { numRuns: 60 },
  );
});

properties('a frame of the policy’s size without a crop passes as it is', async () => {
  const frame = { data: new Uint8Array(224 * 224 * 3).map((_, i) => (i * 7) % 251), width: 224, height: 224 };
  const options = { imageSize: 224, centerCrop: false, jpeg: true, threads: 2 };
  assert.equal(difference(await preprocessImages([frame], options), frame.data), exact);
});

properties('the extremes of size work: one pixel, and sides far longer than they are wide', async () => {
  const options = { imageSize: 224, centerCrop: true, jpeg: true, threads: 2 };
  for (const [width, height] of [
    [1, 1],
    [2000, 1],
    [1, 2000],
    [65_500, 2],
    [3000, 1500],
  ] as const) {
    const frame = { data: new Uint8Array(width * height * 3).fill(77), width, height };
    const image = await preprocessImages([frame], options);
    assert.ok(
      image.every((byte) => Math.abs(byte - 77) <= 1),
      `${width} x ${height}`,
    );
  }
});

properties('pixels in shared memory are read like others', async () => {
  const data = new Uint8Array(new SharedArrayBuffer(224 * 224 * 3)).fill(9);
  const options = { imageSize: 224, centerCrop: true, jpeg: true, threads: 1 };
  const image = await preprocessImages([{ data, width: 224, height: 224 }], options);
  assert.ok(image.every((byte) => byte === 9));
});

properties.run();
