/** What a series says by itself: a clock that fell, a temperature on its way to the limit, the chunk at which throttling began. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readMachine } from '../../lib/machine/readMachine.ts';
import { seriesWarnings } from '../../lib/machine/seriesWarnings.ts';
import type { MachineSeries, MachineState, SensorSeries } from '../../lib/machine/types.ts';
import { withMachine } from '../../lib/profile/trace/machineCounters.ts';
import { fakeOrin, probeOf } from './fakeMachines.ts';

const test = suite('warnings of a series');

const board = readMachine({ probe: probeOf(fakeOrin) });
const atMs = Array.from({ length: 101 }, (_, i) => 100 * i - 2000);

function machineWith(
  sensors: readonly (readonly [SensorSeries['kind'], string, (ms: number) => number | null])[],
  throttling: MachineSeries['throttling'] = [],
  rest: Partial<MachineState> = {},
): MachineState {
  const series: MachineSeries = {
    atMs,
    startMonotonicMs: 7_000_000,
    sensors: sensors.map(([kind, name, of]) => ({
      kind,
      name,
      unit: kind === 'clock' ? 'MHz' : '°C',
      values: atMs.map(of),
    })),
    energyFrom: null,
    throttling,
  };
  return { ...board, series, ...rest };
}

/** Two subjects that take turns, a chunk every 50 ms from 0 to 8 s. */
const subjects = ['a', 'b'].map((name, i) => ({
  name,
  startsMs: Array.from({ length: 80 }, (_, k) => 100 * k + 50 * i),
}));

const told = (machine: MachineState): Record<string, string> =>
  Object.fromEntries(seriesWarnings(machine, subjects).map(({ code, text }) => [code, text]));

test('a clock that falls and stays down is told with its moment and its chunk', () => {
  const fell = told(machineWith([['clock', 'gpu', (ms) => (ms < 4200 ? 1300.5 : 918)]]));
  assert.match(fell['clock-fell']!, /gpu from 1301 to 918 MHz, at 4\.2 s, chunk 43 of a\)/);
  assert.not.match(fell['clock-fell']!, /They were held/);
  const held = machineWith([['clock', 'gpu', (ms) => (ms < 4200 ? 1300.5 : 918)]], [], {
    clocksLocked: true,
  });
  assert.match(told(held)['clock-fell']!, /They were held, so only the board itself/);
});

test('a step up from idle, a dip, a measured clock that wavers: nothing', () => {
  for (const of of [
    // before the first chunk it may do what it likes
    (ms: number) => (ms < 0 ? 1300.5 : 918),
    (ms: number) => (ms < 2000 ? 306 : 1300.5),
    (ms: number) => (ms > 4000 && ms < 5000 ? 306 : 1300.5),
    (ms: number) => 1300 * (1 - 0.02 * Math.abs(Math.sin(ms))),
    // too few to say
    (ms: number) => (ms % 800 === 0 ? (ms < 4000 ? 1300 : 900) : null),
  ])
    assert.equal(told(machineWith([['clock', 'gpu', of]])), {});
  // what governors do with cores that idle is no loss
  const idle = machineWith([['clock', 'cpu slowest', (ms) => (ms < 4000 ? 2200 : 730)]]);
  assert.equal(told(idle), {});
});

test('a temperature on its way to the trip point; one that has settled, or is far from it, is no news', () => {
  // Orin's cpu zone trips at 99
  const rising = machineWith([['temperature', 'cpu', (ms) => 70 + ms / 400]]);
  assert.match(
    told(rising)['temperature-rising']!,
    /cpu from 72\.\d to 87\.\d °C, slowed at 99\.0 °C\): at this rate a run twice as long/,
  );
  const settled = machineWith([['temperature', 'cpu', (ms) => 95 + 2 * (1 - Math.exp(-ms / 1000))]]);
  assert.equal(told(settled), {});
  const far = machineWith([['temperature', 'cpu', (ms) => 40 + ms / 1000]]);
  assert.equal(told(far), {});
  const unknown = machineWith([['temperature', 'board', (ms) => 70 + ms / 400]]);
  assert.equal(told(unknown), {}, 'a zone without a trip point');
});

test('throttling is told with the chunk at which it began', () => {
  const slowed = machineWith(
    [],
    [
      { reason: 'average over-current', fromMs: 6100, toMs: 7000 },
      { reason: 'sw_power_cap', fromMs: -500, toMs: -500 },
    ],
  );
  const text = told(slowed)['throttled-from']!;
  assert.match(text, /average over-current at 6\.1 s, chunk 62 of a, until 7\.0 s/);
  assert.match(text, /sw_power_cap before the first chunk, while loading or warming up/);
});

test('nothing sampled, no chunks: nothing to say, and no error', () => {
  assert.equal(seriesWarnings(board, subjects), []);
  assert.equal(seriesWarnings({ ...board, series: null }, []), []);
  assert.equal(seriesWarnings(machineWith([['clock', 'gpu', () => 1]]), []), []);
});

test('in a trace: a counter a sensor with its unit, on the clock of the slices; gaps are not bridged by made-up values', () => {
  const machine = machineWith(
    [
      ['clock', 'gpu', (ms) => (ms === 0 ? null : 918)],
      ['temperature', 'tj', () => 52.5],
    ],
    [{ reason: 'sw_power_cap', fromMs: 1000, toMs: 3000 }],
  );
  const empty = { title: 't', pid: 1, clock: { monotonicMs: 8e6, realtimeMs: 1e12 }, tracks: [] };
  const { tracks } = withMachine(empty, machine);
  const counters = tracks.flatMap((track) => (track.kind === 'counter' ? [track] : []));
  assert.equal(
    counters.map(({ name, unit }) => `${name}, ${unit}`),
    ['clock gpu, Hz', 'temperature tj, °C', 'throttled sw_power_cap, 1: slowed'],
  );
  const [clock, temperature, slowed] = counters;
  assert.is(temperature!.samples.length, 101);
  assert.equal(temperature!.samples[0], { atMs: 6_998_000, value: 52.5 });
  assert.is(clock!.samples.length, 100);
  assert.is(clock!.samples[0]!.value, 918e6);
  assert.not.ok(clock!.samples.some(({ atMs: at }) => at === 7_000_000));
  assert.equal(slowed!.samples, [
    { atMs: 6_998_000, value: 0 },
    { atMs: 7_001_000, value: 1 },
    { atMs: 7_003_000, value: 0 },
  ]);
});

test.run();
