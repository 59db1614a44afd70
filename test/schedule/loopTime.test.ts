/** Order of time: older observations, coarse clocks, clocks that go back, and readings that cannot be. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ActionSpace } from '../../lib/schedule/actionSpace.ts';
import { asynchronous } from '../../lib/schedule/asynchronous.ts';
import { type Clock, instantAfter } from '../../lib/schedule/clock.ts';
import { type ControlLoopOptions, startControlLoop } from '../../lib/schedule/controlLoop.ts';
import { futureState } from '../../lib/schedule/futureState.ts';
import type { LoopEvent, SentAction } from '../../lib/schedule/loopEvents.ts';
import { openLoop } from '../../lib/schedule/openLoop.ts';
import { overlapBlend } from '../../lib/schedule/overlapBlend.ts';
import type { ActionScheduler, ScheduleOptions } from '../../lib/schedule/scheduler.ts';
import { temporalEnsemble } from '../../lib/schedule/temporalEnsemble.ts';
import { VirtualClock } from '../../lib/schedule/virtualClock.ts';
import type { SemanticVlaError } from '../../lib/support/errors.ts';
import type { ActionChunk, Observation, Policy } from '../../lib/types.ts';

const test = suite('loop time');

const space: ActionSpace = {
  name: 'one',
  dimensions: [{ name: 'p', kind: 'position', unit: 'm', state: { index: 0, scale: 1 } }],
};

/** `rows(call, observation)`: [C]. */
function policyOf(rows: (call: number, observation: Observation) => readonly number[]): Policy {
  let calls = 0;
  return {
    platform: {
      name: 'custom',
      cameras: [],
      proprio: true,
      centerCrop: false,
      jpeg: false,
      chunk: 8,
      normalization: 'minmax',
    },
    dimensions: ['p'],
    variant: 'test',
    imageSize: 224,
    patchGrid: 16,
    notices: [],
    predict: async (observation, { instruction }): Promise<ActionChunk> => {
      const actions = Float64Array.from(rows(calls++, observation));
      return {
        actions,
        normalized: new Float32Array(actions.length),
        shape: [actions.length, 1],
        dimensions: ['p'],
        keptPatches: {},
        similarity: {},
        timings: { total: 1 },
        instruction,
        unnormKey: 'k',
      };
    },
    stages: async () => new Map(),
    close: async () => {},
    [Symbol.asyncDispose]: async () => {},
  };
}

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

interface Told {
  readonly sent: SentAction[];
  readonly events: LoopEvent[];
}

function listen(): Told & Pick<ControlLoopOptions, 'act' | 'onEvent'> {
  const sent: SentAction[] = [];
  const events: LoopEvent[] = [];
  return { sent, events, act: (action) => sent.push(action), onEvent: (event) => events.push(event) };
}

/** A clock that jumps by `by`; `strict`: what is due waits for the time that it shows, as with a timer that looks again. */
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

const joint: ActionSpace = {
  name: 'joint',
  dimensions: [{ name: 'p', kind: 'position', unit: 'rad', range: [-3, 3], state: { index: 0, scale: 1 } }],
};

/** A loop at 20 Hz whose joint reads `read(ms since the start)` and is told to go to 0.1. */
async function runJoint(
  read: (ms: number) => number | undefined,
  limits: ControlLoopOptions['limits'],
  where = joint,
  ms = 2000,
): Promise<Told> {
  const clock = new VirtualClock(1000);
  const told = listen();
  const loop = startControlLoop({
    scheduler: asynchronous(
      policyOf(() => Array.from({ length: 8 }, () => 0.1)),
      { space: where, clock },
    ),
    rate: 20,
    maxAge: 2000,
    instruction: 'go',
    clock,
    ...(limits === undefined ? {} : { limits }),
    observe: () => {
      const state = read(clock.now() - 1000);
      return {
        observation: { images: {}, ...(state === undefined ? {} : { state: [state] }) },
        at: clock.now(),
      };
    },
    act: told.act,
    onEvent: told.onEvent!,
  });
  await clock.runUntil(1000 + ms);
  await loop.stop();
  return told;
}

test('a reading that cannot be holds, is named, and is forgotten when a good one comes', async () => {
  for (const wrong of [50, -1e6, 1e308, Number.NaN, Number.POSITIVE_INFINITY, 3.4]) {
    for (const from of [0, 500]) {
      const told = await runJoint((ms) => (ms >= from && ms < from + 200 ? wrong : 0), {
        maxVelocity: { p: 2 },
      });
      const held = told.events.filter(
        (event) => event.type === 'hold' && event.reason === 'readingImpossible',
      );
      assert.is(held.length, 4, `${wrong} from ${from}`);
      assert.ok(held.every((event) => event.type === 'hold' && event.dimension === 'p'));
      const errors = told.events.filter((event) => event.type === 'observation');
      for (const { error } of errors) assert.is((error as SemanticVlaError).code, 'STATE_INVALID');
      assert.match(String(errors[0]!.error), /dimension p/);
      for (const { values } of told.sent) assert.ok(Math.abs(values[0]!) <= 0.1);
      assert.is(told.sent.filter(({ held: reason }) => reason === null).length > 25, true);
    }
  }
});

test('a reading a little outside is the end itself: what leaves is inside', async () => {
  const told = await runJoint((ms) => (ms < 100 ? 3.1 : 3), { maxStep: { p: 0.25 } });
  const moves = told.sent.filter(({ held }) => held === null).map(({ values }) => values[0]!);
  assert.is(moves[0], 2.75);
  assert.ok(Math.abs(moves.at(-1)! - 0.1) < 1e-12);
});

test('a jump that no joint can make holds; when it stays there, the robot goes on from there', async () => {
  const endless: ActionSpace = {
    name: 'rail',
    dimensions: [{ name: 'p', kind: 'position', unit: 'm', state: { index: 0, scale: 1 } }],
  };
  const limits = { maxStep: { p: 0.1 } };
  const glitch = await runJoint((ms) => (ms === 500 ? 50 : 0), limits, endless);
  assert.is(glitch.sent.filter(({ held }) => held === 'readingImpossible').length, 1);
  assert.ok(glitch.sent.every(({ values }) => Math.abs(values[0]! - 0.1) < 0.1));
  const moved = await runJoint((ms) => (ms < 500 ? 0 : 5), limits, endless);
  assert.is(moved.sent.filter(({ held }) => held === 'readingImpossible').length, 2);
  const place = moved.sent.findLastIndex(({ held }) => held === 'readingImpossible');
  assert.is(moved.sent[place + 1]!.values[0], 4.9);
});

test('a wrong reading does not lead a delta out of its workspace', async () => {
  const delta: ActionSpace = {
    name: 'delta',
    dimensions: [{ name: 'p', kind: 'delta', unit: 'm', state: { index: 0, scale: 1 } }],
  };
  const clock = new VirtualClock(1000);
  const told = listen();
  let place = 0;
  let looks = 0;
  const loop = startControlLoop({
    scheduler: asynchronous(
      policyOf(() => new Array<number>(8).fill(0.1)),
      { space: delta, clock },
    ),
    rate: 20,
    maxAge: 2000,
    instruction: 'go',
    clock,
    limits: { workspace: { p: [-1, 1] } },
    observe: () => ({
      observation: { images: {}, state: [looks++ % 5 === 4 ? -0.9 : place] },
      at: clock.now(),
    }),
    act: (action) => {
      told.sent.push(action);
      place += action.values[0]!;
    },
    onEvent: told.onEvent!,
  });
  await clock.runUntil(4000);
  await loop.stop();
  assert.ok(loop.counters.held.readingImpossible >= 8);
  assert.ok(place > 0.9 && place <= 1 + 1e-9, `${place}`);
});

test('outside of the workspace nothing begins to move, and nothing is sent there', async () => {
  const limits = { maxStep: { p: 0.1 }, workspace: { p: [-1, 1] as const } };
  const told = await runJoint((ms) => (ms < 500 ? 2 : 0.9), limits);
  assert.ok(told.events.some((event) => event.type === 'hold' && event.reason === 'outsideWorkspace'));
  const moves = told.sent.filter(({ held }) => held === null);
  assert.ok(moves.length > 10 && moves.every(({ values }) => Math.abs(values[0]!) <= 1));
});

test('an angle leaves as its range writes it, and what has gone round too often is none', async () => {
  const ranges = [[-Math.PI, Math.PI], [0, 2 * Math.PI], undefined] as const;
  for (const range of ranges) {
    for (const value of [100, -7, 1e5, 1e17, -1e308, 3]) {
      const clock = new VirtualClock(1000);
      const told = listen();
      const loop = startControlLoop({
        scheduler: openLoop(
          policyOf(() => [value]),
          { space: angleSpace(range), clock },
        ),
        rate: 20,
        maxAge: 1000,
        instruction: 'go',
        clock,
        observe: () => ({ observation: { images: {}, state: [0] }, at: clock.now() }),
        act: told.act,
        onEvent: told.onEvent!,
      });
      await clock.runUntil(1500);
      const [action] = told.sent;
      if (Math.abs(value) > 1e16) {
        assert.is(action, undefined);
        assert.ok(loop.counters.held.outOfRange > 0);
      } else {
        const [low, high] = range ?? [-2 * Math.PI, 2 * Math.PI];
        const left = action!.values[0]!;
        assert.ok(left >= low && left <= high, `${value} left as ${left}`);
        assert.ok(Math.abs(Math.sin((left - value) / 2)) < 1e-9);
      }
      await loop.stop();
    }
  }
});

function angleSpace(range: readonly [number, number] | undefined): ActionSpace {
  return {
    name: 'angle',
    dimensions: [
      {
        name: 'p',
        kind: 'angle',
        unit: 'rad',
        state: { index: 0, scale: 1 },
        ...(range === undefined ? {} : { range }),
      },
    ],
  };
}

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

test('spaces and limits that would switch a limit off in silence are refused', () => {
  const clock = new VirtualClock();
  const base = { rate: 20, maxAge: 1000, instruction: 'go', clock, observe: () => null, act: () => {} };
  const p = space.dimensions[0]!;
  const wrong: [object, object][] = [
    [{ ...p, state: { index: 0, scale: 0 } }, {}],
    [{ ...p, kind: 'delta', state: { index: 0, scale: 0 } }, { workspace: { p: [-1, 1] } }],
    [{ ...p, kind: 'delta', range: [0.1, 1] }, {}],
    [{ ...p, range: [-1e308, 1.7e308] }, {}],
    [p, { maxAcceleration: { p: 1e-322 } }],
    [p, { workspace: { p: [Number.NaN, 1] } }],
    [p, { workspace: { p: '19' } }],
    [p, { maxStep: { p: '1' } }],
    [p, { statistics: { min: [Number.NEGATIVE_INFINITY], max: [Number.POSITIVE_INFINITY] }, margin: 0 }],
  ];
  for (const [dimension, limits] of wrong) {
    assert.throws(
      () => {
        const where = { name: 's', dimensions: [dimension] } as unknown as ActionSpace;
        const scheduler = asynchronous(
          policyOf(() => [0]),
          { space: where, clock },
        );
        startControlLoop({ ...base, scheduler, limits });
      },
      (error: SemanticVlaError) => error.code === 'OPTION_INVALID',
      JSON.stringify([dimension, limits]),
    );
  }
});

test.run();
