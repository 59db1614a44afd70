/** The node against a fake of rclnodejs, in virtual time. */

import sharp from 'sharp';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { decodedFrameOf } from '../../lib/ros2/messages.ts';
import type { RosTrajectory } from '../../lib/ros2/rosInterface.ts';
import { loadRclnodejs, startRosNode } from '../../lib/ros2/rosNode.ts';
import type { SemanticVlaError } from '../../lib/support/errors.ts';
import { dimensions, image, joints, run, type SetUp, sense, setUp } from './liberoRobot.ts';

const test = suite('ROS 2 node');
const sent = ({ ros }: SetUp): RosTrajectory[] =>
  ros.published.map(({ message }) => message as RosTrajectory);

function codeOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return (error as SemanticVlaError).code;
  }
  return 'none';
}

test('images, joints and the instruction go in, one trajectory point a tick comes out', async () => {
  const setting = setUp();
  await run(setting, 40);
  const { ros, asked, node } = setting;
  const [first] = asked;
  assert.is(first!.instruction, 'pick up the cup');
  assert.is(first!.observation.images.full_image!.order, 'bgr');
  assert.equal(Array.from(first!.observation.state!).slice(0, 7), [0, 1, 2, 3, 4, 5, 6]);
  const trajectories = sent(setting);
  assert.ok(trajectories.length >= 36, `${trajectories.length} of 40 ticks`);
  assert.is(ros.published[0]!.topic, '/semanticvla/trajectory');
  assert.equal(trajectories[0]!.joint_names, dimensions);
  assert.equal(trajectories[0]!.points[0]!.time_from_start, { sec: 0, nanosec: 50_000_000 });
  assert.is(node.loop!.counters.held.idle, node.loop!.counters.ticks - node.loop!.counters.executed);
  for (const { points } of trajectories) assert.ok(points[0]!.positions.every(Number.isFinite));
  assert.not(ros.hasSignalHandlers, 'ROS would be gone before the last HOLD leaves');
  await node.stop();
  await node.stop();
  assert.is(ros.destroyed, 1);
  // the last thing sent is a HOLD: deltas of zero, the gripper as it was
  assert.equal(sent(setting).at(-1)!.points[0]!.positions, [0, 0, 0, 0, 0, 0, 1]);
});

test('sensors are best effort and the newest only; instruction and actions are reliable', () => {
  const { ros } = setUp();
  const kinds = Object.fromEntries(ros.subscriptions.map(({ topic, type, qos }) => [topic, { type, qos }]));
  for (const topic of ['/semanticvla/full_image', '/semanticvla/wrist_image', '/joint_states']) {
    assert.equal({ ...kinds[topic]!.qos }, { history: 1, depth: 1, reliability: 2, durability: 2 });
  }
  assert.equal(
    { ...kinds['/semanticvla/instruction']!.qos },
    { history: 1, depth: 1, reliability: 1, durability: 2 },
  );
  assert.is(kinds['/semanticvla/full_image']!.type, 'sensor_msgs/msg/Image');
  assert.is(kinds['/joint_states']!.type, 'sensor_msgs/msg/JointState');
});

test('waits for an instruction; another one drops what was planned; an empty one holds and waits', async () => {
  const setting = setUp({ instruction: '' });
  const { ros, node, asked } = setting;
  await run(setting, 10);
  assert.is(node.loop, null);
  assert.equal(ros.published, []);
  ros.send('/semanticvla/instruction', { data: ' open the drawer ' });
  await run(setting, 10, 11);
  assert.ok(sent(setting).length > 5);
  ros.send('/semanticvla/instruction', { data: 'close the drawer' });
  const before = sent(setting).length;
  await run(setting, 1, 21);
  assert.equal(
    sent(setting)[before]!.points[0]!.positions,
    [0, 0, 0, 0, 0, 0, 1],
    'HOLD until the new chunk',
  );
  await run(setting, 10, 22);
  assert.equal(
    [...new Set(asked.map(({ instruction }) => instruction))],
    ['open the drawer', 'close the drawer'],
  );
  ros.send('/semanticvla/instruction', { data: '' });
  await run(setting, 1, 32);
  const silent = sent(setting).length;
  await run(setting, 10, 33);
  assert.is(sent(setting).length, silent);
  assert.is(node.loop, null);
});

test('sensors that fail: NaN, a lost camera, repeated stamps, a frozen picture; the robot holds, then goes on', async () => {
  const faults: Record<string, (setting: SetUp, shot: number) => void> = {
    NaN: (setting, shot) => sense(setting, shot, Number.NaN),
    'lost camera': ({ ros }, shot) => {
      ros.send('/semanticvla/wrist_image', image(120, shot), 2);
    },
    'repeated stamps': (setting) => sense(setting, 20),
    frozen: ({ ros }, shot) => {
      const stamped = { ...image(120, 20), header: { stamp: { sec: shot, nanosec: 0 }, frame_id: '' } };
      ros.send('/semanticvla/full_image', image(20, shot), 2);
      ros.send('/semanticvla/wrist_image', stamped, 2);
      ros.send('/joint_states', { header: stamped.header, name: joints, position: joints.map(() => 0.5) });
    },
  };
  for (const [name, fault] of Object.entries(faults)) {
    const setting = setUp({ max_age_ms: 300, frozen_ms: 200 });
    await run(setting, 20);
    const { executed } = setting.node.loop!.counters;
    assert.ok(executed > 10, name);
    for (let shot = 21; shot < 61; shot++) {
      fault(setting, shot);
      await setting.clock.runUntil(setting.clock.now() + 50);
    }
    const { counters } = setting.node.loop!;
    // actions based on the last good observation may still be sent, up to its age limit
    assert.ok(counters.executed - executed <= 12, `${name}: ${counters.executed - executed} actions`);
    assert.ok(counters.held.observationLate >= 25, `${name}: held ${JSON.stringify(counters.held)}`);
    const held = sent(setting).at(-1)!;
    assert.equal(held.points[0]!.positions.slice(0, 6), [0, 0, 0, 0, 0, 0], name);
    await run(setting, 20, 61);
    assert.ok(setting.node.loop!.counters.executed > counters.executed - 20 + 10, name);
    assert.ok(
      setting.ros.logs.some((line) => line.startsWith('warn')),
      name,
    );
    await setting.node.stop();
  }
});

test('reset forgets the episode', async () => {
  const setting = setUp();
  await run(setting, 10);
  const epoch = setting.node.scheduler.epoch;
  setting.ros.send('/semanticvla/reset', {});
  assert.ok(setting.node.scheduler.epoch > epoch);
  const before = sent(setting).length;
  // without new messages nothing is known, and nothing is asked
  await setting.clock.runUntil(setting.clock.now() + 500);
  assert.equal(
    sent(setting)
      .slice(before)
      .map(({ points }) => points[0]!.positions.slice(0, 6).some((value) => value !== 0)),
    sent(setting)
      .slice(before)
      .map(() => false),
  );
  await run(setting, 10, 11);
  assert.ok(sent(setting).at(-1)!.points[0]!.positions[0]! > 0);
});

test('a picture that is still being decoded at a reset belongs to the episode before', async () => {
  const setting = setUp({ image_transport: 'compressed' });
  const { ros, clock, node, asked } = setting;
  const jpeg = async (shade: number, side: number): Promise<Uint8Array> => {
    const data = Uint8Array.from({ length: side * side * 3 }, (_, i) => shade + ((i * 7) % 60));
    return sharp(data, { raw: { width: side, height: side, channels: 3 } })
      .jpeg()
      .toBuffer();
  };
  const header = (sec: number) => ({ stamp: { sec, nanosec: 0 }, frame_id: '' });
  const send = (camera: string, shot: number, data: Uint8Array) =>
    ros.send(`/semanticvla/${camera}`, { header: header(shot), format: 'jpeg', data }, 2);
  const sendJoints = (sec: number) =>
    ros.send('/joint_states', { header: header(sec), name: joints, position: joints.map(() => sec) });
  const [before, other] = [await jpeg(20, 12), await jpeg(120, 12)];
  for (const camera of ['full_image', 'wrist_image']) {
    send(camera, 1, before);
    send(camera, 2, other);
  }
  node.reset();
  sendJoints(2);
  // by then the decoder has done everything that it was given
  for (let i = 0; i < 20; i++) await decodedFrameOf({ header: header(1), format: 'jpeg', data: before }, 'a');
  await clock.runUntil(clock.now() + 200);
  assert.equal(asked, []);
  assert.is(node.loop!.counters.held.observationLate, node.loop!.counters.ticks);
  // another size than before the reset: a frame of then would make these a camera that changed its format
  const [full, wrist] = [await jpeg(20, 16), await jpeg(120, 16)];
  for (let shot = 3; asked.length === 0 && shot < 1000; shot++) {
    send('full_image', shot, full);
    send('wrist_image', shot, wrist);
    sendJoints(shot);
    await decodedFrameOf({ header: header(1), format: 'jpeg', data: full }, 'a');
    await clock.runUntil(clock.now() + 50);
  }
  assert.equal(
    Object.values(asked[0]!.observation.images).map(({ width }) => width),
    [16, 16],
  );
  assert.is(node.loop!.counters.refusedObservations, 0);
  assert.equal(
    ros.logs.filter((line) => !/observationLate/.test(line) && line.startsWith('warn')),
    [],
  );
  await node.stop();
});

test('every mode starts; every wrong parameter is named', () => {
  for (const mode of ['open_loop', 'asynchronous', 'temporal_ensemble']) setUp({ mode });
  setUp({ mode: 'overlap_blend', blend_rule: 'weighted_average' });
  const wrong: [Record<string, unknown>, string, RegExp][] = [
    [{ rate: 0 }, 'OPTION_REQUIRED', /rate/],
    [{ rate: '20' }, 'OPTION_INVALID', /rate/],
    [{ mode: '' }, 'OPTION_REQUIRED', /mode.*open_loop/],
    [{ mode: 'openLoop' }, 'OPTION_INVALID', /mode.*Did you mean open_loop/],
    [{ mode: 'overlap_blend' }, 'OPTION_REQUIRED', /blend_rule/],
    [{ joint_names: [] }, 'OPTION_REQUIRED', /joint_names/],
    [{ image_topics: ['/only/one'] }, 'OPTION_INVALID', /image_topics/],
    [{ image_transport: 'theora' }, 'OPTION_INVALID', /image_transport/],
    [{ action_names: ['a'] }, 'OPTION_INVALID', /action_names/],
    [{ max_age_ms: 0 }, 'OPTION_INVALID', /max_age_ms/],
    [{ state_topic: 5n }, 'OPTION_INVALID', /state_topic/],
  ];
  for (const [overrides, code, words] of wrong) {
    let failure: SemanticVlaError | null = null;
    try {
      setUp(overrides);
    } catch (error) {
      failure = error as SemanticVlaError;
    }
    assert.is(
      failure?.code,
      code,
      JSON.stringify(overrides, (_, v) => (typeof v === 'bigint' ? `${v}` : v)),
    );
    assert.match(failure!.message, words);
  }
});

test('a policy without proprioception subscribes no joints; numbers may come as an array', async () => {
  const blind = setUp({ joint_names: [] }, false);
  assert.not(blind.ros.subscriptions.some(({ type }) => type === 'sensor_msgs/msg/JointState'));
  await run(blind, 10);
  assert.ok(sent(blind).length > 5);
  const array = setUp({ joint_names: [], state_type: 'float64_multi_array', state_topic: '/eef' });
  for (let shot = 1; shot < 10; shot++) {
    sense(array, shot);
    array.ros.send('/eef', { data: Float64Array.of(1, 2, 3, 4, 5, 6, 7, shot) }, 2);
    await array.clock.runUntil(array.clock.now() + 50);
  }
  assert.is(array.asked[0]!.observation.state!.length, 8);
});

test('without the package it says what to install', async () => {
  let code = 'loaded';
  try {
    await loadRclnodejs();
  } catch (error) {
    code = (error as SemanticVlaError).code;
  }
  assert.ok(['PACKAGE_UNAVAILABLE', 'loaded'].includes(code));
  assert.is(
    codeOf(() => startRosNode({ polcy: 1 } as never)),
    'OPTION_UNKNOWN',
  );
});

test.run();
