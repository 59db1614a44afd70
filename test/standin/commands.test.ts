/** The commands with `--backend tensorrt`, on the stand-in: build, predict, stages, bench, profile, view, evaluate, serve, doctor. */

import { once } from 'node:events';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { connectAct } from '../../lib/client/connect.ts';
import { exampleCheckpoint } from '../../lib/example/exampleCheckpoint.ts';
import { readObservation } from '../../lib/observation/readObservation.ts';
import { type CliResult, cli, inFolder, root, startCli } from '../helpers/cli.ts';
import { scratchFolder } from '../helpers/golden.ts';
import { goldenCase, maxAbsDifference } from '../helpers/goldenCase.ts';
import { longStandInTests, standIn, standInTest } from './standIn.ts';

const test = suite('commands on the device path');

const folder = join(root, 'test/golden/libero-tiny');
const checkpoint = join(folder, 'checkpoint');
const [sample] = goldenCase('libero-tiny').samples;
const key = ['--unnorm-key', sample!.unnorm_key];
const observed = ['--observation', join(folder, 'obs0'), '--instruction', sample!.instruction];
/** As on the CPU path (policy.test.ts). */
const tolerance = 5e-5;

interface Errors {
  readonly compared: number;
  readonly gripper: number;
  readonly normalized: number;
}

// one cache folder for all of them
scratchFolder();

async function onStandIn(command: string, ...args: readonly string[]): Promise<CliResult> {
  const backend = ['--backend', 'tensorrt', '--tensorrt', await standIn(), '--precision', 'float32'];
  return cli(command, ...args, ...backend);
}

/** What a command printed with --json. It also says that no GPU computed it. */
async function answer(command: string, ...args: readonly string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await onStandIn(command, ...args, '--json');
  assert.is(code, 0, `${command}: ${stderr}${stdout.slice(0, 2000)}`);
  assert.match(stderr, /stand-in for tests, which computes on the CPU/, command);
  return JSON.parse(stdout);
}

standInTest(test, 'doctor says what it is, and that it is no TensorRT', async () => {
  process.env.SEMANTICVLA_TENSORRT = await standIn();
  try {
    const { code, stdout } = cli('doctor', '--backend', 'tensorrt');
    assert.match(stdout, /TensorRT .* is its stand-in for tests, which computes on the CPU/);
    assert.match(stdout, /unset SEMANTICVLA_TENSORRT/);
    assert.ok(code !== 0);
  } finally {
    delete process.env.SEMANTICVLA_TENSORRT;
  }
});

longStandInTests(test, 'build, predict, stages, bench, profile, view, evaluate, serve', () => {
  standInTest(test, 'build, then predict from the cache: the golden actions', async () => {
    const library = await standIn();
    const built = cli('build', checkpoint, ...key, '--tensorrt', library, '--precision', 'float32', '--json');
    assert.is(built.code, 0, built.stderr);
    const chunk = await answer('predict', checkpoint, ...key, ...observed);
    const difference = maxAbsDifference(
      (chunk.normalized as number[][]).flat(),
      sample!.normalized_fp32.flat(),
    );
    assert.ok(difference <= tolerance, `normalized actions differ by ${difference}`);
    assert.equal(Object.values(chunk.keptPatches as Record<string, number[]>), sample!.kept_patches_fp32);
  });

  standInTest(test, 'stages are of the CPU, which is said', async () => {
    await inFolder(async (dir) => {
      const out = join(dir, 'stages.safetensors');
      const { code, stderr } = await onStandIn('stages', checkpoint, ...key, ...observed, '--out', out);
      assert.is(code, 0, stderr);
      assert.match(stderr, /stages: .*on the CPU/);
      const own = join(dir, 'cpu.safetensors');
      assert.is(cli('stages', checkpoint, ...key, ...observed, '--out', own).code, 0);
      assert.is(cli('compare', out, own, '--strict').code, 0);
    });
  });

  standInTest(test, 'bench: both backends, the device by its honest name', async () => {
    const short = ['--warm-up', '1', '--iterations', '3', '--duration', '0', '--limit', '20'];
    const library = await standIn();
    const both = ['--backend', 'cpu,tensorrt', '--tensorrt', library];
    const { code, stdout, stderr } = cli('bench', checkpoint, ...key, ...both, ...short, '--json');
    assert.is(code, 0, stderr);
    assert.match(stdout, /stand-in 0\.1\.0\.0, which computes on the CPU/);
  });

  standInTest(test, 'profile: the graph as one layer', async () => {
    const { code, stdout, stderr } = await onStandIn('profile', checkpoint, ...key, '--json');
    assert.is(code, 0, stderr);
    assert.match(stdout, /stand-in/);
  });

  standInTest(test, 'view draws; evaluate finds the errors that the CPU finds', async () => {
    await inFolder(async (dir) => {
      const drawn = await answer('view', checkpoint, ...key, ...observed, '--out', join(dir, 'kept.png'));
      assert.equal(drawn.kept, { full_image: 32, wrist_image: 32 });
      assert.ok(statSync(join(dir, 'kept.png')).size > 10_000);
    });
    const trained = [
      await exampleCheckpoint(),
      '--data',
      join(root, 'models/libero/episodes'),
      '--every',
      '16',
    ];
    const device = (await answer('evaluate', ...trained)).policies as Errors[];
    const own = cli('evaluate', ...trained, '--json');
    assert.is(own.code, 0, own.stderr);
    const cpu = JSON.parse(own.stdout).policies as Errors[];
    assert.equal([device[0]!.compared, device[0]!.gripper], [cpu[0]!.compared, cpu[0]!.gripper]);
    const difference = Math.abs(device[0]!.normalized - cpu[0]!.normalized);
    assert.ok(difference <= tolerance, `normalized errors differ by ${difference}`);
  });

  standInTest(test, 'serve: a client gets the golden actions', async () => {
    const backend = ['--backend', 'tensorrt', '--tensorrt', await standIn(), '--precision', 'float32'];
    const child = startCli('serve', checkpoint, ...key, ...backend, '--act', '0', '--openpi', '0', '--json');
    try {
      const [line] = (await once(child.stdout!, 'data')) as [Buffer];
      const { act } = JSON.parse(line.toString()) as { act: string };
      const policy = await connectAct(act, { deadlineMs: 60_000 });
      const { observation } = await readObservation(join(folder, 'obs0'));
      const { actions } = await policy.predict(observation, { instruction: sample!.instruction });
      await policy.close();
      const difference = maxAbsDifference(actions, sample!.actions_fp32.flat());
      assert.ok(difference <= 2 * tolerance, `actions differ by ${difference}`);
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      assert.is((await ended)[0], 0);
    } finally {
      child.kill('SIGKILL');
    }
  });
});

test.run();
