import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { flightName, writeFlight } from '../../../lib/profile/recorder/flightFiles.ts';
import { type FlightEvent, startFlightRecorder } from '../../../lib/profile/recorder/flightRecorder.ts';
import { type FlightFacts, flightTimeline } from '../../../lib/profile/recorder/flightTimeline.ts';
import { Recorder } from '../../../lib/profile/recorder/recorder.ts';
import { recordLoop } from '../../../lib/profile/recorder/recordLoop.ts';
import { recordPolicy } from '../../../lib/profile/recorder/recordPolicy.ts';
import { traceProto } from '../../../lib/profile/trace/perfettoSchema.ts';
import type { Slice, Timeline } from '../../../lib/profile/trace/timeline.ts';
import type { ActionSpace } from '../../../lib/schedule/actionSpace.ts';
import { asynchronous } from '../../../lib/schedule/asynchronous.ts';
import { startControlLoop } from '../../../lib/schedule/controlLoop.ts';
import { parseLatency } from '../../../lib/schedule/latency.ts';
import { simulatedPolicy } from '../../../lib/schedule/simulatedPolicy.ts';
import { SemanticVlaError } from '../../../lib/support/errors.ts';

const test = suite('flight recorder');

async function inFolder(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'semanticvla-flight-'));
  try {
    await body(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const facts: FlightFacts = {
  title: 'test',
  pid: 1,
  why: 'hold',
  nowMs: 500,
  toMonotonicMs: 1e6,
  realtimeMs: 0,
};

function slices(timeline: Timeline, name: string): readonly Slice[] {
  const track = timeline.tracks.find((one) => one.kind === 'slices' && one.name === name);
  return track?.kind === 'slices' ? track.slices : [];
}

/** Names of all slices in a Perfetto file. */
function namesIn(file: string): Set<string> {
  const trace = traceProto.toObject(traceProto.decode(readFileSync(file)), { defaults: true }) as {
    packet: { internedData?: { eventNames: { name: string }[] } }[];
  };
  return new Set(
    trace.packet.flatMap(({ internedData }) => internedData?.eventNames.map(({ name }) => name) ?? []),
  );
}

test('a HOLD is drawn until the next tick, with what the policy was doing then', () => {
  const recorder = new Recorder();
  recorder.end(recorder.begin(100), 100, 180, 'done', {
    preprocess: 10,
    decode: 4,
    resize: 5,
    policy: 60,
    unnormalize: 1,
    tokenize: 1,
    instruction: 8,
  });
  for (const at of [200, 220, 240]) recorder.event('executed', at, 30);
  recorder.begin(230);
  recorder.event('hold', 260, Number.NaN, 'idle');
  recorder.event('hold', 280, Number.NaN, 'idle');
  recorder.event('missed', 300, 4);
  const timeline = flightTimeline(recorder.copy(), { ...facts, nowMs: 310 });
  assert.equal(
    slices(timeline, 'control loop').map(({ name, startMs, ms }) => [name, startMs, Math.round(ms)]),
    [
      ['action', 1000200, 20],
      ['action', 1000220, 20],
      ['action', 1000240, 20],
      ['HOLD idle', 1000260, 20],
      ['HOLD idle', 1000280, 30],
    ],
  );
  assert.equal(
    slices(timeline, 'policy').map(({ name, startMs, ms }) => [name, startMs, ms]),
    [
      ['prediction', 1000100, 80],
      ['prediction, still running', 1000230, 80],
    ],
  );
  assert.equal(
    slices(timeline, 'preprocessing').map(({ name, startMs }) => [name, startMs]),
    [
      ['preprocess', 1000100],
      ['decode', 1000100],
      ['resize', 1000104],
    ],
  );
  assert.equal(
    slices(timeline, 'instruction').map(({ name, startMs }) => [name, startMs]),
    [
      ['tokenize', 1000100],
      ['instruction graph', 1000101],
    ],
  );
  assert.equal(
    slices(timeline, 'runtime').map(({ name, startMs }) => [name, startMs]),
    [
      ['policy graph', 1000119],
      ['unnormalize', 1000179],
    ],
  );
  assert.equal(
    slices(timeline, 'deadlines').map(({ name, args }) => [name, args]),
    // 10 ms before the copy, which was made in 1970
    [['missed', { ticks: 4, time: '1969-12-31T23:59:59.990Z' }]],
  );
});

test('predictions that wait for one another have lanes of their own, at their full length', () => {
  const recorder = new Recorder();
  const first = recorder.begin(0);
  const second = recorder.begin(10);
  recorder.end(first, 0, 50, 'done', null);
  recorder.end(second, 10, 90, 'failed', null);
  recorder.end(recorder.begin(60), 60, 70, 'aborted', null);
  const timeline = flightTimeline(recorder.copy(), facts);
  assert.equal(
    slices(timeline, 'policy').map(({ name, ms }) => [name, ms]),
    [
      ['prediction', 50],
      ['prediction aborted', 10],
    ],
  );
  assert.equal(
    slices(timeline, 'policy (2)').map(({ name, ms }) => [name, ms]),
    [['prediction failed', 80]],
  );
});

test('a loop that runs out of actions writes one file by itself; one is written on request', async () => {
  await inFolder(async (dir) => {
    const recorder = new Recorder();
    const events: FlightEvent[] = [];
    let written = (): void => {};
    const first = new Promise<void>((resolve) => {
      written = resolve;
    });
    await using flights = await startFlightRecorder(recorder, {
      dir: join(dir, 'made', 'here'),
      afterMs: 30,
      onEvent: (event) => {
        events.push(event);
        written();
      },
    });
    const policy = simulatedPolicy({ dimensions: ['p'], chunk: 2, latency: parseLatency('constant(60)') });
    const space: ActionSpace = { name: 'one', dimensions: [{ name: 'p', kind: 'position', unit: 'm' }] };
    const loop = startControlLoop(
      recordLoop(
        {
          scheduler: asynchronous(recordPolicy(policy, recorder), { space }),
          rate: 100,
          maxAge: 1000,
          instruction: 'go',
          observe: () => ({ observation: { images: {} }, at: performance.now() }),
          act: () => {},
        },
        recorder,
      ),
    );
    await first;
    // on a busy machine the first miss may come before the first action
    while (recorder.events.totals('executed').length === 0)
      await new Promise((resolve) => setTimeout(resolve, 10));
    await loop.stop();
    const [event] = events;
    assert.is(event?.type, 'written', JSON.stringify(event));
    const file = (event as { file: string }).file;
    assert.match(file, /flight-.*-(hold|missed-tick)\.perfetto-trace$/);
    const names = namesIn(file);
    assert.ok(names.has('HOLD idle') || names.has('missed'), [...names].join());
    assert.ok(names.has('prediction') || names.has('prediction, still running'), [...names].join());
    // more misses within the minute: told by a count, not by a file
    recorder.miss('hold');
    recorder.miss('hold');
    assert.ok(flights.quieted >= 2);
    const asked = await flights.dump();
    assert.match(asked!, /-request\.perfetto-trace$/);
    for (const name of ['action', 'prediction', 'HOLD stopped'])
      assert.ok(namesIn(asked!).has(name), `${name}: ${[...namesIn(asked!)].join()}`);
    assert.is(readdirSync(join(dir, 'made', 'here')).length, 2);
    await policy.close();
  });
});

test('what the robot did is for its owner alone: files 0600, folders that are made 0700, whatever the umask', async () => {
  await inFolder(async (dir) => {
    chmodSync(dir, 0o755);
    const umask = process.umask(0);
    try {
      await using flights = await startFlightRecorder(new Recorder(), { dir: join(dir, 'made', 'here') });
      const file = (await flights.dump())!;
      const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8);
      assert.is(mode(file), '600');
      assert.is(mode(join(dir, 'made', 'here')), '700');
      assert.is(mode(join(dir, 'made')), '700');
      assert.is(mode(dir), '755', 'a folder that was there stays as it was');
    } finally {
      process.umask(umask);
    }
  });
});

test('a miss just before the end is still written', async () => {
  await inFolder(async (dir) => {
    const recorder = new Recorder();
    const flights = await startFlightRecorder(recorder, { dir, afterMs: 60_000 });
    recorder.event('hold', performance.now(), Number.NaN, 'idle');
    recorder.miss('hold');
    await flights.close();
    await flights.close();
    assert.is(readdirSync(dir).length, 1);
    const error = await flights.dump().catch((caught: unknown) => caught);
    assert.is((error as SemanticVlaError).code, 'CLOSED');
  });
});

test('a folder that is gone, or no folder: told, nothing thrown, nothing left', async () => {
  await inFolder(async (dir) => {
    const events: FlightEvent[] = [];
    const target = join(dir, 'flights');
    const flights = await startFlightRecorder(new Recorder(), {
      dir: target,
      onEvent: (event) => events.push(event),
    });
    rmSync(target, { recursive: true });
    writeFileSync(target, 'a file now');
    assert.is(await flights.dump(), null);
    assert.is(events[0]?.type, 'failed');
    assert.is((events[0] as { code: string }).code, 'EEXIST');
    await flights.close();
    assert.equal(readdirSync(dir), ['flights']);
    const refused = await startFlightRecorder(new Recorder(), { dir: target }).catch(
      (error: unknown) => error,
    );
    assert.is((refused as SemanticVlaError).code, 'OUTPUT_UNWRITABLE');
  });
});

test('the newest files stay, files of others too; a failed write leaves none', async () => {
  await inFolder(async (dir) => {
    writeFileSync(join(dir, 'flight-notes.txt'), 'mine');
    for (let i = 0; i < 5; i++)
      await writeFlight(
        dir,
        flightName(new Date(Date.UTC(2026, 0, 1, 0, 0, i)), 'hold', 'perfetto-trace'),
        Buffer.of(i),
        3,
      );
    const own = readdirSync(dir)
      .filter((name) => name.endsWith('-trace'))
      .sort();
    assert.equal(
      own.map((name) => readFileSync(join(dir, name))[0]),
      [2, 3, 4],
    );
    assert.ok(readdirSync(dir).includes('flight-notes.txt'));
    const before = readdirSync(dir).sort();
    const bad = { length: 1 } as unknown as Uint8Array;
    assert.ok(
      (await writeFlight(dir, flightName(new Date(0), 'hold', 'perfetto-trace'), bad, 3).catch(
        (error: unknown) => error,
      )) instanceof Error,
    );
    assert.equal(readdirSync(dir).sort(), before);
  });
});

test('options', async () => {
  await inFolder(async (dir) => {
    for (const options of [
      { dir: '' },
      { dir, files: 0 },
      { dir, quietMs: -1 },
      { dir, afterMs: Number.NaN },
    ]) {
      const error = await startFlightRecorder(new Recorder(), options).catch((caught: unknown) => caught);
      assert.ok(
        error instanceof SemanticVlaError && error.code === 'OPTION_INVALID',
        JSON.stringify(options),
      );
    }
  });
});

test.run();
