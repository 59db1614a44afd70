import sharp from 'sharp';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { decodedFrameOf, frameOf, jointPositions, stampOf, trajectoryOf } from '../../lib/ros2/messages.ts';
import type { RosImage } from '../../lib/ros2/rosInterface.ts';
import type { SemanticVlaError } from '../../lib/support/errors.ts';

const test = suite('ROS messages');
const header = { stamp: { sec: 1, nanosec: 2 }, frame_id: 'camera' };

/** 3 x 2 pixels, pixel p with channels 10p, 10p + 1, ..., rows padded to `step` with 255. */
function image(encoding: string, channels: number, step: number): RosImage {
  const data = new Uint8Array(step * 2).fill(255);
  for (let p = 0; p < 6; p++) {
    for (let c = 0; c < channels; c++) data[Math.floor(p / 3) * step + (p % 3) * channels + c] = 10 * p + c;
  }
  return { header, width: 3, height: 2, encoding, is_bigendian: 0, step, data };
}

const pixels = Uint8Array.from({ length: 18 }, (_, i) => 10 * Math.floor(i / 3) + (i % 3));

test('8-bit colour encodings, with padding and alpha', () => {
  for (const [encoding, channels, order] of [
    ['rgb8', 3, 'rgb'],
    ['bgr8', 3, 'bgr'],
    ['rgba8', 4, 'rgb'],
    ['bgra8', 4, 'bgr'],
  ] as const) {
    for (const step of [3 * channels, 3 * channels + 5]) {
      const frame = frameOf(image(encoding, channels, step), 'full_image');
      assert.equal(frame, { width: 3, height: 2, data: pixels, order }, `${encoding}, step ${step}`);
    }
  }
});

test('the frame is a copy: the middleware may reuse its memory', () => {
  const message = image('rgb8', 3, 9);
  const frame = frameOf(message, 'full_image');
  message.data.fill(0);
  assert.equal(frame.data, pixels);
});

test('other encodings and sizes that lie are refused', () => {
  const good = image('rgb8', 3, 9);
  for (const message of [
    image('mono8', 1, 3),
    image('16UC1', 2, 6),
    { ...good, width: 0 },
    { ...good, height: 3 },
    { ...good, step: 8 },
    { ...good, data: good.data.subarray(0, 17) },
  ]) {
    let code = 'none';
    try {
      frameOf(message, 'full_image');
    } catch (error) {
      code = (error as SemanticVlaError).code;
    }
    assert.is(code, 'IMAGE_INVALID', `${message.encoding} ${message.width} x ${message.height}`);
  }
});

test('compressed images: PNG exactly, JPEG nearly, garbage not', async () => {
  const raw = { width: 16, height: 8, channels: 3 } as const;
  const data = Uint8Array.from({ length: 16 * 8 * 3 }, (_, i) => 40 + Math.floor(i / 3));
  const png = await sharp(data, { raw }).png().toBuffer();
  assert.equal((await decodedFrameOf({ header, format: 'png', data: png }, 'a')).data, data);
  const jpeg = await sharp(data, { raw }).jpeg({ quality: 95 }).toBuffer();
  const decoded = await decodedFrameOf({ header, format: 'rgb8; jpeg compressed bgr8', data: jpeg }, 'a');
  assert.equal([decoded.width, decoded.height, decoded.order], [16, 8, 'rgb']);
  // quality 95 on a smooth ramp: a few levels
  for (const [i, value] of decoded.data.entries()) assert.ok(Math.abs(value - data[i]!) <= 8);
  let code = 'none';
  try {
    await decodedFrameOf({ header, format: 'jpeg', data: data.subarray(0, 99) }, 'a');
  } catch (error) {
    code = (error as SemanticVlaError).code;
  }
  assert.is(code, 'IMAGE_INVALID');
});

test('joint positions by name, and a missing one', () => {
  const message = { header, name: ['grip', 'elbow', 'wrist'], position: Float64Array.of(3, 1, 2) };
  assert.equal(jointPositions(message, ['elbow', 'grip']), Float64Array.of(1, 3));
  assert.throws(
    () => jointPositions(message, ['elbow', 'shoulder']),
    (error: SemanticVlaError) => error.code === 'STATE_INVALID' && /shoulder/.test(error.message),
  );
  // positions omitted, as by a driver of velocities
  assert.throws(() => jointPositions({ ...message, position: [] }, ['elbow']));
});

test('a trajectory of one point, one period ahead, without a clock in it', () => {
  const message = trajectoryOf(Float64Array.of(0.1, -2), ['x', 'grip'], 1250.5);
  assert.equal(message.points[0]!.time_from_start, { sec: 1, nanosec: 250_500_000 });
  assert.equal(message.points[0]!.positions, [0.1, -2]);
  assert.equal(message.joint_names, ['x', 'grip']);
  assert.is(stampOf(message.header.stamp), null);
  assert.is(stampOf({ sec: 0, nanosec: 7 }), '0.7');
});

test.run();
