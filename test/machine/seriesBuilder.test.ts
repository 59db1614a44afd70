/** Series of fake machines on a clock of the test's own: files that change, lie, and go away. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openSensors } from '../../lib/machine/sensors.ts';
import { fromStart, SeriesBuilder } from '../../lib/machine/seriesBuilder.ts';
import { subjectEnergy } from '../../lib/machine/subjectEnergy.ts';
import type { MachineSeries, SensorSeries } from '../../lib/machine/types.ts';
import { type FakeMachine, fakeDesktop, fakeNothing, fakeOrin, fakeThor, probeOf } from './fakeMachines.ts';

const test = suite('machine series');

const hwmon = '/sys/class/hwmon/hwmon3';

/** Samples a machine whose files `change` at each time, milliseconds; null removes one. */
function sample(
  machine: FakeMachine,
  times: readonly number[],
  change: (ms: number) => Readonly<Record<string, string | null>> = () => ({}),
  most?: number,
): MachineSeries | null {
  const files: Record<string, string> = { ...machine.files };
  const apply = (ms: number): void => {
    for (const [path, text] of Object.entries(change(ms))) {
      if (text === null) delete files[path];
      else files[path] = text;
    }
  };
  apply(times[0]! - 20);
  const sensors = openSensors(probeOf({ ...machine, files }), 100);
  const builder = new SeriesBuilder({ ...sensors, ...(most === undefined ? {} : { most }) });
  for (const ms of times) {
    apply(ms);
    builder.add(sensors.read(), ms);
  }
  sensors.close();
  const series = builder.result();
  return series && fromStart(series, times[0]!);
}

const every = (count: number, ms = 100): number[] => Array.from({ length: count }, (_, i) => 1e6 + i * ms);

function sensor(series: MachineSeries | null, kind: SensorSeries['kind'], name: string): SensorSeries {
  const found = series!.sensors.find((one) => one.kind === kind && one.name === name);
  assert.ok(
    found,
    `${kind} ${name} of ${series!.sensors.map((one) => `${one.kind} ${one.name}`).join(', ')}`,
  );
  return found;
}

test('an Orin: rails, their sum, clocks, temperatures, how busy the GPU is', () => {
  const board = {
    ...fakeOrin,
    files: { ...fakeOrin.files, '/sys/class/devfreq/17000000.gpu/device/load': '846\n' },
  };
  const series = sample(board, every(3), (ms) => ({
    [`${hwmon}/curr1_input`]: `${121 + (ms - 1e6) / 10}\n`,
    '/sys/class/devfreq/17000000.gpu/cur_freq': ms > 1e6 + 50 ? '918000000\n' : '1300500000\n',
  }))!;
  assert.equal(series.atMs, [0, 100, 200]);
  assert.is(series.startMonotonicMs, 1e6);
  assert.equal(sensor(series, 'power', 'VDD_GPU_SOC').values, [2.4055, 2.6043, 2.8031]);
  // the two other rails are 1.5904 and 4.7 W
  assert.equal(sensor(series, 'power', 'total').values, [8.6959, 8.8947, 9.0935]);
  assert.equal(sensor(series, 'clock', 'gpu').values, [1300.5, 918, 918]);
  assert.equal(sensor(series, 'clock', 'cpu').values, [2188.8, 2188.8, 2188.8], 'twelve equal cores are one');
  assert.equal(sensor(series, 'temperature', 'tj').values, [52.562, 52.562, 52.562]);
  assert.equal(sensor(series, 'load', 'gpu').values, [84.6, 84.6, 84.6]);
  assert.is(series.energyFrom?.sensor, 'total');
  assert.is(series.energyFrom?.periodMs, null, 'nobody tells');
  assert.match(series.energyFrom!.words, /^VDD_GPU_SOC \+ VDD_CPU_CV \+ VIN_SYS_5V0, sampled/);
});

test('the period of the power monitor is its own where the kernel tells it', () => {
  const told = { [`${hwmon}/update_interval`]: '7\n' };
  const series = sample({ ...fakeOrin, files: { ...fakeOrin.files, ...told } }, every(2))!;
  // hwmon4 tells none, and has no rail of the input
  assert.is(series.energyFrom!.periodMs, 7);
  const thor = { [`${hwmon}/update_interval`]: '7\n' };
  const other = sample({ ...fakeThor, files: { ...fakeThor.files, ...thor } }, every(2))!;
  assert.is(other.energyFrom!.periodMs, null, 'the input of Thor is on another monitor, which does not tell');
});

test('a monitor at the end of its range tells no power', () => {
  const told = { [`${hwmon}/shunt1_resistor`]: '2000\n' };
  // 163.8 mV over 2 milliohms
  const series = sample({ ...fakeOrin, files: { ...fakeOrin.files, ...told } }, every(4), (ms) => ({
    [`${hwmon}/curr1_input`]: ms < 1e6 + 150 ? '81880\n' : '81900\n',
  }));
  assert.equal(
    sensor(series, 'power', 'VDD_GPU_SOC').values.map((value) => value === null),
    [false, false, true, true],
  );
  assert.equal(
    sensor(series, 'power', 'total').values.map((value) => value === null),
    [false, false, true, true],
    'a sum without one of its parts is none',
  );
});

test('garbage in sysfs is a gap, never a number', () => {
  const garbage = ['', '\n', 'N/A\n', '12a\n', '0x10\n', '-\n', '1e3\n', ' \0\n', '9'.repeat(40), '-99999\n'];
  const times = every(garbage.length + 1);
  const series = sample(fakeOrin, times, (ms) => {
    const text = garbage[Math.round((ms - 1e6) / 100) - 1];
    if (text === undefined) return {};
    return {
      [`${hwmon}/curr1_input`]: text,
      '/sys/class/thermal/thermal_zone2/temp': text,
      '/sys/class/devfreq/17000000.gpu/cur_freq': text,
    };
  })!;
  for (const [kind, name] of [
    ['power', 'VDD_GPU_SOC'],
    ['power', 'total'],
    ['clock', 'gpu'],
  ] as const) {
    const { values } = sensor(series, kind, name);
    assert.is(typeof values[0], 'number');
    assert.equal(values.slice(1), new Array(garbage.length).fill(null), `${kind} ${name}`);
  }
  const { values } = sensor(series, 'temperature', 'tj');
  // -99999 thousandths are -100 degrees: out of range as well
  assert.equal(values.slice(1), new Array(garbage.length).fill(null));
});

test('time that runs backwards or stands: refused', () => {
  const series = sample(fakeOrin, [1000, 1100, 1050, 1100, 1000, Number.NaN, 1200])!;
  assert.equal(series.atMs, [0, 100, 200]);
  for (const { values } of series.sensors) assert.is(values.length, 3);
});

test('a sensor that vanishes in the run leaves a gap and no energy after it; another set of rails is no substitute', () => {
  const times = every(80);
  const gone = (ms: number) => (ms > 1e6 + 4000 ? { '/sys/class/hwmon/hwmon4/power1_input': null } : {});
  const series = sample(fakeThor, times, gone)!;
  const total = sensor(series, 'power', 'total').values;
  assert.is(total[40], 87.426);
  // Thor's three rails are there still, and sum up to something else
  assert.equal(total.slice(41), new Array(39).fill(null));
  assert.ok(sensor(series, 'power', 'VDD_GPU').values.every((value) => value !== null));
  const energy = subjectEnergy(series, [
    { fromMs: 1000, toMs: 3000, chunks: 20 },
    { fromMs: 3500, toMs: 5500, chunks: 20 },
    { fromMs: 5600, toMs: 7600, chunks: 20 },
  ]);
  assert.is(energy.turns, 1);
  assert.ok(Math.abs(energy.joulesPerChunk! - 8.7426) < 1e-9);
});

test('a sensor that appears late has no values before', () => {
  const series = sample(fakeNothing, every(3), (ms) =>
    ms > 1e6 + 50 ? { '/proc/stat': `cpu  ${ms - 1e6} 0 0 0 0 0 0 0 0 0\n` } : {},
  );
  assert.equal(sensor(series, 'load', 'cpu').values.slice(0, 2), [null, null]);
  assert.is(sample(fakeNothing, every(3)), null, 'no sensor, no series');
});

test('throttling has a beginning and an end, by alarms and by counters', () => {
  const series = sample(fakeOrin, every(10), (ms) => ({
    [`${hwmon}/curr1_crit_alarm`]: ms > 1e6 + 250 && ms < 1e6 + 550 ? '1\n' : '0\n',
    '/sys/class/hwmon/hwmon5/oc3_event_cnt': `${37 + Math.max(0, Math.floor((ms - 1e6 - 600) / 100))}\n`,
  }))!;
  assert.equal(series.throttling, [
    { reason: 'VDD_GPU_SOC over its crit current', fromMs: 300, toMs: 500 },
    { reason: 'instantaneous over-current', fromMs: 700, toMs: 900 },
  ]);
});

test('many samples: memory has a limit, and time is thinned evenly', () => {
  const series = sample(fakeOrin, every(5000, 10), undefined, 512)!;
  assert.ok(series.atMs.length >= 256 && series.atMs.length <= 512, String(series.atMs.length));
  const gaps = series.atMs.slice(1).map((at, i) => at - series.atMs[i]!);
  assert.ok(
    gaps.every((gap) => gap === gaps[0]),
    `${Math.min(...gaps)} .. ${Math.max(...gaps)}`,
  );
  for (const { values } of series.sensors) assert.is(values.length, series.atMs.length);
});

test('cores that differ are two lines: the slowest and the fastest', () => {
  const series = sample(fakeDesktop, every(2), (ms) => ({
    '/sys/devices/system/cpu/cpu2/cpufreq/scaling_cur_freq': ms > 1e6 ? '5100000\n' : '800000\n',
  }));
  assert.equal(sensor(series, 'clock', 'cpu slowest').values, [800, 3000]);
  assert.equal(sensor(series, 'clock', 'cpu fastest').values, [3000, 5100]);
});

test.run();
