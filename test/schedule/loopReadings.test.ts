/**
 * Readings of the robot: impossible ones are reported and not acted upon, and everything sent stays inside range and workspace.
 */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ActionSpace } from '../../lib/schedule/actionSpace.ts';
import { asynchronous } from '../../lib/schedule/asynchronous.ts';
import { type ControlLoopOptions, startControlLoop } from '../../lib/schedule/controlLoop.ts';
import { openLoop } from '../../lib/schedule/openLoop.ts';
import { VirtualClock } from '../../lib/schedule/virtualClock.ts';
import type { SemanticVlaError } from '../../lib/support/errors.ts';
import { listen, policyOf, type Told } from './rowPolicy.ts';

const test = suite('loop readings');

const space: ActionSpace = {
  name: 'one',
  dimensions: [{ name: 'p', kind: 'position', unit: 'm', state: { index: 0, scale: 1 } }],
};

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
