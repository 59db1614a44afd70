/**
 * Real processes with an engine that fails on demand. Limits are wide, since a busy machine may take seconds to start a
 * process.
 */

import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SupervisedPolicy } from '../../lib/supervise/supervisedPolicy.ts';
import { type SuperviseOptions, superviseEngine } from '../../lib/supervise/superviseEngine.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import type { Observation } from '../../lib/types.ts';
import { type FakeEngineOptions, fakeActions } from './fakeEngine.ts';

const test = suite('superviseEngine');
const module = fileURLToPath(new URL('./fakeEngine.ts', import.meta.url));

function supervise(
  options: Partial<SuperviseOptions> = {},
  engine: FakeEngineOptions = {},
): Promise<SupervisedPolicy> {
  return superviseEngine({
    engine: { module, options: { ...engine } },
    deadlineMs: 60_000,
    silenceMs: 60_000,
    ...options,
  });
}

function observe(seed: number, size = 32): Observation {
  const frame = (value: number) => ({
    width: size,
    height: size,
    data: new Uint8Array(size * size * 3).fill(value),
  });
  return {
    images: { full_image: frame(seed % 251), wrist_image: frame((seed * 7) % 241) },
    state: [seed, 0.25],
  };
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    return error instanceof SemanticVlaError ? error.code : String(error);
  }
  return 'none';
}

/** Waits for the engine's loss as a running program would: an idle engine alone keeps no process alive. */
async function lossOf(policy: SupervisedPolicy, cause: () => void): Promise<string> {
  const alive = setInterval(() => {}, 1000);
  const reason = await new Promise<string>((resolve) => {
    policy.listen((event) => {
      if (event.kind === 'lost') resolve(event.reason);
    });
    cause();
  });
  clearInterval(alive);
  return reason;
}

/** Asks again until an engine answers, as a loop would. */
async function answered(policy: SupervisedPolicy): Promise<void> {
  await policy.whenReady();
  const { actions } = await policy.predict(observe(5), { instruction: 'go on' });
  assert.equal(actions, fakeActions(observe(5)));
}

for (const transport of ['shared', 'pipe'] as const) {
  test(`${transport}: is a policy; 64 concurrent callers with reused buffers get their own answers`, async () => {
    await using policy = await supervise({ transport });
    assert.is(policy.platform.chunk, 2);
    assert.equal(policy.dimensions, ['x', 'y', 'z']);
    const observation = observe(0);
    const answers = Array.from({ length: 64 }, (_, seed) => {
      const next = observe(seed);
      // the same buffer for all: what was passed before must have been copied by now
      for (const camera of ['full_image', 'wrist_image']) {
        observation.images[camera]!.data.set(next.images[camera]!.data);
      }
      return policy.predict({ ...observation, state: next.state! }, { instruction: `task ${seed}` });
    });
    for (const [seed, chunk] of (await Promise.all(answers)).entries()) {
      assert.equal(chunk.actions, fakeActions(observe(seed)), `caller ${seed}`);
      assert.is(chunk.instruction, `task ${seed}`);
      assert.equal(chunk.normalized, Float32Array.from(chunk.actions));
      assert.equal(chunk.keptPatches.full_image, Int32Array.of(1, 2, 3));
      assert.equal(chunk.similarity.full_image, Float32Array.of(0.5, -1));
      assert.ok(chunk.timings.transport! >= 0);
    }
    const stages = await policy.stages(observe(3), { instruction: 'look' });
    assert.equal(stages.get('actions')?.data, Float32Array.from(fakeActions(observe(3))));
    assert.is(policy.counters.predictions, 64);
    assert.is(await codeOf(policy.predict(observe(1), { instruction: 'refuse' })), 'INSTRUCTION_INVALID');
    assert.is(policy.counters.restarts, 0);
  });
}

test('exit, crash and failure of the runtime: the call is refused at once, another engine answers', async () => {
  const events: string[] = [];
  await using policy = await supervise({ onEvent: ({ kind }) => events.push(kind) });
  const expectedCodes = { exit: 'ENGINE_LOST', crash: 'ENGINE_LOST', broken: 'RUNTIME_FAILED' };
  for (const [fault, code] of Object.entries(expectedCodes)) {
    const before = policy.pid;
    const lost = policy.predict(observe(1), { instruction: fault });
    // these wait behind it and must not reach the next engine: by then their observations are old
    const waiting = policy.predict(observe(2), { instruction: 'go on' });
    assert.is(await codeOf(lost), code);
    assert.ok(['ENGINE_UNAVAILABLE', 'ENGINE_LOST'].includes(await codeOf(waiting)));
    assert.is(policy.state, 'starting');
    assert.is(await codeOf(policy.predict(observe(1), { instruction: 'go on' })), 'ENGINE_UNAVAILABLE');
    await answered(policy);
    assert.is.not(policy.pid, before);
  }
  const { losses, restarts, refused } = policy.counters;
  assert.equal([losses.exit + losses.crash + losses.failure, restarts, refused], [3, 3, 3]);
  assert.is(losses.crash, 1);
  assert.equal(events.filter((kind) => kind !== 'output').slice(0, 4), [
    'ready',
    'lost',
    'restarting',
    'ready',
  ]);
});

test('a hung main thread and an answer that never comes end at the deadline; a killed engine is noticed when idle', async () => {
  await Promise.all(
    ['hang', 'silent'].map(async (fault) => {
      await using policy = await supervise({ firstDeadlineMs: 3000 });
      assert.is(await codeOf(policy.predict(observe(1), { instruction: fault })), 'ENGINE_DEADLINE');
      assert.is(policy.counters.losses.deadline, 1);
      await policy.whenReady();
      assert.is(policy.state, 'ready');
    }),
  );
  await using idle = await supervise();
  assert.is(await lossOf(idle, () => process.kill(idle.pid!, 'SIGKILL')), 'crash');
  await answered(idle);
});

test('a program that only waits for the next engine waits until it is there, however long the last one takes to die', async () => {
  const supervised = new URL('../../lib/supervise/superviseEngine.ts', import.meta.url).href;
  const program = `
    const { superviseEngine } = await import(${JSON.stringify(supervised)});
    const engine = { module: ${JSON.stringify(module)}, options: { ballastMiB: 1024 } };
    const policy = await superviseEngine({ engine, deadlineMs: 60_000, silenceMs: 60_000, backoff: { firstMs: 1, maxMs: 1, giveUpAfter: 3 } });
    const alive = setInterval(() => {}, 1000);
    const lost = new Promise((resolve) => policy.listen(({ kind }) => kind === 'lost' && resolve()));
    process.kill(policy.pid, 'SIGKILL');
    await lost;
    clearInterval(alive);
    await policy.whenReady();
    console.log(policy.state);
    await policy.close();`;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '-e', program],
    { timeout: 120_000 },
  );
  assert.is(stdout, 'ready\n');
});

test('an idle engine that stops beating is replaced', async () => {
  await using policy = await supervise({ heartbeatMs: 50, silenceMs: 1500 });
  const before = policy.pid!;
  assert.is(await lossOf(policy, () => process.kill(before, 'SIGSTOP')), 'heartbeat');
  await policy.whenReady();
  assert.is.not(policy.pid, before);
});

test('an engine that does not load is said so at once; one that does not come back is tried again with back-off', async () => {
  assert.is(await codeOf(supervise({}, { broken: true })), 'CHECKPOINT_NOT_FOUND');
  assert.is(
    await codeOf(superviseEngine({ engine: { module: '/no/such.js' }, deadlineMs: 1000 })),
    'RUNTIME_FAILED',
  );
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-supervise-'));
  const refuseWhile = join(folder, 'gone');
  try {
    const waits: number[] = [];
    const failed: string[] = [];
    await using policy = await supervise(
      {
        backoff: { firstMs: 5, maxMs: 15, giveUpAfter: 4 },
        onEvent: (event) => {
          if (event.kind === 'restarting') waits.push(event.inMs);
          if (event.kind === 'failed') failed.push(event.message);
        },
      },
      { refuseWhile },
    );
    writeFileSync(refuseWhile, '');
    assert.is(await codeOf(policy.predict(observe(1), { instruction: 'exit' })), 'ENGINE_LOST');
    assert.is(await codeOf(policy.whenReady()), 'ENGINE_UNAVAILABLE');
    assert.equal(waits, [5, 10, 15]);
    assert.is(failed.length, 1);
    assert.match(failed[0]!, /device is not back/);
    assert.is(policy.state, 'failed');
    assert.is(await codeOf(policy.predict(observe(1), { instruction: 'go on' })), 'ENGINE_UNAVAILABLE');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('an aborted caller is answered at once and costs no engine; a closed policy answers nobody', async () => {
  const policy = await supervise({}, { slowMs: 200 });
  const controller = new AbortController();
  const running = policy.predict(observe(1), { instruction: 'slow', signal: controller.signal });
  const waiting = policy.predict(observe(2), { instruction: 'slow', signal: controller.signal });
  const other = policy.predict(observe(3), { instruction: 'slow' });
  controller.abort(new Error('enough'));
  assert.is(await codeOf(running), 'Error: enough');
  assert.is(await codeOf(waiting), 'Error: enough');
  assert.equal((await other).actions, fakeActions(observe(3)));
  assert.is(policy.counters.restarts, 0);
  const last = policy.predict(observe(4), { instruction: 'slow' });
  const closing = policy.close();
  assert.is(await codeOf(last), 'CLOSED');
  await closing;
  await policy.close();
  assert.is(await codeOf(policy.predict(observe(4), { instruction: 'go on' })), 'CLOSED');
});

test('what the policy would refuse is refused here, and options are checked', async () => {
  await using policy = await supervise();
  const odd: [unknown, string][] = [
    [{}, 'OBSERVATION_INVALID'],
    [{ images: { full_image: { data: [1, 2], width: 1, height: 1 } } }, 'IMAGE_DTYPE'],
    [{ ...observe(1), state: ['1'] }, 'STATE_INVALID'],
  ];
  for (const [observation, code] of odd) {
    assert.is(await codeOf(policy.predict(observation as Observation, { instruction: 'go on' })), code);
  }
  const wrong: [object, string][] = [
    [{ deadline: 5 }, 'OPTION_UNKNOWN'],
    [{ transport: 'mail' }, 'OPTION_INVALID'],
    [{ deadlineMs: 0 }, 'OPTION_INVALID'],
    [{ heartbeatMs: 900, silenceMs: 1000 }, 'OPTION_INVALID'],
    [{ engine: {} }, 'OPTION_INVALID'],
    [{ backoff: { first: 3 } }, 'OPTION_UNKNOWN'],
  ];
  for (const [options, code] of wrong)
    assert.is(await codeOf(supervise(options)), code, JSON.stringify(options));
});

test.run();
