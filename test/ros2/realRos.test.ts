/** The node in a real ROS 2: rclnodejs on one side, rclpy on the other, DDS on the loopback between them. */

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { goldenCheckpoint } from '../helpers/golden.ts';
import { testWhen } from '../helpers/skip.ts';

const test = suite('real ROS 2');
const folder = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'semanticvla/ros2-kilted');
const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly out: string;
}

function start(command: string, args: readonly string[], more: Readonly<Record<string, string>> = {}) {
  const ros = JSON.parse(readFileSync(join(folder, 'environment.json'), 'utf8')) as Record<string, string>;
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      ...ros,
      // a domain of this process's own, on the loopback only
      ROS_DOMAIN_ID: String(1 + (process.pid % 100)),
      ROS_AUTOMATIC_DISCOVERY_RANGE: 'LOCALHOST',
      ...more,
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

const launched: readonly (readonly [name: string, robot: string, parameters: string])[] = [
  ['moves a robot on rclpy', 'libero', 'libero.yaml'],
  ['commands a Cartesian controller and a gripper on rclpy', 'servo', 'liberoServo.yaml'],
];
for (const [name, kind, parameters] of launched) {
  testWhen(
    existsSync(join(folder, 'ready')) && existsSync(join(folder, 'launch-ready')),
    'no ROS 2 with `ros2 launch` is there (test/ros2/setUpRealRos.sh makes one; its head says what for the launch file)',
    test,
    `the launch file of the example starts the tiny policy, which ${name} and ends when it is told to`,
    () => launchAndWatch(kind, parameters),
  );
}

async function launchAndWatch(kind: string, parameters: string): Promise<void> {
  const python = join(folder, 'ros/bin/python');
  const logs = mkdtempSync(join(tmpdir(), 'semanticvla-launch-'));
  // a busy machine is late with its frames, which is not what is tested here
  const patient = join(logs, parameters);
  const example = readFileSync(here(`../../examples/ros2/${parameters}`), 'utf8');
  writeFileSync(patient, example.replace('max_age_ms: 500.0', 'max_age_ms: 3000.0'));
  const launch = start(
    python,
    [
      here('./realRosLaunch.py'),
      here('../../examples/ros2/semanticvla.launch.py'),
      `checkpoint:=${goldenCheckpoint('libero-tiny')}`,
      `params:=${patient}`,
    ],
    {
      NODE_OPTIONS: `--import ${new URL('./rclnodejsHook.mjs', import.meta.url).href}`,
      RCLNODEJS: pathToFileURL(join(folder, 'node/node_modules/rclnodejs/dist/index.js')).href,
      ROS_LOG_DIR: logs,
    },
  );
  const peer = start(python, [here('./realRosPeer.py'), kind]);
  const robot = await peer.ended;
  launch.child.kill('SIGINT');
  const ended = await launch.ended;
  rmSync(logs, { recursive: true });
  assert.is(robot.code, 0, `${robot.out}\n${ended.out}`);
  const report = JSON.parse(robot.out.trim().split('\n').at(-1)!) as Record<string, unknown>;
  if (kind === 'libero') {
    assert.equal(report.joint_names, ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper']);
  } else {
    // metres of a finger: closed or open
    assert.ok([0, 0.04].includes((report.hand as number[])[0]!), robot.out);
  }
  assert.match(ended.out, /asynchronous at 20 Hz: pick up the cup/);
  assert.match(ended.out, /process has finished cleanly/);
  // the last HOLD left before ROS was shut down
  assert.not.match(ended.out, /control loop ended/);
  assert.is(ended.code, 0, ended.out);
}

test.run();
