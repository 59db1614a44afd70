/** Every example runs as its header says, on the tiny policy. */

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { liberoGripper } from '../../lib/transforms/actions.ts';
import { goldenCheckpoint, goldenRoot } from '../helpers/golden.ts';

const test = suite('examples');
const root = resolve(goldenRoot, '../..');
const key = 'libero_spatial_no_noops';

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function run(example: string, ...args: string[]): Promise<Ended> {
  return runIn({}, example, ...args);
}

function runIn(env: Record<string, string>, example: string, ...args: string[]): Promise<Ended> {
  return new Promise((settle) => {
    const child = spawn(process.execPath, ['--import', 'tsx', join('examples', example), ...args], {
      cwd: root,
      env: { ...process.env, ...env },
    });
    let [out, err] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
    });
    child.on('close', (code) => settle({ code, out, err }));
  });
}

test('robotLoop: so many actions at the rate of the robot, from a supervised engine, in 20 lines', async () => {
  const { code, out, err } = await run('robotLoop.ts', goldenCheckpoint('libero-tiny'), key, '30');
  assert.is(code, 0, err);
  const { loop, schedule, engine } = JSON.parse(out) as Record<string, Record<string, number>>;
  // an action, or a HOLD on a busy machine, goes to the robot every tick after the first chunk
  assert.ok(loop!.executed! >= 1 && loop!.ticks! >= 30, out);
  assert.ok(schedule!.chunks! >= 1 && schedule!.refusedChunks === 0, out);
  assert.is(loop!.refusedObservations, 0);
  assert.ok(engine!.predictions! >= 1 && engine!.restarts === 0, out);
  const source = readFileSync(join(root, 'examples/robotLoop.ts'), 'utf8');
  const body = source
    .slice(source.indexOf('const [checkpoint'))
    .split(';\n')
    .filter((statement) => statement.trim() !== '');
  assert.ok(body.length <= 20, `${body.length} statements`);
});

test('liberoEpisode: recorded observations give the reference actions, the gripper as LIBERO wants it', async () => {
  const { samples } = JSON.parse(readFileSync(join(goldenRoot, 'libero-tiny/case.json'), 'utf8')) as {
    samples: { observation: string; instruction: string; unnorm_key: string; actions_fp32: number[][] }[];
  };
  const runs = samples
    .filter(({ unnorm_key }) => unnorm_key === key)
    .map(async ({ observation, instruction, actions_fp32 }) => {
      const folder = join(goldenRoot, 'libero-tiny', observation);
      const episode = [goldenCheckpoint('libero-tiny'), key, instruction, folder, folder];
      const { code, out, err } = await run('liberoEpisode.ts', ...episode);
      assert.is(code, 0, err);
      const lines = out
        .trim()
        .split('\n')
        .map((line) => line.split(' ').map(Number));
      const expected = [...actions_fp32, ...actions_fp32];
      assert.is(lines.length, expected.length);
      for (const [i, line] of lines.entries()) {
        assert.is(line.length, 7);
        // six decimals are printed; float32 sums in another order differ by less than 1e-4 (test/policy/policy.test.ts)
        for (let d = 0; d < 6; d++)
          assert.ok(Math.abs(line[d]! - expected[i]![d]!) <= 1e-4, `step ${i}, ${d}`);
        assert.is(line[6], liberoGripper(expected[i]![6]!));
      }
    });
  assert.ok(runs.length >= 2, 'two recorded observations');
  await Promise.all(runs);
});

test('ros2: a node on a robot that is all fake, with the example parameters, until it is told to end', async () => {
  const env = {
    NODE_OPTIONS: `--import ${new URL('../ros2/rclnodejsHook.mjs', import.meta.url).href}`,
    RCLNODEJS: new URL('../ros2/fakeRclnodejs.ts', import.meta.url).href,
    FAKE_TRAJECTORIES: '12',
  };
  const parameters = ['--ros-args', '--params-file', 'examples/ros2/libero.yaml'];
  const { code, out, err } = await runIn(env, 'ros2/node.ts', goldenCheckpoint('libero-tiny'), ...parameters);
  assert.is(code, 0, err);
  const report = JSON.parse(out.trim().split('\n').at(-1)!) as Record<string, unknown>;
  // twelve, and the hold that it ends with
  assert.ok((report.trajectories as number) >= 13, out);
  assert.ok((report.moved as number) >= 1, out);
  assert.equal(report.topics, ['/semanticvla/trajectory']);
  assert.equal(report.names, ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper']);
  assert.equal(report.undeclared, [], 'the example sets parameters that the node has');
  assert.is(report.destroyed, 1);
});

test('an example without its arguments says how it is called', async () => {
  for (const example of ['robotLoop.ts', 'remoteRobot.ts', 'liberoEpisode.ts', 'ros2/node.ts']) {
    const { code, out, err } = await run(example);
    assert.is(code, 2, err);
    assert.is(out, '');
    assert.match(err, new RegExp(`^Usage: node --import tsx examples/${example} [^\\n]+\\n$`));
    const source = readFileSync(join(root, 'examples', example), 'utf8');
    assert.match(source, /from 'semanticvla';/);
    assert.not.match(source, /from '[./]+lib\//);
  }
});

test('ros2: without rclnodejs it says what to install', async () => {
  const { code, err } = await run('ros2/node.ts', goldenCheckpoint('libero-tiny'));
  assert.is.not(code, 0);
  assert.match(err, /PACKAGE_UNAVAILABLE/);
  assert.match(err, /npm i rclnodejs/);
});

test.run();
