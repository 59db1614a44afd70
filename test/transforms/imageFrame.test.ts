import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { preprocessImages } from '../../lib/transforms/image.ts';
import { checkFrame, maxFramePixels } from '../../lib/transforms/imageFrame.ts';

const imageFrame = suite('transforms/imageFrame');

const options = { imageSize: 224, centerCrop: true, jpeg: true, threads: 1 };
const bytes = (length: number) => new Uint8Array(length);

/** What is wrong, its code, and what the message must mention. */
const wrong: [unknown, string, RegExp][] = [
  [null, 'IMAGE_INVALID', /a frame .* found object/],
  [undefined, 'IMAGE_INVALID', /found undefined/],
  ['frame.png', 'IMAGE_INVALID', /found "frame\.png"/],
  [{}, 'IMAGE_INVALID', /Uint8Array .* found undefined/],
  [{ data: new Float32Array(12), width: 2, height: 2 }, 'IMAGE_DTYPE', /Float32Array of length 12/],
  [{ data: new Uint16Array(12), width: 2, height: 2 }, 'IMAGE_DTYPE', /Uint16Array/],
  [{ data: new Uint8ClampedArray(12), width: 2, height: 2 }, 'IMAGE_DTYPE', /Uint8ClampedArray/],
  [{ data: new Int8Array(12), width: 2, height: 2 }, 'IMAGE_DTYPE', /Int8Array/],
  [{ data: [1, 2, 3], width: 1, height: 1 }, 'IMAGE_DTYPE', /Array of length 3/],
  [{ data: new ArrayBuffer(12), width: 2, height: 2 }, 'IMAGE_INVALID', /ArrayBuffer/],
  [{ data: bytes(16), width: 2, height: 2 }, 'IMAGE_INVALID', /12 bytes .* found 16 bytes .*alpha/],
  [{ data: bytes(4), width: 2, height: 2 }, 'IMAGE_INVALID', /found 4 bytes .*gray/],
  [{ data: bytes(11), width: 2, height: 2 }, 'IMAGE_INVALID', /12 bytes .* found 11 bytes\./],
  [{ data: bytes(0), width: 0, height: 0 }, 'IMAGE_INVALID', /width .* at least 1, found 0/],
  [{ data: bytes(0), width: 2, height: 0 }, 'IMAGE_INVALID', /height .* found 0/],
  [{ data: bytes(12), width: Number.NaN, height: 2 }, 'IMAGE_INVALID', /width .* found NaN/],
  [{ data: bytes(12), width: 2, height: Number.POSITIVE_INFINITY }, 'IMAGE_INVALID', /found Infinity/],
  [{ data: bytes(12), width: -2, height: -2 }, 'IMAGE_INVALID', /found -2/],
  [{ data: bytes(12), width: 1.5, height: 2 }, 'IMAGE_INVALID', /found 1\.5/],
  [{ data: bytes(12), width: '2', height: 2 }, 'IMAGE_INVALID', /found "2"/],
  [{ data: bytes(12), height: 2 }, 'IMAGE_INVALID', /width .* found undefined/],
  [{ data: bytes(12), width: 8193, height: 8192 }, 'IMAGE_TOO_LARGE', /67108864 pixels.* found 8193 x 8192/],
  [{ data: bytes(12), width: 65_501, height: 1 }, 'IMAGE_TOO_LARGE', /65500 a side/],
  [{ data: bytes(12), width: 2, height: 2, order: 'BGR' }, 'IMAGE_INVALID', /'rgb' or 'bgr', found "BGR"/],
];

imageFrame('each way to be no frame has a code and says what was found', async () => {
  for (const [frame, code, message] of wrong) {
    const caught = await preprocessImages([frame as never], { ...options, names: ['wrist_image'] }).catch(
      (error: unknown) => error,
    );
    assert.instance(caught, SemanticVlaError, String(message));
    assert.is((caught as SemanticVlaError).code, code, String(message));
    assert.match((caught as SemanticVlaError).message, message);
    assert.match((caught as SemanticVlaError).message, /^Image wrist_image: expected /);
  }
});

imageFrame('options out of range are refused', async () => {
  const frame = { data: bytes(12), width: 2, height: 2 };
  const cases: [object, RegExp][] = [
    [{ imageSize: 0 }, /imageSize: .* found 0/],
    [{ imageSize: 1e6 }, /imageSize/],
    [{ imageSize: Number.NaN }, /imageSize: .* found NaN/],
    [{ threads: 0 }, /threads/],
    [{ threads: 1.5 }, /threads/],
    [{ threads: 1e9 }, /threads/],
    [{ jpeg: 'no' }, /jpeg: expected true or false/],
    [{ centerCrop: undefined }, /centerCrop/],
  ];
  for (const [change, message] of cases) {
    const caught = await preprocessImages([frame], { ...options, ...change }).catch(
      (error: unknown) => error,
    );
    assert.is((caught as SemanticVlaError).code, 'OPTION_INVALID', String(message));
    assert.match((caught as SemanticVlaError).message, message);
  }
});

imageFrame('checking never reads the pixels, so that the size of the frame costs nothing', () => {
  const read: PropertyKey[] = [];
  const data = new Proxy(bytes(maxFramePixels * 3), {
    // the proxy is no typed array to native code or to Buffer's methods: whatever reads through them throws
    get(target, key) {
      read.push(key);
      return Reflect.get(target, key, target);
    },
  });
  checkFrame({ data, width: 8192, height: 8192 }, 'full_image');
  assert.equal(read, ['length']);
});

imageFrame.run();
