import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseProcessStat, parseProcStat, processShares } from '../../lib/machine/counters.ts';
import { inputPower } from '../../lib/machine/hwmon.ts';
import { parseJetsonClocks, parseNvpmodel, parseTegraRelease } from '../../lib/machine/jetson.ts';
import { gpuFacts, gpuMoment, parseGpuCells } from '../../lib/machine/nvidiaSmi.ts';
import type { Parsed } from '../../lib/machine/parsed.ts';
import { parseTegrastats, type TegraSample } from '../../lib/machine/tegrastats.ts';
import type { Reading } from '../../lib/machine/types.ts';
import { orin, thor } from './recorded.ts';

const test = suite('text of boards');

function value<T>(parsed: Parsed<T>): T {
  assert.ok('value' in parsed, 'malformed' in parsed ? parsed.malformed : '');
  return (parsed as { value: T }).value;
}

const sampleOf = (line: string): TegraSample => value(parseTegrastats(line));

const named = (readings: readonly Reading[]): Record<string, number> =>
  Object.fromEntries(readings.map(({ name, value: number }) => [name, number]));

test('tegrastats of an AGX Orin, JetPack 6', () => {
  const sample = sampleOf(orin.tegrastats[0]!);
  assert.equal(sample.emc, { percent: 3, mhz: 2133 });
  assert.equal(sample.gpu, { percent: 0, mhz: 0 });
  assert.equal(named(sample.temperatures), {
    cpu: 52.562,
    soc2: 48.437,
    soc0: 49.093,
    tj: 52.562,
    soc1: 49.656,
  });
  assert.equal(named(sample.power), { VDD_GPU_SOC: 2.412, VDD_CPU_CV: 1.607, VIN_SYS_5V0: 4.707 });
  // the figure of now, not the average behind it
  assert.is(named(sampleOf(orin.tegrastats[1]!).power).VIN_SYS_5V0, 4.607);
});

test('zones that are switched off and unused channels are left out', () => {
  const sample = sampleOf(orin.tegrastats35);
  assert.equal(Object.keys(named(sample.temperatures)), [
    'cpu',
    'tboard',
    'soc2',
    'tdiode',
    'soc0',
    'tj',
    'soc1',
  ]);
  assert.equal(Object.keys(named(sample.power)), [
    'VDD_GPU_SOC',
    'VDD_CPU_CV',
    'VIN_SYS_5V0',
    'VDDQ_VDD2_1V8AO',
  ]);
});

test('tegrastats of a smaller Orin: the module input is one rail', () => {
  const sample = sampleOf(orin.tegrastatsModule);
  assert.equal(sample.gpu, { percent: 84, mhz: 713 });
  assert.equal(inputPower(sample.power), { watts: 17.946, from: 'VDD_IN' });
});

test('tegrastats of an AGX Thor, JetPack 7: three GPCs without a load, other rails, maxima behind', () => {
  const first = sampleOf(thor.tegrastats38);
  assert.equal(first.gpu, { percent: null, mhz: 314 });
  assert.equal(inputPower(first.power), { watts: 19.78, from: 'VIN' });
  const second = sampleOf(thor.tegrastats39);
  assert.is(named(second.temperatures).cpu, 34.312, 'now, not the maximum');
  assert.is(named(second.power).VDD_CPU_SOC_MSS, 7.953);
  assert.is(inputPower(second.power)?.from, 'VDD_GPU + VDD_CPU_SOC_MSS + VIN_SYS_5V0');
});

test('without root there is no EMC and no GPU', () => {
  const sample = sampleOf(thor.tegrastatsUser);
  assert.equal(
    [sample.emc, sample.gpu],
    [
      { percent: null, mhz: null },
      { percent: null, mhz: null },
    ],
  );
  assert.is(inputPower(sample.power)?.watts, 87.426);
});

test('every cut of a line is refused, or tells only figures that the whole line tells', () => {
  for (const line of [
    ...orin.tegrastats,
    orin.tegrastats35,
    orin.tegrastatsModule,
    thor.tegrastats38,
    thor.tegrastats39,
  ]) {
    const whole = value(parseTegrastats(line));
    const [temperatures, power] = [named(whole.temperatures), named(whole.power)];
    let kept = 0;
    for (let length = 0; length < line.length; length++) {
      const parsed = parseTegrastats(line.slice(0, length));
      if (!('value' in parsed)) continue;
      kept++;
      const cut = parsed.value;
      assert.equal([cut.emc, cut.gpu], [whole.emc, whole.gpu], `cut at ${length}`);
      for (const { name, value: number } of cut.temperatures)
        assert.is(number, temperatures[name], `${name}, ${length}`);
      for (const { name, value: number } of cut.power) assert.is(number, power[name], `${name}, ${length}`);
    }
    assert.ok(kept < 70, `${kept} cuts were taken for whole`);
  }
});

test('Jetson Linux, and the JetPack that it belongs to', () => {
  assert.is(value(parseTegraRelease(orin.release)), 'L4T 36.4.4, JetPack 6.2.1');
  assert.is(value(parseTegraRelease(thor.release)), 'L4T 38.2.0, JetPack 7.0');
  const unknown = value(parseTegraRelease(orin.release.replace('4.4,', '99.1,')));
  assert.is(unknown, 'L4T 36.99.1', 'a release that is not listed has no JetPack');
  for (const text of ['', '# R36 (release), REVISION: 4', '# R36', 'Ubuntu'])
    assert.ok('malformed' in parseTegraRelease(text), text);
});

test('the power mode', () => {
  assert.is(value(parseNvpmodel(thor.nvpmodel)), 'MAXN');
  assert.is(value(parseNvpmodel(thor.nvpmodel120W)), '120W');
  assert.is(value(parseNvpmodel(`NVPM VERB: Config file: /etc/nvpmodel.conf\n${orin.nvpmodel15W}`)), '15W');
  for (const text of ['', 'NV Power Mode: MAX', 'NVPM ERROR: optMask is 1, no request for power mode\n'])
    assert.ok('malformed' in parseNvpmodel(text), text);
});

test('jetson_clocks: free on Orin, held on Thor although its memory range is wide', () => {
  const free = value(parseJetsonClocks(orin.jetsonClocks));
  assert.is(free.locked, false);
  assert.is(free.powerMode, 'MAXN');
  assert.equal(free.ranges, [
    { name: 'cpu0', min: 729.6, max: 2201.6 },
    { name: 'cpu1', min: 729.6, max: 2201.6 },
    { name: 'gpu', min: 306, max: 1300.5 },
    { name: 'emc', min: 204, max: 3199 },
  ]);
  const held = value(parseJetsonClocks(thor.jetsonClocks));
  assert.is(held.locked, true);
  assert.equal(
    held.ranges.map(({ name }) => name),
    ['cpu0', 'gpu-gpc-0', 'gpu-nvd-0', 'emc'],
  );
  assert.is(
    value(parseJetsonClocks(thor.jetsonClocks.replace('FreqOverride=1', 'FreqOverride=0'))).locked,
    false,
  );
});

test('jetson_clocks: a cut text has no value', () => {
  for (let length = 0; length < thor.jetsonClocks.length; length += 7) {
    const parsed = parseJetsonClocks(thor.jetsonClocks.slice(0, length));
    // cut at the end of a line after the GPU's, every range in it is whole
    if ('value' in parsed)
      for (const { min, max } of parsed.value.ranges) assert.ok(min >= 665 && max >= 1575);
  }
  assert.ok(
    'malformed' in parseJetsonClocks('Error: Run this script(/usr/bin/jetson_clocks) as a root user\n'),
  );
  assert.ok('malformed' in parseJetsonClocks(orin.jetsonClocks.replace('GPU MinFreq=306000000 ', 'GPU ')));
});

test('nvidia-smi: what is not told is null, the mask becomes names, an idle GPU is no reason', () => {
  const fields = [
    ...(['name', 'driver_version', 'compute_cap', 'memory.total', 'clocks.current.graphics'] as const),
    ...(['clocks.current.memory', 'temperature.gpu', 'power.draw', 'clocks_event_reasons.active'] as const),
  ];
  const read = (text: string) => {
    const cells = value(parseGpuCells(text, fields));
    return { ...gpuFacts(cells), ...gpuMoment(cells) };
  };
  const text =
    'NVIDIA GeForce RTX 4090, 550.54.14, 8.9, 24564, 2520, 10251, 71, 412.50, 0x0000000000000025\n';
  const gpu = read(text);
  assert.is(gpu.memoryBytes, 24564 * 2 ** 20);
  assert.is(gpu.watts, 412.5);
  assert.equal([gpu.clock, gpu.memoryClock, gpu.temperature], [2520, 10251, 71]);
  assert.equal(gpu.reasons, ['sw_power_cap', 'sw_thermal_slowdown']);
  const silent = read('Orin (nvgpu), 540.4.0, [N/A], [N/A], [N/A], [N/A], [N/A], [Not Supported], [N/A]\n');
  assert.is(silent.name, 'Orin (nvgpu)');
  for (const key of ['computeCapability', 'memoryBytes', 'clock', 'temperature', 'watts', 'reasons'] as const)
    assert.is(silent[key], null, key);
  assert.equal(read(text.replace('25\n', '1\n').replace('0x00', '0x08')).reasons, [
    'reason 0x80000000000000',
  ]);
  for (const cut of ['', text.slice(0, -1), text.slice(0, 40), text.replace(', 71', '')])
    assert.ok('malformed' in parseGpuCells(cut, fields), cut);
  assert.is(read(text.replace('412.50', '4 12.50')).watts, null, 'no number is no number');
});

test('counters and processes of the kernel', () => {
  assert.equal(parseProcStat('cpu  100 10 30 9000 5 2 3 40 0 0\ncpu0 1'), [
    { name: 'cpu-busy', value: 1.45 },
    { name: 'cpu-steal', value: 0.4 },
  ]);
  assert.is(parseProcStat('cpu  100 10 30'), null, 'a kernel that does not tell the steal is not read half');
  const line = '42 (a) R (b) ) S 7 42 42 0 -1 4194304 1 0 0 0 250 150 0 0 20 0 1 0 100 1 1\n';
  assert.equal(parseProcessStat(line), { pid: 42, parent: 7, name: 'a) R (b) ', seconds: 4 });
  assert.is(parseProcessStat('42 (a) S 7 42'), null);
});

test('who else was busy: this process and its children are not others', () => {
  const at = (pid: number, parent: number, name: string, seconds: number) => ({ pid, parent, name, seconds });
  const before = [at(1, 0, 'init', 5), at(10, 1, 'node', 1), at(20, 1, 'chrome', 100)];
  const after = [
    at(1, 0, 'init', 5),
    at(10, 1, 'node', 3),
    at(11, 10, 'engine', 1),
    at(20, 1, 'chrome', 101),
    at(21, 20, 'chrome', 0.5),
  ];
  assert.equal(processShares(before, after, 10, 2), {
    ownSeconds: 3,
    others: [{ name: 'chrome', value: 75 }],
  });
});

test.run();
