/** A control loop in real time over an engine that is killed, while the wall clock jumps by hours. */

import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { FakeRobot } from '../../examples/fakeRobot.ts';
import { observationGuard } from '../../lib/observation/observationGuard.ts';
import type { ActionSpace } from '../../lib/schedule/actionSpace.ts';
import { asynchronous } from '../../lib/schedule/asynchronous.ts';
import { startControlLoop } from '../../lib/schedule/controlLoop.ts';
import { superviseEngine } from '../../lib/supervise/superviseEngine.ts';

const test = suite('hold on loss');
const module = fileURLToPath(new URL('./fakeEngine.ts', import.meta.url));
const space: ActionSpace = {
  name: 'fake',
  dimensions: ['x', 'y', 'z'].map((name) => ({ name, kind: 'delta', unit: 'm' })),
};

/** Runs `body` with a wall clock that jumps an hour forward or back each time it is read. */
async function withJumpingClock(body: () => Promise<void>): Promise<void> {
  const now = Date.now;
  let looks = 0;
  Date.now = () => now() + ((looks++ % 3) - 1) * 3_600_000;
  try {
    await body();
  } finally {
    Date.now = now;
  }
}

test('from the loss on every tick holds, until another engine has answered; no wall clock is asked', () =>
  withJumpingClock(async () => {
    const story: ('executed' | 'held' | 'lost' | 'ready')[] = [];
    await using policy = await superviseEngine({
      engine: { module },
      deadlineMs: 60_000,
      silenceMs: 60_000,
      onEvent: ({ kind }) => {
        if (kind === 'lost' || kind === 'ready') story.push(kind);
      },
    });
    const scheduler = asynchronous(policy, { space });
    policy.listen((event) => event.kind === 'lost' && scheduler.reset());
    const { cameras } = policy.platform;
    const robot = new FakeRobot(cameras, 3);
    const guard = observationGuard({ cameras });
    await using loop = startControlLoop({
      scheduler,
      rate: 40,
      maxAge: 60_000,
      instruction: 'go',
      observe: () => {
        const seen = robot.look();
        guard.check(seen.observation, seen.at);
        return seen;
      },
      act: ({ held, values }) => {
        story.push(held === null ? 'executed' : 'held');
        if (held === null) robot.move(values);
      },
    });
    const executedSince = (from: number) => story.slice(from).includes('executed');
    const until = async (happened: () => boolean) => {
      while (!happened() && loop.running) await sleep(5);
    };
    await until(() => executedSince(0));
    for (let kill = 0; kill < 2; kill++) {
      const from = story.length;
      process.kill(policy.pid!, 'SIGKILL');
      await until(() => story.slice(from).includes('ready'));
      await until(() => executedSince(story.lastIndexOf('ready')));
      const lost = story.indexOf('lost', from);
      const ready = story.indexOf('ready', lost);
      const between = story.slice(lost + 1, ready);
      assert.ok(between.length > 0, story.join(' '));
      assert.ok(
        between.every((kind) => kind === 'held'),
        between.join(' '),
      );
    }
    await loop.stop();
    assert.equal([policy.counters.restarts, policy.counters.losses.crash], [2, 2]);
    assert.is(loop.counters.refusedObservations, 0);
    assert.is(loop.counters.held.stale + loop.counters.held.otherEpoch, 0);
  }));

test('nothing on the way from sensor to action reads the wall clock', () => {
  const lib = resolve(fileURLToPath(new URL('../../lib', import.meta.url)));
  const folders = ['schedule', 'supervise', 'ros2', 'observation', 'transforms', 'runtime'];
  const files = folders.flatMap((folder) =>
    readdirSync(join(lib, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(lib, folder, name)),
  );
  files.push(join(lib, 'policy', 'loadPolicy.ts'), join(lib, 'engine', 'openTensorRt.ts'));
  assert.ok(files.length > 40);
  const readers = files.filter((file) => /\bDate\s*\.\s*now\b|\bnew Date\b/.test(readFileSync(file, 'utf8')));
  // opening a session writes into the engine's sidecar when it was checked; no action waits for that
  assert.equal(readers, [join(lib, 'engine', 'openTensorRt.ts')]);
});

test.run();
