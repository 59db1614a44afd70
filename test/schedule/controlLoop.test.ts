/** The loop in virtual time: deadlines, HOLD, freshness, how it ends. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ActionSpace } from '../../lib/schedule/actionSpace.ts';
import { asynchronous } from '../../lib/schedule/asynchronous.ts';
import { monotonicClock } from '../../lib/schedule/clock.ts';
import {
  type ControlLoop,
  type ControlLoopOptions,
  startControlLoop,
} from '../../lib/schedule/controlLoop.ts';
import type { LoopEvent, SentAction } from '../../lib/schedule/loopEvents.ts';
import { openLoop } from '../../lib/schedule/openLoop.ts';
import { VirtualClock } from '../../lib/schedule/virtualClock.ts';
import type { SemanticVlaError } from '../../lib/support/errors.ts';
import { bench, position } from './helpers.ts';

const test = suite('controlLoop');

const space: ActionSpace = {
  name: 'two',
  dimensions: [
    { name: 'p', kind: 'position', unit: 'm' },
    { name: 'd', kind: 'delta', unit: 'm' },
  ],
};

interface Started {
  readonly clock: VirtualClock;
  readonly loop: ControlLoop;
  readonly sent: SentAction[];
  readonly events: LoopEvent[];
}

/** A loop at 100 Hz whose policy answers 4 rows [row, 1] after 15 ms. */
function start(options: Partial<ControlLoopOptions> = {}): Started {
  const rows = () => [0, 1, 2, 3].map((r) => [r, 1]);
  const { clock, policy } = bench(['p', 'd'], rows, 'constant(15)', 4);
  const sent: SentAction[] = [];
  const events: LoopEvent[] = [];
  const loop = startControlLoop({
    scheduler: openLoop(policy, { space, clock }),
    rate: 100,
    maxAge: 1000,
    instruction: 'go',
    observe: () => ({ observation: { images: {} }, at: clock.now() }),
    act: (action) => {
      sent.push(action);
    },
    onEvent: (event) => events.push(event),
    clock,
    ...options,
  });
  return { clock, loop, sent, events };
}

test('executes, then holds: the last position, and no movement', async () => {
  const { clock, loop, sent } = start();
  await clock.runUntil(clock.now() + 75);
  assert.equal(
    sent.map(({ values, held }) => [...values, held]),
    [
      [0, 1, null],
      [1, 1, null],
      [2, 1, null],
      [3, 1, null],
      [3, 0, 'idle'],
      [3, 0, 'idle'],
    ],
  );
  // nothing had been sent before the first answer, so there was nothing to repeat
  assert.is(loop.counters.silent, 2);
  assert.is(loop.counters.held.idle, 4);
});

test('what a limit changes is sent, and told with the limit', async () => {
  const { clock, loop, sent, events } = start({ limits: { maxStep: { d: 0.25 } } });
  await clock.runUntil(clock.now() + 35);
  assert.equal(
    sent.map(({ values }) => [...values]),
    [
      [0, 0.25],
      [1, 0.25],
    ],
  );
  const limited = events.filter(({ type }) => type === 'limited');
  assert.equal(
    limited.map((event) => ({ ...event, at: 0 })),
    [0, 1].map(() => ({ type: 'limited', at: 0, dimensions: ['d'], limits: ['step'] })),
  );
  assert.is(loop.counters.limited, 2);
});

test('without hold nothing is sent while there is nothing', async () => {
  const { clock, sent } = start({ hold: false });
  await clock.runUntil(clock.now() + 75);
  assert.is(sent.length, 4);
});

test('ticks keep to their deadlines: errors do not add up, missed ones are counted and skipped', async () => {
  const clock = new VirtualClock(5000);
  const times: number[] = [];
  const { loop } = start({
    clock,
    observe: () => {
      times.push(clock.now());
      if (times.length === 4) clock.stall(35);
      else clock.stall(3);
      return null;
    },
  });
  await clock.runUntil(5100);
  // 30 ms + 35: the deadlines at 40, 50 and 60 pass; two are missed, one is late
  assert.equal(times, [5000, 5010, 5020, 5030, 5065, 5070, 5080, 5090, 5100]);
  assert.is(loop.counters.missedTicks, 2);
  assert.is(loop.counters.lateness.max, 25);
});

test('a hundred thousand ticks of a period that is no binary fraction do not drift', async () => {
  const clock = new VirtualClock(0);
  let last = 0;
  let ticks = 0;
  const { loop } = start({
    clock,
    rate: 30,
    observe: () => {
      last = clock.now();
      ticks++;
      return null;
    },
  });
  await clock.runUntil(100_000 / 3);
  assert.is(ticks, 1001);
  assert.ok(Math.abs(last - 100_000 / 3) < 1e-6);
  await loop.stop();
});

test('an action from an observation older than maxAge does not leave', async () => {
  const { clock, sent, loop } = start({ maxAge: 32 });
  await clock.runUntil(clock.now() + 300);
  for (const { held, at, observedAt } of sent) {
    if (held === null) assert.ok(at - observedAt! <= 32);
  }
  // rows 0 and 1 are 20 and 30 ms old; row 2 would be 40
  assert.equal([...new Set(sent.filter(({ held }) => held === null).map(({ values }) => values[0]))], [0, 1]);
  assert.is(loop.counters.held.stale, 0, 'the scheduler itself does not propose it');
});

test('a camera that stands still: HOLD, and it is said why', async () => {
  let frozen: number | null = null;
  const { clock, loop } = start({
    maxAge: 50,
    observe: () => ({ observation: { images: {} }, at: frozen ?? clock.now() }),
  });
  await clock.runUntil(clock.now() + 100);
  frozen = clock.now();
  await clock.runUntil(clock.now() + 200);
  const { executed } = loop.counters;
  await clock.runUntil(clock.now() + 200);
  assert.is(loop.counters.executed, executed);
  assert.ok(loop.counters.held.observationLate >= 20);
});

test('observations of the future and sensors that throw are refused, and the loop goes on', async () => {
  const broken = new Error('no frame');
  const times = [0, 3_600_000];
  const { clock, loop, events } = start({
    observe: () => {
      const ahead = times.shift();
      if (ahead === undefined) throw broken;
      return { observation: { images: {} }, at: clock.now() + ahead };
    },
  });
  await clock.runUntil(clock.now() + 45);
  assert.is(loop.counters.refusedObservations, 4);
  const errors = events.filter((event) => event.type === 'observation').map(({ error }) => error);
  assert.is((errors[0] as SemanticVlaError).code, 'OBSERVATION_INVALID');
  assert.is(errors[1], broken);
  assert.ok(loop.counters.executed > 0 && loop.running);
});

test('limits that leave no way: HOLD', async () => {
  const { policy, clock } = bench(['p'], () => [[5]], 'constant(5)', 1);
  const held: LoopEvent[] = [];
  const loop = startControlLoop({
    scheduler: asynchronous(policy, {
      space: { name: 'j', dimensions: [{ ...position.dimensions[0]!, state: { index: 0, scale: 1 } }] },
      clock,
    }),
    rate: 100,
    maxAge: 100,
    instruction: 'go',
    observe: () => ({ observation: { images: {} }, at: clock.now() }),
    act: () => assert.unreachable(),
    limits: { maxStep: { p: 1 } },
    clock,
    onEvent: (event) => held.push(event),
  });
  await clock.runUntil(clock.now() + 50);
  assert.ok(loop.counters.held.positionUnknown > 0);
  assert.ok(held.some((event) => event.type === 'hold' && event.dimension === 'p'));
});

test('an instruction takes effect at the next tick', async () => {
  const { clock, loop, sent } = start();
  await clock.runUntil(clock.now() + 35);
  assert.is(sent.length, 2);
  loop.setInstruction('stop');
  await clock.runUntil(clock.now() + 100);
  assert.equal(
    sent.slice(2, 5).map(({ held, instruction }) => [held, instruction]),
    [
      ['idle', 'stop'],
      ['idle', 'stop'],
      [null, 'stop'],
    ],
  );
});

test('stop sends a last HOLD; the signal does the same; twice is fine; late is an error', async () => {
  const controller = new AbortController();
  const { clock, loop, sent, events } = start({ signal: controller.signal });
  await clock.runUntil(clock.now() + 35);
  controller.abort();
  await loop.done;
  assert.is(sent.at(-1)!.held, 'stopped');
  assert.equal([...sent.at(-1)!.values], [1, 0]);
  const { length } = sent;
  await loop.stop();
  await clock.runUntil(clock.now() + 100);
  assert.is(sent.length, length);
  assert.throws(
    () => loop.reset(),
    (error: SemanticVlaError) => error.code === 'CLOSED',
  );
  assert.is(events.at(-1)!.type, 'hold');
  const aborted = start({ signal: AbortSignal.abort() });
  await aborted.loop.done;
  assert.is(aborted.loop.counters.ticks, 0);
});

test('await using ends the loop', async () => {
  let ended: ControlLoop;
  {
    const started = start();
    await using loop = started.loop;
    await started.clock.runUntil(started.clock.now() + 35);
    ended = loop;
  }
  assert.not.ok(ended.running);
});

test('a robot that fails ends the loop with its error, sent at once or later', async () => {
  const broken = new Error('wire cut');
  for (const act of [
    () => {
      throw broken;
    },
    async () => {
      throw broken;
    },
  ]) {
    const { clock, loop } = start({ act });
    await clock.runUntil(clock.now() + 100);
    assert.not.ok(loop.running);
    await loop.stop().then(
      () => assert.unreachable(),
      (error: unknown) => assert.is(error, broken),
    );
  }
});

test('whatever listeners and sensors do in the middle of a tick, nothing leaves after the end or a reset', async () => {
  for (const call of ['stop', 'reset'] as const) {
    for (const place of ['observe', 'request', 'chunk', 'hold'] as const) {
      const rows = () => [0, 1, 2, 3].map((r) => [r]);
      const { clock, policy } = bench(['p'], rows, 'constant(15)', 4);
      const sent: SentAction[] = [];
      let called: number | null = null;
      const maybe = (where: string): void => {
        if (where !== place || called !== null || sent.filter(({ held }) => held === null).length < 2) return;
        called = clock.now();
        if (call === 'stop') loop.stop();
        else loop.reset();
      };
      const loop: ControlLoop = startControlLoop({
        scheduler: asynchronous(policy, {
          space: position,
          clock,
          threshold: 0.5,
          onEvent: ({ type }) => maybe(type),
        }),
        rate: 100,
        maxAge: place === 'hold' ? 25 : 500,
        instruction: 'go',
        observe: () => {
          maybe('observe');
          return { observation: { images: {} }, at: clock.now() };
        },
        act: (action) => {
          sent.push(action);
        },
        onEvent: ({ type }) => maybe(type),
        clock,
      });
      await clock.runUntil(clock.now() + 200);
      const at: number | null = called;
      assert.type(at, 'number', `${call} in ${place} was never reached`);
      const after = sent.filter((action) => action.at >= at! && action.held === null);
      if (call === 'stop') assert.is(after.length, 0, place);
      for (const { observedAt } of after) assert.ok(observedAt! > at!, `${call} in ${place}`);
    }
  }
});

test('options are checked', () => {
  for (const options of [
    { rate: 0 },
    { rate: Number.NaN },
    { maxAge: 0 },
    { instruction: '' },
    { ratte: 5 },
  ]) {
    assert.throws(
      () => start(options as Partial<ControlLoopOptions>),
      /for rate|maxAge|instruction|Misspelled/,
    );
  }
});

test('the real clock never calls early, and cancels', async () => {
  for (const spinMs of [0, 1.5]) {
    const clock = monotonicClock(spinMs);
    const due = clock.now() + 12;
    clock.at(due - 6, () => assert.unreachable())();
    const at = await new Promise<number>((resolve) => {
      clock.at(due, () => resolve(clock.now()));
    });
    assert.ok(at >= due, `${due - at} ms early`);
  }
});

test.run();
