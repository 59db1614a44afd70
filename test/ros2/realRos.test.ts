/** The node in a real ROS 2: rclnodejs on one side, rclpy on the other, DDS on the loopback between them. */

import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { testWhen } from '../helpers/skip.ts';

const test = suite('real ROS 2');
const folder = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'semanticvla/ros2-kilted');
const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly out: string;
}

function start(command: string, args: readonly string[]) {
  const ros = JSON.parse(readFileSync(join(folder, 'environment.json'), 'utf8')) as Record<string, string>;
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      ...ros,
      // a domain of this process's own, on the loopback only
      ROS_DOMAIN_ID: String(1 + (process.pid % 100)),
      ROS_AUTOMATIC_DISCOVERY_RANGE: 'LOCALHOST',
    },
  });
  let out = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
  }
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code) => resolve({ code, out }));
  });
  return { child, ended };
}

testWhen(
  existsSync(join(folder, 'ready')),
  'no ROS 2 is there (test/ros2/setUpRealRos.sh makes one from PyPI and npm, in a few minutes)',
  test,
  'a robot on rclpy gets trajectories that carry what it published',
  async () => {
    const parameters = [
      'rate:=20.0',
      'mode:=asynchronous',
      'joint_names:=[j1,j2,j3,j4,j5,j6,j7,j8]',
      'max_age_ms:=3000.0',
    ].flatMap((parameter) => ['-p', parameter]);
    const node = start(process.execPath, [
      '--import',
      import.meta.resolve('tsx'),
      here('./realRosNode.ts'),
      join(folder, 'node'),
      '--ros-args',
      ...parameters,
    ]);
    const peer = start(join(folder, 'ros/bin/python'), [here('./realRosPeer.py')]);
    const robot = await peer.ended;
    node.child.kill('SIGTERM');
    const ended = await node.ended;
    assert.is(robot.code, 0, `${robot.out}\n${ended.out}`);
    const report = JSON.parse(robot.out.trim().split('\n').at(-1)!) as Record<string, unknown>;
    assert.equal(report.joint_names, ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper']);
    assert.equal(report.time_from_start, [0, 50_000_000]);
    assert.is(ended.code, 0, ended.out);
  },
);

test.run();
