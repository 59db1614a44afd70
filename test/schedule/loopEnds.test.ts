/** Whatever ends a loop and whatever its callbacks do, the last thing sent is a HOLD, it is awaited, and its loss is reported. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ActionSpace } from '../../lib/schedule/actionSpace.ts';
import { asynchronous } from '../../lib/schedule/asynchronous.ts';
import {
  type ControlLoop,
  type ControlLoopOptions,
  startControlLoop,
} from '../../lib/schedule/controlLoop.ts';
import type { LoopEvent, SentAction } from '../../lib/schedule/loopEvents.ts';
import type { ActionScheduler, ScheduleEvent } from '../../lib/schedule/scheduler.ts';
import { VirtualClock } from '../../lib/schedule/virtualClock.ts';
import type { SemanticVlaError } from '../../lib/support/errors.ts';
import type { ActionChunk, Policy } from '../../lib/types.ts';

const test = suite('loop ends');

const space: ActionSpace = {
  name: 'two',
  dimensions: [
    { name: 'p', kind: 'position', unit: 'm' },
    { name: 'd', kind: 'delta', unit: 'm' },
  ],
};

function chunk(rows: readonly (readonly number[])[]): ActionChunk {
  const actions = Float64Array.from(rows.flat());
  return {
    actions,
    normalized: Float32Array.from(actions),
    shape: [rows.length, 2],
    dimensions: ['p', 'd'],
    keptPatches: {},
    similarity: {},
    timings: { total: 1 },
    instruction: 'go',
    unnormKey: 'k',
  };
}

const sound = () => chunk(Array.from({ length: 8 }, (_, r) => [r + 1, 1]));

function policyOf(answer: (call: number) => unknown): Policy {
  let calls = 0;
  return {
    platform: {
      name: 'custom',
      cameras: [],
      proprio: false,
      centerCrop: false,
      jpeg: false,
      chunk: 8,
      normalization: 'minmax',
    },
    dimensions: ['p', 'd'],
    variant: 'test',
    imageSize: 224,
    patchGrid: 16,
    notices: [],
    predict: (() => answer(calls++)) as Policy['predict'],
    stages: async () => new Map(),
    close: async () => {},
    [Symbol.asyncDispose]: async () => {},
  };
}

interface Started {
  readonly clock: VirtualClock;
  readonly loop: ControlLoop;
  readonly scheduler: ActionScheduler;
  readonly sent: SentAction[];
  readonly events: LoopEvent[];
}

function start(
  options: Partial<ControlLoopOptions> & {
    answer?: (call: number) => unknown;
    onSchedule?: (event: ScheduleEvent) => void;
  } = {},
): Started {
  const clock = new VirtualClock(1000);
  const sent: SentAction[] = [];
  const events: LoopEvent[] = [];
  const { answer = async () => sound(), onSchedule = () => {}, act, onEvent, ...rest } = options;
  const scheduler = asynchronous(policyOf(answer), { space, clock, onEvent: onSchedule });
  const loop = startControlLoop({
    scheduler,
    rate: 20,
    maxAge: 1000,
    instruction: 'go',
    clock,
    observe: () => ({ observation: { images: {} }, at: clock.now() }),
    ...rest,
    act: (action) => {
      sent.push(action);
      return act?.(action);
    },
    onEvent: (event) => {
      events.push(event);
      onEvent?.(event);
    },
  });
  return { clock, loop, scheduler, sent, events };
}

/** What `promise` rejects with; null when it resolves. */
function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => null,
    (error: unknown) => error,
  );
}

/** Runs it for `ms`; warnings of callbacks that fail on purpose stay off the screen. */
async function quietly<T>(body: () => Promise<T>): Promise<T> {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return await body();
  } finally {
    process.emitWarning = emitWarning;
  }
}

const raised = new Error('raised');

const ends: Readonly<Record<string, (started: () => Started) => Partial<Parameters<typeof start>[0]>>> = {
  stop: (started) => ({
    observe: () => {
      const { clock, loop, sent } = started();
      if (sent.length === 3) void loop.stop();
      return { observation: { images: {} }, at: clock.now() };
    },
  }),
  'stop in act': (started) => ({
    act: () => {
      if (started().sent.length === 3) void started().loop.stop();
    },
  }),
  'stop in act, which is slow': (started) => ({
    act: async ({ held }) => {
      if (started().sent.length === 3 && held === null) await started().loop.stop();
    },
  }),
  'stop in a listener': (started) => ({
    onEvent: () => {},
    onSchedule: ({ type }) => {
      if (type === 'chunk' && started().sent.length > 3) void started().loop.stop();
    },
  }),
  'the scheduler is closed': (started) => ({
    observe: () => {
      const { clock, scheduler, sent } = started();
      if (sent.length === 3) void scheduler.close();
      return { observation: { images: {} }, at: clock.now() };
    },
  }),
  'act throws once': (started) => ({
    act: () => {
      if (started().sent.length === 3) throw raised;
    },
  }),
  'act throws nothing that can be shown': (started) => ({
    act: () => {
      if (started().sent.length === 3) throw undefined;
    },
  }),
  'act rejects once': (started) => ({
    act: async () => {
      if (started().sent.length === 3) throw raised;
    },
  }),
  'act answers with a thenable that fails': (started) => ({
    act: () =>
      // biome-ignore lint/suspicious/noThenProperty: as some libraries answer
      started().sent.length === 3 ? { then: (_: unknown, no: (e: unknown) => void) => no(raised) } : {},
  }),
  'act answers with a then that throws': (started) => ({
    act: () =>
      started().sent.length === 3
        ? Object.defineProperty({}, 'then', {
            get() {
              throw raised;
            },
          })
        : 7,
  }),
  'the clock shows no time': (started) => ({
    observe: () => {
      const { clock, sent } = started();
      if (sent.length === 3) clock.now = () => Number.NaN;
      return { observation: { images: {} }, at: 1000 };
    },
  }),
  'the signal': (started) => {
    const controller = new AbortController();
    return {
      signal: controller.signal,
      act: () => {
        if (started().sent.length === 3) controller.abort();
      },
    };
  },
};

for (const [name, end] of Object.entries(ends)) {
  for (const hold of [true, false]) {
    test(`${name}${hold ? '' : ', ticks do not hold'}: ends with a HOLD`, async () => {
      let started: Started | null = null;
      started = start({ ...end(() => started!), hold });
      const { clock, loop, sent } = started;
      await clock.runUntil(1600);
      assert.not.ok(loop.running);
      await failureOf(loop.done);
      const { held, values } = sent.at(-1)!;
      assert.is(held, 'stopped');
      assert.equal([...values], [sent.at(-2)!.values[0], 0]);
      assert.is(sent.filter((action) => action.held === 'stopped').length, 1);
      const { length } = sent;
      await VirtualClock.prototype.runUntil.call(clock, 3000);
      assert.is(sent.length, length, 'something was sent after the end');
    });
  }
}

test('whatever act answers, the loop goes on', async () => {
  const answers = [true, 'sent', 0, null, undefined, {}, [], () => {}, Symbol('x'), 5n, Promise.resolve(1)];
  const { clock, loop, sent } = start({ act: () => answers[sent.length % answers.length] });
  await clock.runUntil(3000);
  assert.ok(loop.running && sent.length > 35);
  await loop.stop();
});

test('whatever observe answers, the loop goes on and says what is wrong with it', async () => {
  const wrong: unknown[] = [
    undefined,
    5,
    'frame',
    {},
    { observation: { images: {} } },
    { observation: null, at: 1000 },
    { observation: { images: {} }, at: Number.NaN },
    { observation: { images: {} }, at: Number.NEGATIVE_INFINITY },
    { observation: { images: {} }, at: 5n },
    { observation: { images: {}, state: 'here' }, at: 1000 },
    Promise.resolve({ observation: { images: {} }, at: 1000 }),
    () => Promise.reject(raised),
    {
      get at(): number {
        throw raised;
      },
    },
  ];
  const left = [...wrong];
  const { clock, loop, sent, events } = start({
    observe: (() => {
      if (left.length === 0) return { observation: { images: {} }, at: clock.now() };
      const next = left.shift();
      return typeof next === 'function' ? next() : next;
    }) as () => null,
  });
  await clock.runUntil(1000 + 50 * (wrong.length + 5));
  assert.is(loop.counters.refusedObservations, wrong.length);
  const errors = events.filter((event) => event.type === 'observation').map(({ error }) => error);
  for (const error of errors)
    assert.ok(error === raised || (error as SemanticVlaError).code === 'OBSERVATION_INVALID', String(error));
  assert.ok(sent.length > 3 && loop.running);
  await loop.stop();
});

test('whatever a policy answers, the loop goes on; what is no chunk is refused with a code', async () => {
  const nonsense: unknown[] = [
    undefined,
    null,
    {},
    [[1, 2]],
    'chunk',
    { ...sound(), actions: undefined },
    { ...sound(), actions: [1, 2] },
    { ...sound(), shape: [8, 3] },
    { ...sound(), shape: [0, 2] },
    { ...sound(), dimensions: ['d', 'p'] },
    { ...sound(), actions: sound().actions.fill(Number.NaN) },
    Object.defineProperty({}, 'actions', {
      get() {
        throw raised;
      },
    }),
  ];
  for (const answer of nonsense) {
    for (const wrap of [async (value: unknown) => value, (value: unknown) => value]) {
      const refused: string[] = [];
      const { clock, loop, sent } = start({
        answer: (call) => (call % 2 === 1 ? wrap(answer) : sound()),
        onSchedule: (event) => event.type === 'refused' && refused.push(event.error.code),
      });
      await clock.runUntil(3000);
      assert.ok(loop.running && sent.filter(({ held }) => held === null).length > 20);
      assert.ok(
        refused.length > 0 && refused.every((code) => /^(CHUNK_INVALID|ACTION_NOT_FINITE)$/.test(code)),
      );
      await loop.stop();
    }
  }
});

test('listeners that throw or reject end nothing', () =>
  quietly(async () => {
    const { clock, loop, sent } = start({
      onEvent: () => {
        throw raised;
      },
      onSchedule: () => Promise.reject(raised) as unknown as undefined,
      observe: () => (clock.now() % 100 === 0 ? null : { observation: { images: {} }, at: clock.now() }),
    });
    await clock.runUntil(3000);
    assert.ok(loop.running && sent.length > 30);
    await loop.stop();
    assert.is(sent.at(-1)!.held, 'stopped');
  }));

test('the last HOLD is lost: done and stop tell it, whether act throws, rejects or never settles', async () => {
  const losing: (() => unknown)[] = [
    () => {
      throw raised;
    },
    async () => {
      throw raised;
    },
    () => new Promise(() => {}),
  ];
  for (const [i, lose] of losing.entries()) {
    const { clock, loop, events } = start({ act: ({ held }) => (held === 'stopped' ? lose() : undefined) });
    await clock.runUntil(1500);
    const error = await failureOf(loop.stop());
    if (i < 2) assert.is(error, raised);
    else assert.is((error as SemanticVlaError).code, 'HOLD_UNCONFIRMED');
    assert.is(events.at(-1)!.type, 'holdLost');
    assert.is(await failureOf(loop.done), error);
  }
});

test('what ended it first is what is told, and the lost HOLD is an event', async () => {
  const first = new Error('first');
  const { clock, loop, events, sent } = start({
    act: ({ held }) => {
      if (held === 'stopped') throw raised;
      if (sent.length === 3) throw first;
    },
  });
  await clock.runUntil(1500);
  assert.is(await failureOf(loop.done), first);
  const [lost] = events.filter((event) => event.type === 'holdLost');
  assert.is(lost!.error, raised);
});

test('an action that is still under way at the end does not arrive last', async () => {
  const arrived: (string | null)[] = [];
  const { clock, loop } = start({
    act: async ({ held }) => {
      if (held === null) await new Promise((resolve) => setTimeout(resolve, 30));
      arrived.push(held);
    },
  });
  await clock.runUntil(1300);
  await loop.stop();
  assert.ok(arrived.includes(null));
  assert.is(arrived.at(-1), 'stopped');
});

test('an act that ends the loop before it sends: the HOLD comes after', async () => {
  const arrived: (string | null)[] = [];
  const { clock, loop } = start({
    act: ({ held }) => {
      if (arrived.length === 3) void loop.stop();
      arrived.push(held);
    },
  });
  await clock.runUntil(1600);
  assert.equal(arrived, [null, null, null, null, 'stopped']);
});

test('a scheduler has one loop, and is free when that has ended', async () => {
  const { clock, loop, scheduler } = start();
  const again = () =>
    startControlLoop({
      scheduler,
      rate: 20,
      maxAge: 1000,
      instruction: 'go',
      clock,
      observe: () => null,
      act: () => {},
    });
  assert.throws(again, (error: SemanticVlaError) => error.code === 'SCHEDULER_BUSY');
  await loop.stop();
  const other = again();
  await other.stop();
  // options that are refused claim nothing
  assert.throws(
    () => startControlLoop({ ...(other as object), scheduler } as ControlLoopOptions),
    (error: SemanticVlaError) => error.code.startsWith('OPTION'),
  );
  await again().stop();
});

test('options of other types are refused', () => {
  const wrong: object[] = [
    { rate: '20' },
    { rate: 1e-306 },
    { maxAge: '5' },
    { hold: 'no' },
    { clock: {} },
    { signal: new AbortController() },
    { onEvent: 5 },
  ];
  for (const options of wrong) {
    assert.throws(
      () =>
        startControlLoop({
          scheduler: asynchronous(policyOf(sound), { space }),
          rate: 20,
          maxAge: 1000,
          instruction: 'go',
          observe: () => null,
          act: () => {},
          ...options,
        }),
      (error: SemanticVlaError) => error.code === 'OPTION_INVALID',
      JSON.stringify(options),
    );
  }
});

test.run();
