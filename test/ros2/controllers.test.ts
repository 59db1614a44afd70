/** The node commands ros2_control: joint trajectories, plain numbers, twists; each dimension in one place. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readControllers } from '../../lib/ros2/controllers.ts';
import { commandOf } from '../../lib/ros2/messages.ts';
import { ParameterReader } from '../../lib/ros2/parameterReader.ts';
import type { RosNumbers, RosTrajectory, RosTwist } from '../../lib/ros2/rosInterface.ts';
import { type ActionSpace, actionSpaces } from '../../lib/schedule/actionSpace.ts';
import type { SemanticVlaError } from '../../lib/support/errors.ts';
import { FakeRos } from './fakeRos.ts';
import { run, setUp } from './liberoRobot.ts';
import { parametersOf } from './parameterFile.ts';

const test = suite('ROS 2 controllers');
const pose = ['x', 'y', 'z', 'roll', 'pitch', 'yaw'];
const metres = [0.05, 0.05, 0.05, 0.5, 0.5, 0.5];
const servo = {
  controllers: ['servo_node', 'hand'],
  'servo_node.type': 'twist',
  'servo_node.dimensions': pose,
  'servo_node.scale': Float64Array.from(metres),
  'servo_node.frame_id': 'panda_link0',
  'hand.type': 'forward_command',
  'hand.dimensions': ['gripper'],
  'hand.scale': [-0.04],
  'hand.offset': [0.04],
};
const now = () => ({ sec: 3, nanosec: 4 });

function read(parameters: Record<string, unknown>, space: ActionSpace) {
  const ros = new FakeRos(parameters).module();
  return readControllers(new ParameterReader(ros, new ros.Node('semanticvla')), space);
}

test('ALOHA: a trajectory for each arm, numbers for the grippers; every value lands once', () => {
  const names = actionSpaces.aloha.dimensions.map(({ name }) => name);
  const side = (arm: string) => names.filter((name) => name.startsWith(arm) && !name.endsWith('gripper'));
  const joints = side('left').map((name) => `follower_${name}`);
  const controllers = read(
    {
      controllers: ['left_arm', 'right_arm', 'hands'],
      'left_arm.type': 'joint_trajectory',
      'left_arm.dimensions': side('left'),
      'left_arm.joints': joints,
      'right_arm.type': 'joint_trajectory',
      'right_arm.dimensions': side('right'),
      'right_arm.topic': '/right/jtc',
      'hands.type': 'forward_command',
      'hands.dimensions': ['right_gripper', 'left_gripper'],
      'hands.scale': [0.057, 0.5],
      'hands.offset': [0, -1],
    },
    actionSpaces.aloha,
  );
  assert.equal(
    controllers.map(({ topic }) => topic),
    ['/left_arm/joint_trajectory', '/right/jtc', '/hands/commands'],
  );
  const values = Float64Array.from({ length: 14 }, (_, i) => i + 1);
  const [left, right, hands] = controllers.map((one) => commandOf(one, values, 20, now));
  assert.equal((left as RosTrajectory).joint_names, joints);
  assert.equal((left as RosTrajectory).points[0]!.positions, [1, 2, 3, 4, 5, 6]);
  assert.equal((left as RosTrajectory).points[0]!.time_from_start, { sec: 0, nanosec: 20_000_000 });
  assert.equal((left as RosTrajectory).header.stamp, { sec: 0, nanosec: 0 });
  assert.equal((right as RosTrajectory).joint_names, side('right'));
  assert.equal((right as RosTrajectory).points[0]!.positions, [8, 9, 10, 11, 12, 13]);
  assert.equal((hands as RosNumbers).data, [14 * 0.057, 7 * 0.5 - 1]);
});

test('LIBERO: changes of pose leave as a velocity of the tool, and a HOLD as zero', async () => {
  const setting = setUp(servo);
  await run(setting, 20);
  const { ros, node } = setting;
  await node.stop();
  const on = (topic: string) => ros.published.filter((one) => one.topic === topic);
  const twists = on('/servo_node/delta_twist_cmds').map(({ message }) => message as RosTwist);
  const hands = on('/hand/commands').map(({ message }) => (message as RosNumbers).data);
  assert.equal(
    [...new Set(ros.published.map(({ type }) => type))],
    ['geometry_msgs/msg/TwistStamped', 'std_msgs/msg/Float64MultiArray'],
  );
  assert.ok(twists.length > 15);
  assert.is(hands.length, twists.length);
  const moving = twists.filter(({ twist }) => twist.linear.x !== 0);
  assert.ok(moving.length > 10);
  for (const { header, twist } of moving) {
    assert.equal(header, { stamp: { sec: 7, nanosec: 500 }, frame_id: 'panda_link0' });
    // the policy sends the same change on every axis; a metre and a radian stand for different amounts of it
    const change = twist.linear.x / (0.05 * 20);
    assert.ok(change > 0 && change < 1, `${change}`);
    for (const axis of ['x', 'y', 'z'] as const) {
      assert.ok(Math.abs(twist.linear[axis] - change * 0.05 * 20) < 1e-12);
      assert.ok(Math.abs(twist.angular[axis] - change * 0.5 * 20) < 1e-12);
    }
  }
  assert.equal(twists.at(-1)!.twist, { linear: { x: 0, y: 0, z: 0 }, angular: { x: 0, y: 0, z: 0 } });
  assert.equal(hands.at(-1), [0], 'open stays open: 1 * -0.04 + 0.04');
});

test('every wrong controller is refused by the name of its parameter', () => {
  const { libero, bridge } = actionSpaces;
  const wrong: [Record<string, unknown>, string, RegExp, ActionSpace?][] = [
    [{ 'servo_node.type': '' }, 'OPTION_REQUIRED', /servo_node\.type.*joint_trajectory/],
    [{ 'servo_node.type': 'twits' }, 'OPTION_INVALID', /servo_node\.type.*Did you mean twist/],
    // a change must not be taken for a place, nor a place for a change
    [
      { 'servo_node.type': 'joint_trajectory' },
      'OPTION_INVALID',
      /servo_node\.dimensions.*kind delta.*twist/,
    ],
    [{ 'servo_node.type': 'forward_command' }, 'OPTION_INVALID', /servo_node\.dimensions.*kind delta/],
    [{ 'hand.type': 'twist' }, 'OPTION_INVALID', /hand\.dimensions.*gripper/],
    [{ 'servo_node.dimensions': [] }, 'OPTION_REQUIRED', /servo_node\.dimensions/],
    [{ 'servo_node.dimensions': ['x', 'y', 'zed'] }, 'OPTION_INVALID', /servo_node\.dimensions.*zed/],
    [{ 'servo_node.dimensions': ['x', 'y'] }, 'OPTION_INVALID', /three dimensions/],
    [
      { 'servo_node.dimensions': [...pose.slice(0, 5), 'x'] },
      'OPTION_INVALID',
      /servo_node\.dimensions.*"x"/,
    ],
    [{ 'servo_node.dimensions': pose.slice(0, 3), 'servo_node.scale': [1, 1, 1] }, 'OPTION_REQUIRED', /roll/],
    [{ controllers: ['servo_node'] }, 'OPTION_REQUIRED', /gripper/],
    [{ controllers: ['hand', 'hand'] }, 'OPTION_INVALID', /controllers.*once/],
    [{ unused_dimensions: ['gripper'] }, 'OPTION_INVALID', /hand\.dimensions.*unused_dimensions/],
    [{ unused_dimensions: ['griper'] }, 'OPTION_INVALID', /unused_dimensions.*griper/],
    [{ 'servo_node.scale': [] }, 'OPTION_REQUIRED', /servo_node\.scale.*metres or radians/],
    [{ 'servo_node.scale': [1] }, 'OPTION_INVALID', /servo_node\.scale.*one for each/],
    [{ 'servo_node.scale': ['1', 1, 1, 1, 1, 1] }, 'OPTION_INVALID', /servo_node\.scale.*numbers/],
    [{ 'servo_node.scale': [Number.NaN, 1, 1, 1, 1, 1] }, 'OPTION_INVALID', /servo_node\.scale/],
    [{ 'hand.scale': [0] }, 'OPTION_INVALID', /hand\.scale.*other than 0/],
    [{ 'hand.offset': [1, 2] }, 'OPTION_INVALID', /hand\.offset/],
    [{ 'servo_node.frame_id': '' }, 'OPTION_REQUIRED', /servo_node\.frame_id/],
    [{ 'servo_node.frame_id': '' }, 'OPTION_REQUIRED', /servo_node\.frame_id/, bridge],
  ];
  for (const [overrides, code, words, space] of wrong) {
    let failure: SemanticVlaError | null = null;
    try {
      read({ ...servo, ...overrides }, space ?? libero);
    } catch (error) {
      failure = error as SemanticVlaError;
    }
    assert.is(failure?.code, code, JSON.stringify(overrides));
    assert.match(failure!.message, words);
  }
  // metres and radians need no scale
  const [arm] = read({ ...servo, 'servo_node.scale': [] }, bridge);
  assert.equal(arm!.scale, [1, 1, 1, 1, 1, 1]);
  // part of an action may be left out where that is said
  const [only] = read({ ...servo, controllers: ['servo_node'], unused_dimensions: ['gripper'] }, libero);
  assert.is(only!.indices.length, 6);
  assert.equal(read({}, libero), []);
});

test('the parameter files of the examples name what the node has', async () => {
  const example = (name: string) => parametersOf(new URL(`../../examples/ros2/${name}`, import.meta.url));
  const aloha = read(example('alohaControllers.yaml'), actionSpaces.aloha);
  assert.equal(
    aloha.flatMap(({ indices }) => indices).sort((a, b) => a - b),
    Array.from({ length: 14 }, (_, i) => i),
  );
  const given = { ...example('liberoServo.yaml'), instruction: 'pick up the cup' };
  const { ros, node } = setUp(given);
  await node.stop();
  assert.equal(
    Object.keys(given).filter((name) => !ros.declared.has(name)),
    [],
  );
});

test.run();
