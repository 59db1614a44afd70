import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Recorder, stageBuckets } from '../../../lib/profile/recorder/recorder.ts';
import { recordLoop, recordSchedule } from '../../../lib/profile/recorder/recordLoop.ts';
import { recordPolicy } from '../../../lib/profile/recorder/recordPolicy.ts';
import { ChunkRing, EventRing, eventKinds, eventReasons } from '../../../lib/profile/recorder/rings.ts';
import type { ActionSpace } from '../../../lib/schedule/actionSpace.ts';
import { asynchronous } from '../../../lib/schedule/asynchronous.ts';
import { startControlLoop } from '../../../lib/schedule/controlLoop.ts';
import { parseLatency } from '../../../lib/schedule/latency.ts';
import { holdReasons } from '../../../lib/schedule/loopEvents.ts';
import { simulatedPolicy } from '../../../lib/schedule/simulatedPolicy.ts';
import { ServerMetrics } from '../../../lib/serve/serverMetrics.ts';
import { SemanticVlaError } from '../../../lib/support/errors.ts';
import type { Observation } from '../../../lib/types.ts';
import { bench } from '../../schedule/helpers.ts';
import { FakePolicy } from '../../serve/fakePolicy.ts';

const test = suite('recorder');
const observation: Observation = { images: {} };
const instruction = 'go';

test('a ring keeps the newest predictions, each with its own stages', () => {
  const ring = new ChunkRing(4);
  for (let i = 0; i < 11; i++) {
    const number = ring.begin(100 * i);
    assert.is(number, i);
    // every second one encodes an instruction; one of 0 ms says that it was encoded before
    ring.end(number, i + 0.5, 'done', { policy: i, instruction: i % 2 === 0 ? 7 : 0, total: 999 });
  }
  assert.equal(ring.records(), [
    { startMs: 700, stages: { total: 7.5, policy: 7 } },
    { startMs: 800, stages: { total: 8.5, policy: 8, instruction: 7 } },
    { startMs: 900, stages: { total: 9.5, policy: 9 } },
    { startMs: 1000, stages: { total: 10.5, policy: 10, instruction: 7 } },
  ]);
  assert.is(ring.copy().first, 7);
});

test('what runs is seen; what failed, was aborted or was overwritten is no record', () => {
  const ring = new ChunkRing(3);
  const [lost, failed, aborted] = [ring.begin(1), ring.begin(2), ring.begin(3)];
  const running = ring.begin(4);
  ring.end(lost, 1, 'done', { policy: 1 });
  ring.end(failed, 1, 'failed', null);
  ring.end(aborted, 1, 'aborted', null);
  assert.equal([...ring.copy().outcome], [2, 3, 0]);
  assert.equal([...ring.copy().start], [2, 3, 4]);
  assert.equal(ring.records(), []);
  ring.end(running, 2, 'done', {});
  assert.equal(ring.records(), [{ startMs: 4, stages: { total: 2 } }]);
});

test('events: the newest in order, totals of all', () => {
  const ring = new EventRing(3);
  for (let i = 0; i < 5; i++) ring.add('hold', i, Number.NaN, i < 4 ? 'idle' : 'a reason from tomorrow');
  ring.add('missed', 5, 2);
  const rows = ring.copy();
  assert.equal([...rows.at], [3, 4, 5]);
  assert.equal(
    [...rows.reason].map((r) => eventReasons[r]),
    ['idle', 'other', ''],
  );
  assert.equal(
    [...rows.kind].map((k) => eventKinds[k]),
    ['hold', 'hold', 'missed'],
  );
  assert.equal(ring.totals('hold'), [
    ['idle', 4],
    ['other', 1],
  ]);
  for (const reason of holdReasons) assert.ok((eventReasons as readonly string[]).includes(reason), reason);
});

test('Prometheus: cumulative buckets, sums and counts, without the whole prediction', async () => {
  const recorder = new Recorder();
  const times = [0.9, 1, 1.2, 20, 999, 5000];
  for (const ms of times) recorder.end(recorder.begin(0), 0, ms, 'done', { policy: ms, total: ms });
  const text = await recorder.metricsText();
  const values = new Map(
    text.split('\n').flatMap((line) => {
      const match = /^(semanticvla_stage_seconds_\w+)\{(?:le="([^"]+)",)?stage="policy"\} (\S+)$/.exec(line);
      return match === null ? [] : [[`${match[1]} ${match[2] ?? ''}`, Number(match[3])] as const];
    }),
  );
  for (const edge of stageBuckets) {
    const expected = times.filter((ms) => ms / 1000 <= edge).length;
    assert.is(values.get(`semanticvla_stage_seconds_bucket ${edge}`), expected, `le ${edge}`);
  }
  assert.is(values.get('semanticvla_stage_seconds_bucket +Inf'), 6);
  assert.is(values.get('semanticvla_stage_seconds_count '), 6);
  assert.ok(Math.abs(values.get('semanticvla_stage_seconds_sum ')! - 6.0221) < 1e-9);
  assert.not.match(text, /stage="total"/);
  assert.not.match(text, /stage="resize"/, 'what never ran is not there');
  assert.ok(stageBuckets[0]! <= 0.001 && stageBuckets.at(-1)! >= 1);
});

test('a server shows its own metrics and those of its recorder, each name once', async () => {
  const recorder = new Recorder();
  const gauges = {
    connections: () => 0,
    busy: () => false,
    waiting: () => 0,
    ready: () => true,
    heldBytes: () => 0,
  };
  const metrics = new ServerMetrics(gauges, recorder);
  recorder.end(recorder.begin(0), 0, 30, 'done', { policy: 20 });
  metrics.inference(0.03);
  metrics.rejected('superseded');
  const text = await metrics.text();
  const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!);
  assert.is(new Set(names).size, names.length, names.join(' '));
  assert.match(text, /^semanticvla_inference_seconds_count 1$/m);
  assert.match(text, /^semanticvla_stage_seconds_count\{stage="policy"\} 1$/m);
  assert.equal(recorder.events.totals('rejected'), [['superseded', 1]]);
});

test('a recorded policy answers as it did', async () => {
  const recorder = new Recorder({ chunks: 8 });
  const inner = new FakePolicy();
  const policy = recordPolicy(inner, recorder);
  const answer = policy.predict(observation, { instruction });
  assert.is(recorder.chunks.count, 1, 'it is recorded from its beginning');
  inner.calls[0]!.finish();
  const chunk = await answer;
  assert.is(recorder.chunks.records()[0]!.stages.policy, chunk.timings.policy);
  const failing = policy.predict(observation, { instruction });
  const fault = new SemanticVlaError('RUNTIME_FAILED', 'no');
  inner.calls[1]!.fail(fault);
  assert.is(await failing.catch((error: unknown) => error), fault);
  const controller = new AbortController();
  const aborted = policy.predict(observation, { instruction, signal: controller.signal });
  controller.abort();
  await aborted.catch(() => {});
  assert.equal([...recorder.copy().chunks.outcome], [1, 2, 3]);
  for (const key of ['platform', 'dimensions', 'variant', 'imageSize', 'patchGrid'] as const)
    assert.is(policy[key], inner[key]);
});

test('a prediction over its deadline is a miss, an aborted one is not', async () => {
  const misses: string[] = [];
  const recorder = new Recorder({ deadlineMs: 20, onMiss: (why) => misses.push(why) });
  const outcomes = [
    ['done', 19],
    ['done', 21],
    ['aborted', 99],
    ['failed', 30],
  ] as const;
  for (const [outcome, ms] of outcomes) recorder.end(recorder.begin(0), 0, ms, outcome, null);
  assert.equal(misses, ['deadline', 'deadline']);
  assert.equal(recorder.events.totals('deadline missed'), [['', 2]]);
  assert.match(await recorder.metricsText(), /^semanticvla_deadline_misses_total 2$/m);
});

const space: ActionSpace = { name: 'one', dimensions: [{ name: 'p', kind: 'position', unit: 'm' }] };

test('a recorded loop: actions, holds and decisions; a HOLD is a miss only after the robot has moved', async () => {
  // 2 rows a chunk at 100 Hz, 35 ms to predict them: actions run out each time
  const { clock, policy } = bench(['p'], () => [[1], [2]], 'constant(35)', 2);
  const misses: string[] = [];
  const recorder = new Recorder({ onMiss: (why) => misses.push(why) });
  const loop = startControlLoop(
    recordLoop(
      {
        scheduler: asynchronous(policy, recordSchedule({ space, clock }, recorder)),
        rate: 100,
        maxAge: 1000,
        instruction,
        observe: () => ({ observation: { images: {} }, at: clock.now() }),
        act: () => {},
        clock,
      },
      recorder,
    ),
  );
  await clock.runUntil(clock.now() + 30);
  assert.equal(misses, [], 'waiting for the first chunk is no miss');
  await clock.runUntil(clock.now() + 200);
  const total = (kind: (typeof eventKinds)[number]): number =>
    recorder.events.totals(kind).reduce((sum, [, count]) => sum + count, 0);
  assert.is(total('executed'), loop.counters.executed);
  assert.is(total('hold'), loop.counters.held.idle);
  assert.is(total('executed') + total('hold'), loop.counters.ticks);
  assert.ok(total('request') >= 3 && total('chunk') + total('late') >= 2);
  assert.ok(misses.length > 0 && misses.every((why) => why === 'hold'), misses.join());
  const before = misses.length;
  await loop.stop();
  assert.is(misses.length, before, 'the HOLD at the end is none');
  assert.match(await recorder.metricsText(), /^semanticvla_loop_holds_total\{reason="idle"\} \d+$/m);
});

test('a tick that was skipped is a miss; listeners of the caller are still called', () => {
  const misses: string[] = [];
  const heard: string[] = [];
  const recorder = new Recorder({ onMiss: (why) => misses.push(why) });
  const scheduler = asynchronous(
    simulatedPolicy({ dimensions: ['p'], chunk: 2, latency: parseLatency('constant(1)') }),
    { space },
  );
  const options = recordLoop(
    {
      scheduler,
      rate: 10,
      maxAge: 1,
      instruction,
      observe: () => null,
      act: () => {},
      onEvent: ({ type }) => heard.push(type),
    },
    recorder,
  );
  options.onEvent!({ type: 'missed', at: 5, ticks: 3 });
  options.onEvent!({ type: 'reset', at: 6 });
  assert.equal(misses, ['missed tick']);
  assert.equal(heard, ['missed', 'reset']);
});

test('options that make no sense are refused', () => {
  for (const options of [{ chunks: 0 }, { events: 1.5 }, { deadlineMs: 0 }, { deadlineMs: Number.NaN }])
    assert.throws(
      () => new Recorder(options),
      (error: unknown) => error instanceof SemanticVlaError && error.code === 'OPTION_INVALID',
    );
});

test.run();
