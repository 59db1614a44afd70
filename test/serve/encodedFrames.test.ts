import sharp from 'sharp';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeMsgpackNumpy } from '../../lib/serve/msgpackNumpy.ts';
import { NdArray, type WireMap, type WireValue } from '../../lib/serve/ndarray.ts';
import { FakePolicy } from './fakePolicy.ts';
import { connect, fields, image, post, served, toJson } from './harness.ts';

const test = suite('JPEG frames');

/** A picture with edges, its JPEG, and the pixels that any accurate decoder makes of it. */
const [width, height] = [24, 16];
const pixels = Buffer.from(Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 7) % 251));
const raw = { width, height, channels: 3 } as const;
const jpeg = await sharp(pixels, { raw }).jpeg({ quality: 95 }).toBuffer();
const decoded = new Uint8Array(await sharp(jpeg).raw().toBuffer());

const flat = (bytes: Uint8Array, shape: readonly number[] = [bytes.length]) =>
  new NdArray('|u1', shape, new Uint8Array(bytes));
const withImage = (value: WireValue) => new Map<string, WireValue>([...fields(), ['full_image', value]]);

function expectDecoded(policy: FakePolicy): void {
  const { full_image: full, wrist_image: wrist } = policy.calls.at(-1)!.observation.images;
  assert.equal([full!.width, full!.height], [width, height]);
  assert.equal(new Uint8Array(full!.data), decoded);
  // raw frames beside it stay what they are
  assert.equal(new Uint8Array(wrist!.data), image(4, 200).data);
}

test('POST /act: base64, with or without its kind, and an array of bytes as cv2.imencode makes', async () => {
  const policy = new FakePolicy({ immediate: true });
  await served(policy, {}, async ({ act }) => {
    const base64 = jpeg.toString('base64');
    const column = flat(jpeg, [jpeg.length, 1]);
    for (const value of [base64, `data:image/jpeg;base64,${base64}`, flat(jpeg), column]) {
      const answer = await post(act, toJson(withImage(value)));
      assert.is(answer.status, 200, await answer.text());
      expectDecoded(policy);
    }
    assert.is(policy.calls.length, 4);
  });
});

test('openpi: bytes, and an array of them', async () => {
  const policy = new FakePolicy({ immediate: true });
  await served(policy, {}, async ({ openpi }) => {
    const { socket, next } = connect(openpi);
    await next();
    socket.send(encodeMsgpackNumpy(withImage(flat(jpeg))));
    assert.ok(((await next()) as WireMap).has('actions'));
    expectDecoded(policy);
    socket.close();
  });
});

test('what is no whole JPEG is refused before the policy sees it, and the next request is served', async () => {
  const policy = new FakePolicy({ immediate: true });
  await served(policy, {}, async ({ act }) => {
    const gray = await sharp(pixels, { raw }).toColourspace('b-w').jpeg().toBuffer();
    for (const value of [
      jpeg.subarray(0, 40).toString('base64'),
      gray.toString('base64'),
      flat(jpeg.subarray(0, 40)),
      flat(Buffer.from('GIF89a, and more')),
      'full.jpg',
    ]) {
      const answer = await post(act, toJson(withImage(value)));
      assert.is(answer.status, 422);
      assert.match(await answer.text(), /full_image/);
    }
    assert.is(policy.calls.length, 0);
    assert.is((await post(act, toJson(fields()))).status, 200);
  });
});

test.run();
