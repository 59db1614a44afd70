/** Order in time: older observations, coarse clocks, clocks that go back, and chunks that are long or steeply weighted. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ActionSpace } from '../../lib/schedule/actionSpace.ts';
import { asynchronous } from '../../lib/schedule/asynchronous.ts';
import { type Clock, instantAfter } from '../../lib/schedule/clock.ts';
import { startControlLoop } from '../../lib/schedule/controlLoop.ts';
import { futureState } from '../../lib/schedule/futureState.ts';
import { openLoop } from '../../lib/schedule/openLoop.ts';
import { overlapBlend } from '../../lib/schedule/overlapBlend.ts';
import type { ActionScheduler, ScheduleOptions } from '../../lib/schedule/scheduler.ts';
import { temporalEnsemble } from '../../lib/schedule/temporalEnsemble.ts';
import { VirtualClock } from '../../lib/schedule/virtualClock.ts';
import type { Policy } from '../../lib/types.ts';
import { listen, policyOf } from './rowPolicy.ts';

const test = suite('loop time');

const space: ActionSpace = {
  name: 'one',
  dimensions: [{ name: 'p', kind: 'position', unit: 'm', state: { index: 0, scale: 1 } }],
};

const modes: Readonly<Record<string, (policy: Policy, options: ScheduleOptions) => ActionScheduler>> = {
  openLoop: (policy, options) => openLoop(policy, { ...options, executeHorizon: 2 }),
  asynchronous: (policy, options) => asynchronous(policy, { ...options, threshold: 1 }),
  overlapBlend: (policy, options) => overlapBlend(policy, { ...options, rule: 'latest_only', threshold: 1 }),
  temporalEnsemble: (policy, options) => temporalEnsemble(policy, options),
  futureState: (policy, options) => futureState(policy, { ...options, ahead: 1, threshold: 1 }),
};

for (const [name, make] of Object.entries(modes)) {
  test(`${name}: after a question that failed, an older picture does not take over`, async () => {
    const clock = new VirtualClock(1000);
    const frames = [900, 980, 990, 950, 940, 930];
    const newest: number[] = [];
    const policy = policyOf((call) => {
      if (call === 2) throw new Error('lost');
      return Array.from({ length: 10 }, (_, r) => 100 * call + r);
    });
    const loop = startControlLoop({
      scheduler: make(policy, { space, clock }),
      rate: 20,
      maxAge: 5000,
      instruction: 'go',
      clock,
      observe: () => ({
        observation: { images: {}, state: [0] },
        at: frames.length > 1 ? frames.shift()! : frames[0]!,
      }),
      act: ({ newestObservedAt }) => newestObservedAt !== null && newest.push(newestObservedAt),
    });
    await clock.runUntil(1600);
    await loop.stop();
    assert.ok(newest.length > 0);
    assert.equal(
      newest,
      newest.toSorted((a, b) => a - b),
    );
  });

  test(`${name}: at one reading of a clock, however large, each prediction is its own`, async () => {
    for (const start of [0, -5, 1.7e12, 2 ** 53, 1e17]) {
      const clock = new VirtualClock(start);
      const scheduler = make(
        policyOf((_, { state }) => [state![0]!]),
        { space, clock },
      );
      for (const value of [1, 2, 3]) {
        const { actions } = await scheduler.predict({ images: {}, state: [value] }, { instruction: 'go' });
        assert.is(actions[0], value);
      }
      scheduler.reset();
      const { actions } = await scheduler.predict({ images: {}, state: [9] }, { instruction: 'go' });
      assert.is(actions[0], 9, `after a reset at ${start}`);
      // a picture of the instant of the reset, or before, shows the other episode
      const now = clock.now();
      scheduler.reset();
      const tick = { observation: { images: {}, state: [7] }, now, oldest: now - 1000, instruction: 'go' };
      for (const observedAt of [now - 1, now]) {
        assert.is(scheduler.tick({ ...tick, observedAt }), null);
        await clock.runUntil(clock.now());
        assert.is(scheduler.tick({ ...tick, observedAt }), null, `${observedAt} after a reset at ${now}`);
      }
    }
  });
}

test('the instant after is the next number', () => {
  for (const time of [0, 1, -1, 1.7e12, -1e17, 5e-324, -5e-324]) {
    const after = instantAfter(time);
    assert.ok(after > time);
    const middle = time + (after - time) / 2;
    assert.ok(middle === time || middle === after);
  }
});

/** A clock that jumps by `by`; `strict`: due callbacks wait for the time that it shows, as with a timer that checks again. */
class JumpingClock implements Clock {
  readonly base: VirtualClock;
  offset = 0;
  readonly #strict: boolean;

  constructor(base: VirtualClock, strict: boolean) {
    this.base = base;
    this.#strict = strict;
  }

  now(): number {
    return this.base.now() + this.offset;
  }

  at(time: number, callback: () => void): () => void {
    const run = (): void => {
      if (this.#strict && this.now() < time) cancel = this.base.at(time - this.offset, run);
      else callback();
    };
    let cancel = this.base.at(time - this.offset, run);
    return () => cancel();
  }
}

test('a clock that goes back: told, a HOLD, and the robot goes on from what is seen after', async () => {
  for (const back of [60, 400, 3_600_000]) {
    const base = new VirtualClock(10_000_000);
    const clock = new JumpingClock(base, false);
    const told = listen();
    const asked: number[] = [];
    const loop = startControlLoop({
      scheduler: asynchronous(
        policyOf((_, { state }) => {
          asked.push(state![0]!);
          return Array.from({ length: 8 }, (_, r) => state![0]! + r);
        }),
        { space, clock, threshold: 0.5 },
      ),
      rate: 20,
      maxAge: 1000,
      instruction: 'go',
      clock,
      observe: () => ({ observation: { images: {}, state: [base.now()] }, at: clock.now() }),
      act: told.act,
      onEvent: told.onEvent!,
    });
    await base.runUntil(10_000_500);
    clock.offset = -back;
    const before = told.sent.length;
    const questions = asked.length;
    await base.runUntil(10_001_000);
    const [event] = told.events.filter(({ type }) => type === 'clock');
    assert.ok(event?.type === 'clock' && event.back > 0 && event.back <= back, `${back} ms`);
    const after = told.sent.slice(before);
    assert.is(after[0]!.held, 'clockBack');
    assert.is(loop.counters.held.clockBack, 1);
    assert.ok(after.length >= 8, `${after.length} sent in half a second`);
    const moves = after.filter(({ held }) => held === null);
    assert.ok(moves.length >= 4);
    // nothing rests on what was seen before
    for (const { observedAt, values } of moves) {
      assert.ok(observedAt! > event.at && values[0]! >= asked[questions]!);
    }
    await loop.stop();
  }
});

test('a clock whose timers wait for a time that is hours away: looked at all the same', async () => {
  const base = new VirtualClock(10_000_000);
  const clock = new JumpingClock(base, true);
  const told = listen();
  const loop = startControlLoop({
    scheduler: asynchronous(
      policyOf(() => [1, 2, 3, 4, 5, 6, 7, 8]),
      { space, clock },
    ),
    rate: 20,
    maxAge: 1000,
    instruction: 'go',
    clock,
    observe: () => ({ observation: { images: {}, state: [0] }, at: clock.now() }),
    act: told.act,
    onEvent: told.onEvent!,
  });
  await base.runUntil(10_000_490);
  clock.offset = -3_600_000;
  for (let i = 0; loop.counters.held.clockBack === 0 && i < 500; i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const before = told.sent.length;
  assert.is(told.sent.at(-1)!.held, 'clockBack');
  await base.runUntil(10_001_000);
  assert.ok(told.sent.length > before + 8);
  await loop.stop();
});

test('a driver whose time goes back gets nothing of what was planned before', async () => {
  const clock = new VirtualClock(5000);
  const scheduler = asynchronous(
    policyOf((call) => [100 * call, 100 * call + 1]),
    { space, clock },
  );
  const tick = (now: number) =>
    scheduler.tick({
      observation: { images: {}, state: [0] },
      observedAt: now,
      now,
      oldest: now - 1000,
      instruction: 'go',
    });
  const settled = () => clock.runUntil(clock.now());
  tick(5000);
  await settled();
  const first = tick(5010)!;
  assert.is(first.values[0], 0);
  scheduler.executed(first.values, 5010);
  assert.is(tick(1000), null);
  assert.is(scheduler.epoch, 1);
  tick(1010);
  await settled();
  assert.is(tick(1020)!.values[0], 100);
});

test('weights of any steepness: one prediction has all the weight', async () => {
  for (const [m, wanted] of [
    [-1e308, 7],
    [1e308, 0],
  ] as const) {
    const clock = new VirtualClock(1000);
    const told = listen();
    const loop = startControlLoop({
      scheduler: temporalEnsemble(
        policyOf((call) => Array.from({ length: 8 }, () => call)),
        { space, clock, m },
      ),
      rate: 20,
      maxAge: 1000,
      instruction: 'go',
      clock,
      observe: () => ({ observation: { images: {}, state: [0] }, at: clock.now() }),
      act: told.act,
      onEvent: told.onEvent!,
    });
    await clock.runUntil(1000 + 8 * 50);
    assert.is(told.sent.filter(({ held }) => held === null).length, 8);
    assert.is(told.sent.at(-1)!.values[0], wanted);
    await loop.stop();
  }
});

test('a long chunk is read once, not added up anew at every tick', async () => {
  for (const kind of ['position', 'delta'] as const) {
    const clock = new VirtualClock(1000);
    const rows = 400;
    const scheduler = temporalEnsemble(
      policyOf(() => new Array<number>(rows).fill(0.001)),
      { space: { name: 's', dimensions: [{ name: 'p', kind, unit: 'm' }] }, clock },
    );
    const { subarray } = Float64Array.prototype;
    let reads = 0;
    Float64Array.prototype.subarray = function (...args) {
      reads++;
      return subarray.apply(this, args);
    };
    try {
      for (let i = 0; i < 200; i++) {
        await scheduler.predict({ images: {}, state: [0] }, { instruction: 'go' });
        await clock.runUntil(clock.now() + 10);
      }
    } finally {
      Float64Array.prototype.subarray = subarray;
    }
    // each of up to 200 chunks gives its row of now, and a delta the one before: not its up to 200 rows before that
    assert.ok(reads > 200 && reads <= 2.5 * ((200 * 201) / 2), `${kind}: ${reads} rows read`);
  }
});

test.run();
