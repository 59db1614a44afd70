/** The policy node of a LIBERO robot on the fake of rclnodejs, in virtual time, and the robot's sensors. */

import { startRosNode } from '../../lib/ros2/rosNode.ts';
import { parseLatency } from '../../lib/schedule/latency.ts';
import { simulatedPolicy } from '../../lib/schedule/simulatedPolicy.ts';
import { VirtualClock } from '../../lib/schedule/virtualClock.ts';
import type { Observation } from '../../lib/types.ts';
import { FakeRos } from './fakeRos.ts';

export const dimensions = ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper'];
export const joints = ['j1', 'j2', 'j3', 'j4', 'j5', 'j6', 'j7', 'j8'];
const launch = { rate: 20, mode: 'asynchronous', joint_names: joints, instruction: 'pick up the cup' };

export function setUp(overrides: Record<string, unknown> = {}, proprio = true) {
  const ros = new FakeRos({ ...launch, ...overrides });
  const clock = new VirtualClock(1e6);
  const asked: { observation: Observation; instruction: string }[] = [];
  const policy = simulatedPolicy({
    dimensions,
    chunk: 8,
    latency: parseLatency('constant(60)'),
    clock,
    platform: {
      name: 'libero',
      cameras: ['full_image', 'wrist_image'],
      proprio,
      centerCrop: true,
      jpeg: true,
      chunk: 8,
      normalization: 'q99',
    },
    rows: ({ observation, instruction, index }) => {
      asked.push({ observation, instruction });
      return Float64Array.from({ length: 56 }, (_, i) =>
        i % 7 === 6 ? 1 : index / 100 + Math.floor(i / 7) / 1000,
      );
    },
  });
  const node = startRosNode({ policy, ros: ros.module(), clock });
  return { ros, clock, policy, asked, node };
}

export type SetUp = ReturnType<typeof setUp>;

export function image(shade: number, sec: number) {
  const data = Uint8Array.from({ length: 12 * 12 * 3 }, (_, i) => shade + ((i * 7 + sec * 13) % 60));
  return {
    header: { stamp: { sec, nanosec: 0 }, frame_id: '' },
    width: 12,
    height: 12,
    encoding: 'bgr8',
    is_bigendian: 0,
    step: 36,
    data,
  };
}

/** One message of each sensor, stamped with `shot`. */
export function sense({ ros }: SetUp, shot: number, first = shot): void {
  const stamp = { sec: shot, nanosec: 0 };
  ros.send('/semanticvla/full_image', image(20, shot), 2);
  ros.send('/semanticvla/wrist_image', image(120, shot), 2);
  const position = joints.map((_, i) => (i === 7 ? first : i));
  ros.send('/joint_states', {
    header: { stamp, frame_id: '' },
    name: joints.toReversed(),
    position: position.toReversed(),
  });
}

export async function run(setting: SetUp, shots: number, from = 1, every = 50): Promise<void> {
  for (let shot = from; shot < from + shots; shot++) {
    sense(setting, shot);
    await setting.clock.runUntil(setting.clock.now() + every);
  }
}
