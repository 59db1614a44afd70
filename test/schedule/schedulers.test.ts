/** Each mode by hand: which row leaves at which tick. Ticks are 10 ms apart; row r of call k has the value 100 k + r. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ActionSpace } from '../../lib/schedule/actionSpace.ts';
import { asynchronous } from '../../lib/schedule/asynchronous.ts';
import { futureState } from '../../lib/schedule/futureState.ts';
import { openLoop } from '../../lib/schedule/openLoop.ts';
import { type BlendRule, overlapBlend } from '../../lib/schedule/overlapBlend.ts';
import type { ScheduleEvent } from '../../lib/schedule/scheduler.ts';
import { temporalEnsemble } from '../../lib/schedule/temporalEnsemble.ts';
import type { SemanticVlaError } from '../../lib/support/errors.ts';
import { bench, position, run, step } from './helpers.ts';

const test = suite('schedulers');

const numbered =
  (chunk: number) =>
  ({ index }: { index: number }) =>
    Array.from({ length: chunk }, (_, r) => [100 * index + r]);

test('open loop executes the chunk, then waits for the next', async () => {
  const { clock, policy } = bench(['p'], numbered(3), 'constant(15)', 3);
  const scheduler = openLoop(policy, { space: position, clock });
  assert.equal(await run(scheduler, clock, 12), [null, null, 0, 1, 2, null, null, 100, 101, 102, null, null]);
});

test('open loop executes no more than its horizon', async () => {
  const { clock, policy } = bench(['p'], numbered(3), 'constant(5)', 3);
  const scheduler = openLoop(policy, { space: position, clock, executeHorizon: 2 });
  assert.equal(await run(scheduler, clock, 7), [null, 0, 1, null, 100, 101, null]);
});

test('asynchronous drops the rows executed since the observation', async () => {
  const { clock, policy } = bench(['p'], numbered(6), 'constant(15)', 6);
  const scheduler = asynchronous(policy, { space: position, clock, threshold: 0.5 });
  // asked at tick 5 with 3 of 6 rows left, answered before tick 7: rows 3 and 4 went meanwhile, so two are dropped;
  // asked again at tick 8 with 3 left, answered before tick 10
  assert.equal(await run(scheduler, clock, 11), [null, null, 0, 1, 2, 3, 4, 102, 103, 104, 202]);
  assert.is(scheduler.counters.droppedRows, 4);
});

test('a held tick is no executed row', async () => {
  const { clock, policy } = bench(['p'], numbered(6), 'constant(25)', 6);
  const scheduler = asynchronous(policy, { space: position, clock, threshold: 0.5 });
  await run(scheduler, clock, 6);
  const before = step(scheduler, clock)!;
  assert.is(before.values[0], 3);
  await clock.runUntil(clock.now() + 10);
  // proposed, but the loop does not let it leave
  const refused = step(scheduler, clock, { leaves: false })!;
  await clock.runUntil(clock.now() + 10);
  assert.equal([refused.values[0], step(scheduler, clock)!.values[0]], [4, 4]);
});

test('an observation taken before the last action drops that action too', async () => {
  const { clock, policy } = bench(['p'], numbered(4), 'constant(5)', 4);
  const scheduler = openLoop(policy, { space: position, clock });
  await run(scheduler, clock, 5);
  // all four rows are gone; the camera's newest picture is older than the last of them
  const late = clock.now() - 11;
  assert.is(step(scheduler, clock, { observedAt: late }), null);
  await clock.runUntil(clock.now() + 10);
  assert.is(step(scheduler, clock, { observedAt: late })!.values[0], 101);
});

test('a chunk that comes after all its rows is thrown away', async () => {
  const latencies = [5, 95, 5];
  const events: ScheduleEvent[] = [];
  const { clock, policy } = bench(['p'], numbered(8), 'constant(0)', 2);
  const slow = {
    platform: policy.platform,
    dimensions: policy.dimensions,
    variant: policy.variant,
    imageSize: policy.imageSize,
    patchGrid: 1,
    notices: [],
    stages: policy.stages.bind(policy),
    close: () => policy.close(),
    [Symbol.asyncDispose]: () => policy.close(),
    predict: async (...args: Parameters<typeof policy.predict>) => {
      const chunk = await policy.predict(...args);
      const end = clock.now() + latencies.shift()!;
      await new Promise<void>((resolve) => {
        clock.at(end, resolve);
      });
      const actions = chunk.actions.subarray(0, 2);
      return { ...chunk, actions, normalized: Float32Array.from(actions), shape: [2, 1] as const };
    },
  };
  const scheduler = asynchronous(slow, {
    space: position,
    clock,
    threshold: 1,
    onEvent: (e) => events.push(e),
  });
  const left = await run(scheduler, clock, 14);
  assert.equal(left.slice(0, 12), [null, 0, 1, ...Array(9).fill(null)]);
  assert.is(scheduler.counters.lateChunks, 1);
  assert.is(events.filter(({ type }) => type === 'late').length, 1);
  assert.is(left[12], 200);
});

/** Two chunks of four rows on an overlap of three: the second is asked at the first row and comes at once. */
async function blended(rule: BlendRule, frozen = 0): Promise<(number | null)[]> {
  const { clock, policy } = bench(
    ['p'],
    ({ index }) => Array.from({ length: 4 }, () => [index]),
    'constant(5)',
    4,
  );
  const scheduler = overlapBlend(policy, { space: position, clock, rule, frozen, threshold: 1 });
  step(scheduler, clock);
  await clock.runUntil(clock.now() + 10);
  step(scheduler, clock);
  await clock.runUntil(clock.now() + 10);
  const out = [];
  for (let i = 0; i < 4; i++) out.push(step(scheduler, clock, { observation: null })?.values[0] ?? null);
  return out;
}

function near(actual: readonly (number | null)[], expected: readonly number[]): void {
  expected.forEach((value, i) => {
    assert.ok(
      Math.abs((actual[i] ?? Number.NaN) - value) < 1e-12,
      `${actual.join(' ')} is not ${expected.join(' ')}`,
    );
  });
}

test('blend rules on an overlap of three rows', async () => {
  near(await blended('weighted_average'), [0.7, 0.7, 0.7]);
  near(await blended('average'), [0.5, 0.5, 0.5]);
  near(await blended('conservative'), [0.3, 0.3, 0.3]);
  near(await blended('latest_only'), [1, 1, 1]);
  near(await blended('linear'), [0.25, 0.5, 0.75]);
  const old = (c: number): number => (c * (Math.E ** c - 1)) / (Math.E - 1);
  near(await blended('exponential'), [1 - old(0.75), 1 - old(0.5), 1 - old(0.25)]);
  near(await blended('linear', 1), [0, 1 / 3, 2 / 3]);
});

test('future state rolls positions and deltas forward, and its first row waits for that moment', async () => {
  const space: ActionSpace = {
    name: 'two',
    dimensions: [
      { name: 'p', kind: 'position', unit: 'm', state: { index: 1, scale: 10 } },
      { name: 'd', kind: 'delta', unit: '1', state: { index: 0, scale: 0.5 } },
    ],
  };
  const rows = ({ index }: { index: number }) =>
    Array.from({ length: 6 }, (_, r) => [100 * index + r, r + 1]);
  const { clock, policy, calls } = bench(['p', 'd'], rows, 'constant(5)', 6);
  const scheduler = futureState(policy, { space, clock, ahead: 2, threshold: 0.5 });
  const state = [7, 8, 9];
  const left: (number | undefined)[] = [];
  for (let i = 0; i < 8; i++) {
    left.push(step(scheduler, clock, { state })?.values[0]);
    await clock.runUntil(clock.now() + 10);
  }
  // asked with rows 0..2 gone: rows 3 and 4 are still executed, the new chunk starts at the next
  assert.equal(left, [undefined, 0, 1, 2, 3, 4, 100, 101]);
  assert.equal(calls[0]!.observation.state, Float64Array.from(state));
  assert.equal(calls[1]!.observation.state, Float64Array.from([7 + 0.5 * (4 + 5), 10 * 4, 9]));
  assert.equal(state, [7, 8, 9], "the caller's state is not touched");
});

test('future state needs to know where the state is', async () => {
  const { policy } = bench(['p'], numbered(2), 'constant(5)', 2);
  try {
    futureState(policy, { space: position, ahead: 1 });
    assert.unreachable();
  } catch (error) {
    assert.is((error as SemanticVlaError).code, 'OPTION_INVALID');
  }
});

test('a change of instruction and a reset throw away what is planned and under way', async () => {
  for (const change of ['instruction', 'reset'] as const) {
    const { clock, policy, calls } = bench(['p'], numbered(6), 'constant(15)', 6);
    const scheduler = temporalEnsemble(policy, { space: position, clock });
    await run(scheduler, clock, 4);
    if (change === 'reset') scheduler.reset();
    await clock.runUntil(clock.now() + 1);
    const instruction = change === 'reset' ? 'go' : 'stop';
    assert.is(step(scheduler, clock, { instruction }), null, change);
    assert.is(scheduler.epoch, 1);
    const asked = calls.length;
    await clock.runUntil(clock.now() + 30);
    // row 0 of the first call that was made afterwards, for that call's observation
    assert.is(step(scheduler, clock, { instruction })!.values[0], 100 * (asked - 1));
    assert.is(calls[asked - 1]!.instruction, instruction);
  }
});

test('a scheduled policy is a policy: predict gives one row at a time', async () => {
  const { clock, policy, calls } = bench(['p'], numbered(3), 'constant(5)', 3);
  const scheduler = openLoop(policy, { space: position, clock });
  const rows: number[] = [];
  for (let i = 0; i < 5; i++) {
    const asked = scheduler.predict({ images: {} }, { instruction: 'go' });
    await clock.runUntil(clock.now() + 10);
    const chunk = await asked;
    assert.equal(chunk.shape, [1, 1]);
    rows.push(chunk.actions[0]!);
  }
  assert.equal(rows, [0, 1, 2, 100, 101]);
  assert.is(calls.length, 2);
  await scheduler.close();
  await scheduler.predict({ images: {} }, { instruction: 'go' }).then(
    () => assert.unreachable(),
    (error: SemanticVlaError) => assert.is(error.code, 'CLOSED'),
  );
});

test('predict tells what went wrong, and the next call is its own', async () => {
  const { clock, policy } = bench(
    ['p'],
    ({ index }) => [[index === 0 ? Number.NaN : index]],
    'constant(5)',
    1,
  );
  const scheduler = openLoop(policy, { space: position, clock });
  const first = scheduler.predict({ images: {} }, { instruction: 'go' }).catch((error: unknown) => error);
  await clock.runUntil(clock.now() + 10);
  assert.is(((await first) as SemanticVlaError).code, 'ACTION_NOT_FINITE');
  const second = scheduler.predict({ images: {} }, { instruction: 'go' });
  await clock.runUntil(clock.now() + 20);
  assert.is((await second).actions[0], 1);
  const controller = new AbortController();
  const third = scheduler.predict({ images: {} }, { instruction: 'go', signal: controller.signal });
  third.catch(() => {});
  await clock.runUntil(clock.now() + 1);
  controller.abort(new Error('enough'));
  await third.then(
    () => assert.unreachable(),
    (error: Error) => assert.is(error.message, 'enough'),
  );
});

test('the first latency is kept apart', async () => {
  const latencies = [500, 10, 20];
  const { clock, policy } = bench(['p'], numbered(1), 'constant(0)', 1);
  const scheduler = openLoop(
    {
      platform: policy.platform,
      dimensions: policy.dimensions,
      variant: policy.variant,
      imageSize: policy.imageSize,
      patchGrid: 1,
      notices: [],
      stages: policy.stages.bind(policy),
      close: () => policy.close(),
      [Symbol.asyncDispose]: () => policy.close(),
      predict: async (...args) => {
        const ms = latencies.shift() ?? 30;
        await new Promise<void>((resolve) => {
          clock.at(clock.now() + ms, resolve);
        });
        const chunk = policy.predict(...args);
        return chunk;
      },
    },
    { space: position, clock },
  );
  await run(scheduler, clock, 60);
  assert.ok(scheduler.latency.first! >= 500);
  assert.ok(scheduler.latency.max < 50, `${scheduler.latency.max}`);
});

test.run();
