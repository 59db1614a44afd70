import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { doctorText } from '../../lib/cli/doctor.ts';
import { diagnose } from '../../lib/doctor/diagnose.ts';
import { doctorProbe } from '../../lib/doctor/probe.ts';
import { machineRows, throttlingOf } from '../../lib/machine/machineRows.ts';
import { readMachine, readSnapshot } from '../../lib/machine/readMachine.ts';
import type { MachineState, Reading } from '../../lib/machine/types.ts';
import { machineDifferences, machineWarnings } from '../../lib/machine/warnings.ts';
import { finishMachine } from '../../lib/machine/watchMachine.ts';
import { type FakeMachine, fakeDesktop, fakeNothing, fakeOrin, fakeThor, probeOf } from './fakeMachines.ts';
import { orin, thor } from './recorded.ts';

const test = suite('machine state');

const read = (machine: FakeMachine): MachineState => readMachine({ probe: probeOf(machine) });
const named = (readings: readonly Reading[]): Record<string, number> =>
  Object.fromEntries(readings.map(({ name, value }) => [name, value]));
const codes = (machine: MachineState): string[] => machineWarnings(machine).map(({ code }) => code);
const row = (machine: MachineState, label: string): string | undefined =>
  machineRows(machine).find(([name]) => name === label)?.[1];

/** The same machine with other files. */
const changed = (machine: FakeMachine, files: Record<string, string>): FakeMachine => ({
  ...machine,
  files: { ...machine.files, ...files },
});

test('an AGX Orin, JetPack 6', () => {
  const machine = read(fakeOrin);
  assert.is(machine.board, 'NVIDIA Jetson AGX Orin Developer Kit');
  assert.equal(machine.cpu, { model: 'Cortex-A78AE', cores: 12, governor: 'schedutil' });
  assert.equal(machine.gpu, {
    name: 'Orin (integrated)',
    computeCapability: '8.7',
    driver: null,
    memoryBytes: null,
  });
  assert.is(machine.jetpack, 'L4T 36.4.4, JetPack 6.2.1');
  assert.is(machine.powerMode, 'MAXN');
  assert.is(machine.clocksLocked, false);
  assert.is(machine.os, 'Ubuntu 22.04.5 LTS, Linux 5.15.148-tegra');
  assert.is(machine.virtual, null);
  assert.equal(machine.temperatureLimits, [{ name: 'cpu', value: 99 }], 'the fan trip does not count');
  assert.equal(
    named(machine.start.temperatures),
    { cpu: 52.562, tj: 52.562 },
    'the GPU is off and cannot be read',
  );
  const power = named(machine.start.power);
  assert.ok(Math.abs(power.total! - (19.88 * 0.121 + 19.88 * 0.08 + 5 * 0.94)) < 1e-9, String(power.total));
  assert.not('NC' in power);
  assert.is(named(machine.start.clocks).gpu, 306);
  assert.ok(Math.abs(machine.start.load! - 0.05) < 1e-9);
  assert.is(machine.start.memoryFreeBytes, 45705216 * 1024);
  assert.equal(codes(machine), ['clocks-unlocked']);
  const [unlocked] = machineWarnings(machine);
  assert.match(unlocked!.text, /gpu 306\.\.1301 MHz.*sudo jetson_clocks/);
});

test('an AGX Thor, JetPack 7, held clocks: no warning', () => {
  const machine = read(fakeThor);
  assert.is(machine.cpu.model, 'Neoverse-V3AE');
  assert.is(machine.jetpack, 'L4T 38.2.0, JetPack 7.0');
  assert.is(machine.gpu?.name, 'NVIDIA Thor');
  assert.is(machine.clocksLocked, true);
  assert.equal(named(machine.start.power).total, 87.426, 'the input of the kit, not the sum of rails');
  assert.equal(named(machine.start.temperatures), { gpu: 62.906, soc012: 58.468 });
  assert.is(named(machine.start.clocks).emc, 4266);
  assert.equal(codes(machine), []);
});

test('without root jetson_clocks does not answer: the ranges of sysfs tell it', () => {
  const { 'jetson_clocks --show': _, ...commands } = fakeThor.commands!;
  assert.is(read({ ...fakeThor, commands }).clocksLocked, true);
  const free = changed({ ...fakeThor, commands }, { '/sys/class/devfreq/gpu-gpc-0/min_freq': '315000000\n' });
  assert.is(read(free).clocksLocked, false);
});

test('a desktop: nvidia-smi under the old name of the reasons', () => {
  const machine = read(fakeDesktop);
  assert.is(machine.board, 'LENOVO ThinkStation P3');
  assert.is(machine.gpu?.driver, '525.147.05');
  assert.is(machine.jetpack, null);
  assert.is(machine.powerMode, null);
  assert.is(machine.clocksLocked, null, 'a desktop card does not tell');
  assert.equal(named(machine.start.power), { 'gpu-board': 412.5 });
  assert.is(named(machine.start.temperatures).gpu, 71);
  assert.equal(throttlingOf(machine), ['sw_power_cap', 'sw_thermal_slowdown']);
  assert.equal(codes(machine), ['throttled', 'governor-powersave', 'background-load']);
});

test('a container that shows nothing: nulls, no warnings, no energy', () => {
  const machine = finishMachine(read(fakeNothing), null, { chunks: 3, probe: probeOf(fakeNothing) });
  assert.is(machine.board, 'unknown');
  assert.is(machine.cpu.model, 'unknown');
  for (const key of ['gpu', 'jetpack', 'powerMode', 'clocksLocked', 'energy'] as const)
    assert.is(machine[key], null, key);
  assert.is(machine.cpu.governor, null);
  assert.is(machine.start.load, null);
  assert.is(machine.start.memoryFreeBytes, null);
  for (const key of ['temperatures', 'clocks', 'power', 'throttling'] as const)
    assert.equal(machine.start[key], [], key);
  assert.equal(codes(machine), []);
  assert.is(row(machine, 'throttling'), 'not told', 'silence is not health');
});

test('this machine can be read, whatever it is', () => {
  const machine = readMachine();
  assert.ok(machine.cpu.cores >= 1);
  assert.not.throws(() => JSON.parse(JSON.stringify(machine)));
  for (const warning of machineWarnings(machine)) assert.match(warning.text, /\.$/);
});

test('where sysfs shows no sensors, a line of tegrastats stands in; a malformed one does not', () => {
  const files = Object.fromEntries(
    Object.entries(fakeOrin.files).filter(([path]) => !/hwmon|thermal|devfreq/.test(path)),
  );
  const with_ = (line: string): MachineState['start'] =>
    readSnapshot(probeOf({ files, commands: { sh: line } }));
  const snapshot = with_(`${orin.tegrastats[0]}\n`);
  assert.ok(Math.abs(named(snapshot.power).total! - 8.726) < 1e-9);
  assert.is(named(snapshot.clocks).emc, 2133);
  assert.equal(with_(orin.tegrastats[0]!).power, [], 'no end of line: it may be cut');
  assert.equal(with_(`${thor.tegrastats39.slice(0, -6)}\n`).power, []);
});

test('what happens in a run: alarms, counters, heat, others, steal', () => {
  const start = read(fakeOrin);
  const hwmon = '/sys/class/hwmon/hwmon';
  const after = probeOf(
    changed(fakeOrin, {
      [`${hwmon}5/oc3_event_cnt`]: '216\n',
      [`${hwmon}3/curr1_crit_alarm`]: '1\n',
      '/sys/class/thermal/thermal_zone0/temp': '96000\n',
    }),
  );
  // 20 W for ten seconds
  const atMs = Array.from({ length: 101 }, (_, i) => 100 * i);
  const series = {
    atMs,
    sensors: [{ kind: 'power' as const, name: 'total', unit: 'W', values: atMs.map(() => 20) }],
    energyFrom: { sensor: 'total', words: 'VDD_IN', periodMs: null },
    throttling: [],
  };
  const process = { pid: 77, parent: 1, name: 'ffmpeg', seconds: 1 };
  const run = {
    ...{ samples: 3, intervalMs: 100, costMs: 1, series },
    seconds: 10,
    before: { processes: [process], busySeconds: 100 },
    after: { processes: [{ ...process, seconds: 25 }], busySeconds: 130 },
  };
  const machine = finishMachine(start, run, { chunks: 50, probe: after });
  assert.equal(throttlingOf(machine), [
    'VDD_GPU_SOC over its crit current',
    'instantaneous over-current (179 times)',
  ]);
  const { meanWatts, joulesPerChunk, samples, source } = machine.energy!;
  assert.equal([samples, source], [101, 'VDD_IN']);
  assert.ok(Math.abs(meanWatts! - 20) < 1e-9 && Math.abs(joulesPerChunk! - 4) < 1e-9);
  assert.is(finishMachine(start, run, { chunks: 0, probe: after }).energy, null);
  assert.is(machine.sampling?.othersPercent, 25);
  assert.equal(machine.sampling?.others, [{ name: 'ffmpeg', value: 240 }]);
  assert.is(machine.sampling?.costPercent, 0.03);
  const all = codes(machine);
  for (const code of ['throttled', 'background-load', 'temperature-near-limit'])
    assert.ok(all.includes(code), code);
  assert.match(
    row(machine, 'energy')!,
    /4\.000 J a chunk; 20\.0 W over 10\.0 s in 1 of 1 turns, 101 samples; VDD_IN;/,
  );
});

test('power mode, shared machine: each says what changes it', () => {
  const slow = read({ ...fakeOrin, commands: { 'nvpmodel -q': thor.nvpmodel120W } });
  assert.match(
    machineWarnings(slow).find(({ code }) => code === 'power-mode')!.text,
    /120W.*sudo nvpmodel -m 0/,
  );
  const guest = changed(fakeNothing, {
    '/proc/cpuinfo': 'flags\t: fpu hypervisor\n',
    '/proc/stat': 'cpu  100 0 0 0 0 0 0 0 0 0\n',
  });
  const start = read(guest);
  assert.is(start.virtual, 'virtual machine');
  const stolen = finishMachine(
    start,
    {
      ...{ samples: 1, intervalMs: 1, costMs: 0 },
      seconds: 1,
      before: { processes: [], busySeconds: 1 },
      after: { processes: [], busySeconds: 1 },
    },
    { chunks: 1, probe: probeOf(changed(guest, { '/proc/stat': 'cpu  190 0 0 0 0 0 0 10 0 0\n' })) },
  );
  assert.match(machineWarnings(stolen).find(({ code }) => code === 'shared-machine')!.text, /host took 10 %/);
});

test('two reports of different clocks or power modes are told apart', () => {
  const [now, then] = [read(fakeOrin), read({ ...fakeOrin, commands: { 'nvpmodel -q': thor.nvpmodel120W } })];
  assert.equal(machineDifferences(now, now), []);
  assert.equal(
    machineDifferences(now, then).map(({ code }) => code),
    ['different-power-mode'],
  );
  const slower = read(changed(fakeOrin, { '/sys/class/devfreq/17000000.gpu/max_freq': '918000000\n' }));
  assert.match(machineDifferences(now, slower)[0]!.text, /gpu up to 1301 MHz.*gpu up to 918 MHz/);
  assert.equal(
    machineDifferences(now, read(fakeThor)).map(({ code }) => code),
    ['different-board', 'different-gpu', 'different-driver', 'different-cores', 'different-clocks'],
  );
});

test('doctor shows the board', () => {
  const probe = { ...doctorProbe, ...probeOf(fakeOrin), env: {} };
  const text = doctorText(diagnose({ probe }));
  assert.match(text, /board +NVIDIA Jetson AGX Orin Developer Kit/);
  assert.match(text, /power mode +MAXN/);
  assert.match(text, /clocks +not held: cpu0 730\.\.2202 MHz, gpu 306\.\.1301 MHz/);
});

test.run();
