/** ROS messages -> the policy's input; actions -> commands. Pure, except for decoding compressed images. */

import { decodeImage } from '../observation/decodeImage.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { checkFrameSize } from '../transforms/imageFrame.ts';
import type { ImageFrame } from '../types.ts';
import type { Controller } from './controllers.ts';
import type {
  RosCompressedImage,
  RosImage,
  RosJointState,
  RosNumbers,
  RosTime,
  RosTrajectory,
  RosTwist,
} from './rosInterface.ts';

/**
 * Channels per pixel, and the positions of red, green and blue; 8 bits per channel. The fourth byte of a camera's pixel is
 * padding (drivers write 0 or 255), since cameras see no transparency.
 */
const encodings = new Map<string, { readonly channels: number; readonly order: 'rgb' | 'bgr' }>([
  ['rgb8', { channels: 3, order: 'rgb' }],
  ['bgr8', { channels: 3, order: 'bgr' }],
  ['rgba8', { channels: 4, order: 'rgb' }],
  ['bgra8', { channels: 4, order: 'bgr' }],
]);

/** Encodings of sensor_msgs/image_encodings.hpp other than 8-bit RGB, in words. */
const otherEncodings: readonly (readonly [pattern: RegExp, words: string])[] = [
  [/^(?:16UC1|32FC1|mono16)$/, 'a depth or 16-bit image'],
  [/^(?:mono8|8UC1)$/, 'a gray image'],
  [/^(?:rgb|bgr)a?16$|^(?:8S|16|32|64)[A-Z]/, 'not 8 bits a channel'],
  [/^8UC/, 'channels in an unspecified order'],
  [/^bayer_/, 'a Bayer image, to be debayered'],
  [/^(?:yuv|uyvy|yuyv|nv\d\d)/i, 'a YUV image'],
];

/**
 * sensor_msgs/Image -> frame. Copies, since the message's memory belongs to the middleware. Padding between rows and the fourth
 * byte of a pixel are dropped.
 * @throws IMAGE_INVALID for other encodings, or fewer bytes than the sizes require; IMAGE_TOO_LARGE
 */
export function frameOf(message: RosImage, camera: string): ImageFrame {
  const { width, height, encoding, step, data } = message;
  const format = encodings.get(encoding);
  if (format === undefined) {
    const words = otherEncodings.find(([pattern]) => pattern.test(encoding))?.[1];
    throw new SemanticVlaError(
      'IMAGE_INVALID',
      `Image ${camera}: expected an encoding of ${[...encodings.keys()].join(', ')}, found ${JSON.stringify(encoding)}` +
        `${words === undefined ? '' : `, ${words}`}. Set the driver's encoding, or convert with image_proc.`,
    );
  }
  const { channels, order } = format;
  const isWhole = [width, height, step].every((size) => Number.isSafeInteger(size) && size > 0);
  if (
    !isWhole ||
    !(data instanceof Uint8Array) ||
    step < width * channels ||
    data.length < step * (height - 1) + width * channels
  ) {
    throw new SemanticVlaError(
      'IMAGE_INVALID',
      `Image ${camera}: expected ${height} rows of ${width} pixels in ${encoding}, found ${data?.length} bytes with a step of ${step}. ` +
        'Check the driver that publishes it.',
    );
  }
  checkFrameSize(width, height, `Image ${camera}`);
  const out = new Uint8Array(width * height * 3);
  for (let row = 0; row < height; row++) {
    const from = row * step;
    const to = row * width * 3;
    if (channels === 3) {
      out.set(data.subarray(from, from + width * 3), to);
      continue;
    }
    for (let x = 0; x < width; x++) {
      out[to + x * 3] = data[from + x * 4]!;
      out[to + x * 3 + 1] = data[from + x * 4 + 1]!;
      out[to + x * 3 + 2] = data[from + x * 4 + 2]!;
    }
  }
  return { width, height, data: out, order };
}

/**
 * sensor_msgs/CompressedImage (JPEG or PNG) -> RGB frame, decoded and checked like a file (observation/decodeImage.ts). The
 * bytes determine the format; `format` is only used to detect depth, which may come as a PNG.
 * @throws (rejects) IMAGE_INVALID if it is not an 8-bit RGB image; IMAGE_TOO_LARGE; PACKAGE_UNAVAILABLE
 */
export async function decodedFrameOf(message: RosCompressedImage, camera: string): Promise<ImageFrame> {
  const { format, data } = message;
  if (/compressedDepth|rvl/i.test(format)) {
    throw new SemanticVlaError(
      'IMAGE_INVALID',
      `Image ${camera}: expected a PNG or JPEG image, found the format ${JSON.stringify(format)}, a depth image. ` +
        "Subscribe the color camera's topic.",
    );
  }
  return { ...(await decodeImage(data, `Image ${camera}`)), order: 'rgb' };
}

/**
 * sensor_msgs/JointState -> [joints] positions in the order of `joints`; other joints of the message are ignored.
 * @throws STATE_INVALID if a joint is missing
 */
export function jointPositions(message: RosJointState, joints: readonly string[]): Float64Array {
  return Float64Array.from(joints, (joint) => {
    const position = message.position[message.name.indexOf(joint)];
    if (position !== undefined) return position;
    throw new SemanticVlaError(
      'STATE_INVALID',
      `Joint states: expected a position of ${joint}, found joints ${message.name.join(', ') || 'none'}. ` +
        'Set the parameter joint_names as the robot names them.',
    );
  });
}

/** null if both fields are 0: not stamped. */
export function stampOf({ sec, nanosec }: RosTime): string | null {
  return sec === 0 && nanosec === 0 ? null : `${sec}.${nanosec}`;
}

/**
 * One point, to be reached one period after the message is received. The stamp is zero, which in a trajectory means "from now
 * on", so no clocks of two machines are compared.
 * @param values [A] in the dataset's units
 */
export function trajectoryOf(
  values: ArrayLike<number>,
  names: readonly string[],
  periodMs: number,
): RosTrajectory {
  const sec = Math.floor(periodMs / 1000);
  const nanosec = Math.round((periodMs - sec * 1000) * 1e6);
  return {
    header: { stamp: { sec: 0, nanosec: 0 }, frame_id: '' },
    joint_names: [...names],
    points: [
      {
        positions: Array.from(values),
        velocities: [],
        accelerations: [],
        effort: [],
        time_from_start: { sec, nanosec },
      },
    ],
  };
}

/** ROS type of a controller's commands. */
export const commandTypes: Readonly<Record<Controller['type'], string>> = {
  joint_trajectory: 'trajectory_msgs/msg/JointTrajectory',
  forward_command: 'std_msgs/msg/Float64MultiArray',
  twist: 'geometry_msgs/msg/TwistStamped',
};

/**
 * What a controller is sent for one action.
 * @param values [A] in the dataset's units
 * @param stamp of a twist, which its receivers refuse when it is old
 */
export function commandOf(
  controller: Controller,
  values: ArrayLike<number>,
  periodMs: number,
  stamp: () => RosTime,
): RosTrajectory | RosNumbers | RosTwist {
  const { type, indices, joints, scale, offset, frameId } = controller;
  const scaled = indices.map((index, i) => values[index]! * scale[i]! + offset[i]!);
  if (type === 'joint_trajectory') return trajectoryOf(scaled, joints, periodMs);
  if (type === 'forward_command') return { layout: { dim: [], data_offset: 0 }, data: scaled };
  const [x = 0, y = 0, z = 0, roll = 0, pitch = 0, yaw = 0] = scaled.map(
    (change) => change * (1000 / periodMs),
  );
  return {
    header: { stamp: stamp(), frame_id: frameId },
    twist: { linear: { x, y, z }, angular: { x: roll, y: pitch, z: yaw } },
  };
}
