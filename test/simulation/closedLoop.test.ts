/**
 * The closed loop of bench/simulation: which action a latency puts on which tick, in each mode, against a world that only writes
 * down what it is given; and, where the simulator is installed, the policy of models/cubes in it, alone and served.
 */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { runEpisode } from '../../bench/simulation/episode.ts';
import { cells, type Line } from '../../bench/simulation/figures.ts';
import { modes } from '../../bench/simulation/modes.ts';
import { simulatorPython } from '../../bench/simulation/simulator.ts';
import { packedCheckpoint } from '../../lib/example/packedCheckpoint.ts';
import { parseLatency } from '../../lib/schedule/latency.ts';
import { wilson } from '../../lib/support/wilson.ts';
import type { ActionChunk, Observation } from '../../lib/types.ts';
import { root } from '../helpers/cli.ts';
import { scratchFolder } from '../helpers/golden.ts';
import { testWhen } from '../helpers/skip.ts';
import { testPolicy } from '../schedule/testPolicy.ts';

const test = suite('closed loop in the simulator');

const dimensions = ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper'];
const chunk = 8;

/** Row r of call c has x = (10 c + r + 1) / 1000, so that each action names where it comes from. */
function numberedPolicy(seen: Observation[]) {
  let calls = 0;
  return testPolicy(dimensions, async (observation, { instruction }): Promise<ActionChunk> => {
    seen.push(observation);
    const call = calls++;
    const actions = new Float64Array(chunk * dimensions.length);
    for (let r = 0; r < chunk; r++) {
      actions[r * dimensions.length] = (10 * call + r + 1) / 1000;
      actions[r * dimensions.length + 6] = -1;
    }
    return {
      actions,
      normalized: Float32Array.from(actions),
      shape: [chunk, dimensions.length],
      dimensions,
      keptPatches: {},
      similarity: {},
      timings: { total: 1 },
      instruction,
      unnormKey: 'k',
    };
  });
}

/** What was executed, tick by tick: 10 call + row + 1, or null for a tick that stood still. */
async function played(mode: string, latency: number, steps: number) {
  const seen: Observation[] = [];
  const executed: (number | null)[] = [];
  const world = {
    taken: 0,
    frames: async () => ({ full_image: { data: new Uint8Array([world.taken, 0, 0]), width: 1, height: 1 } }),
    step: async ([x, ...others]: readonly number[]) => {
      world.taken++;
      executed.push(x === 0 ? null : Math.round(1000 * x!));
      assert.equal(others, [0, 0, 0, 0, 0, -1]);
      return { state: [world.taken, 0, 0, 0, 0, 0, 0.04, -0.04], lifted: null };
    },
  };
  const episode = await runEpisode({
    simulator: world,
    start: { task: { named: 'red', sentence: 'lift the red cube' }, state: [0, 0, 0, 0, 0, 0, 0.04, -0.04] },
    policy: numberedPolicy(seen),
    make: modes[mode]!,
    latency: parseLatency(`constant(${latency})`),
    seed: 1,
    rate: 20,
    mostSteps: steps,
  });
  assert.is(episode.steps, steps);
  return { executed, seen, episode };
}

/** At which step the frames of each call were taken, and the state beside them. */
const moments = (seen: readonly Observation[]): number[] =>
  seen.map(({ images, state }) => {
    assert.is(images.full_image!.data[0], state![0], 'frames and state are of one moment');
    return state![0]!;
  });

test('open loop stands still for as long as the policy takes, then plays whole chunks', async () => {
  const { executed, seen, episode } = await played('open loop', 120, 24);
  // asked at tick 0, answered at 120 ms: ticks 0, 1, 2 (0, 50, 100 ms) hold
  const pause = [null, null, null];
  const first = executed.slice(3, 11);
  assert.equal(executed.slice(0, 3), pause);
  assert.equal(first, [1, 2, 3, 4, 5, 6, 7, 8]);
  assert.equal(executed.slice(11, 14), pause);
  assert.equal(executed.slice(14, 22), [11, 12, 13, 14, 15, 16, 17, 18]);
  assert.equal(moments(seen), [0, 11, 22]);
  assert.is(episode.held, 3 + 3 + 2);
});

test('asynchronous goes on while the policy computes, and drops what was executed meanwhile', async () => {
  const { executed, seen } = await played('asynchronous', 120, 18);
  assert.equal(executed.slice(0, 3), [null, null, null]);
  const asked = moments(seen);
  assert.equal(asked.slice(0, 2), [0, 7], 'the second question when half of the chunk is left');
  // asked at tick 7 (350 ms), when rows 0 to 3 were executed; answered at 470 ms: rows 4, 5, 6 went out at ticks 7, 8, 9
  assert.equal(executed.slice(3, 10), [1, 2, 3, 4, 5, 6, 7]);
  assert.equal(executed.slice(10, 12), [14, 15]);
});

test('a policy is one device: a call waits for the one before, and latency 0 is answered before the next tick', async () => {
  const slow = await played('temporal ensemble', 170, 20);
  const asked = moments(slow.seen);
  assert.ok(asked.length >= 4 && asked.every((at, i) => i === 0 || at - asked[i - 1]! >= 4), String(asked));
  const quick = await played('temporal ensemble', 0, 6);
  assert.equal(moments(quick.seen), [0, 1, 2, 3, 4, 5]);
  assert.is(quick.episode.held, 1);
});

test('future state shows the policy where the arm will be', async () => {
  const { seen } = await played('future state', 100, 14);
  const { images, state } = seen[1]!;
  const taken = images.full_image!.data[0]!;
  assert.ok(state![0]! > taken, 'rolled forward');
  // two ticks ahead: rows 10 c + r of the first chunk are thousandths of 5 cm
  assert.ok(Math.abs(state![0]! - taken) < 0.05 * 0.02, String(state![0]! - taken));
});

test('a cube that was lifted ends the episode', async () => {
  const world = {
    frames: async () => ({}),
    step: async () => ({ state: new Array(8).fill(0), lifted: 'blue' }),
  };
  const episode = await runEpisode({
    simulator: world,
    start: { task: { named: 'red', sentence: 'lift the red cube' }, state: new Array(8).fill(0) },
    policy: numberedPolicy([]),
    make: modes['open loop']!,
    latency: parseLatency('constant(0)'),
    seed: 1,
    rate: 20,
    mostSteps: 9,
  });
  assert.equal([episode.lifted, episode.steps], ['blue', 1]);
});

test("figures: Wilson's interval, medians, what was lifted", () => {
  const close = ([low, high]: readonly [number, number]): string => `${low.toFixed(3)} ${high.toFixed(3)}`;
  assert.is(close(wilson(34, 40)), '0.709 0.929');
  assert.is(close(wilson(0, 40)), '0.000 0.088');
  assert.is(close(wilson(100, 100)), '0.963 1.000');
  const line = (seed: number, lifted: string | null, steps: number, held: number): Line => ({
    ...{
      mode: 'm',
      latency: '0',
      family: 'colour',
      policy: 'p',
      seed,
      named: 'red',
      lifted,
      steps,
      held,
      calls: 4,
    },
  });
  const [cell, ...others] = cells([
    line(1, 'red', 30, 3),
    line(2, 'red', 50, 5),
    line(3, 'blue', 20, 2),
    line(4, null, 100, 10),
  ]);
  assert.equal(others, []);
  assert.equal(
    { ...cell, interval: close(cell!.interval) },
    {
      ...{ mode: 'm', latency: '0', count: 4, success: 2, another: 1, steps: 50, held: 0.1, calls: 4 },
      interval: close(wilson(2, 4)),
    },
  );
});

const isLong = process.env.SEMANTICVLA_LONG_TESTS === '1';
const missing = existsSync(simulatorPython)
  ? 'it takes two minutes; SEMANTICVLA_LONG_TESTS=1 runs it'
  : `${simulatorPython} is not there (training/setup.sh makes it)`;

function drive(out: string, ...flags: string[]): Line[] {
  const script = join(root, 'bench/simulation/closedLoop.ts');
  const given = ['--latency', '0,100', '--mode', 'open loop; asynchronous', '--count', '2'];
  const args = ['--import', 'tsx', script, '--out', out, ...given, ...flags];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 500_000 });
  assert.is(status, 0, stderr);
  return readFileSync(out, 'utf8')
    .trim()
    .split('\n')
    .map((text) => JSON.parse(text));
}

testWhen(
  isLong && existsSync(simulatorPython),
  missing,
  test,
  'the policy of models/cubes lifts the named cube, alone, over /act and over the WebSocket of openpi alike',
  async () => {
    const folder = mkdtempSync(join(scratchFolder(), 'closed-loop-'));
    const alone = drive(join(folder, 'alone.jsonl'));
    assert.is(alone.length, 8);
    for (const { lifted, named } of alone) assert.is(lifted, named);
    const flags = ['serve', await packedCheckpoint('cubes', {}), '--act', '0', '--openpi', '0', '--json'];
    const server = spawn(process.execPath, [join(root, 'bin/semanticvla.js'), ...flags], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    try {
      const [line] = await once(createInterface({ input: server.stdout }), 'line');
      const { act, openpi } = JSON.parse(line) as { act: string; openpi: string };
      const without = ({ policy, ...line }: Line): Omit<Line, 'policy'> => line;
      for (const url of [act, openpi]) {
        const served = drive(join(folder, `${url.slice(0, 2)}.jsonl`), '--server', url);
        assert.equal(served.map(without), alone.map(without), url);
      }
    } finally {
      server.kill();
    }
  },
);

test.run();
