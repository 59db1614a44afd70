/** What boards print that no list knows: known words are read wherever they stand, the others are named once a run. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseProcStat } from '../../lib/machine/counters.ts';
import { inputPower } from '../../lib/machine/hwmon.ts';
import { parseJetsonClocks, parseNvpmodel, parseTegraRelease } from '../../lib/machine/jetson.ts';
import { gpuFacts, gpuMoment, parseGpuCells, readGpuCells } from '../../lib/machine/nvidiaSmi.ts';
import type { Parsed } from '../../lib/machine/parsed.ts';
import { readMachine, readSnapshot } from '../../lib/machine/readMachine.ts';
import { SeriesBuilder } from '../../lib/machine/seriesBuilder.ts';
import { parseTegrastats, type TegraSample } from '../../lib/machine/tegrastats.ts';
import type { Reading } from '../../lib/machine/types.ts';
import { machineWarnings } from '../../lib/machine/warnings.ts';
import { fakeNothing, fakeOrin, probeOf } from './fakeMachines.ts';
import { orin, thor } from './recorded.ts';

const test = suite('what boards print');

/** Thor at idle, whose gated rail reads below 0; a Xavier NX; a line cut in the middle of its last word. */
const idleThor =
  'RAM 9000/125770MB (lfb 100x4MB) SWAP 0/0MB (cached 0MB) CPU [1%@972,0%@972] EMC_FREQ 1%@4266 GR3D_FREQ @[0,0,0] cpu@41C/41.5C tj@41C/41.2C VDD_GPU -392mW/-392mW/0mW VDD_CPU_SOC_MSS 3924mW/3924mW/3924mW VIN 24212mW/24212mW/24212mW';
const xavier =
  'RAM 2387/7774MB (lfb 961x4MB) SWAP 0/3887MB (cached 0MB) CPU [14%@1190,9%@1190,2%@1190,4%@1190,0%@1190,1%@1344] EMC_FREQ 1%@1600 GR3D_FREQ 0%@114 VIC_FREQ 0%@115 APE 150 MTS fg 0% bg 3% AO@31C GPU@31.5C PMIC@100C AUX@31.5C CPU@33C thermal@31.95C VDD_IN 3528/3569 VDD_CPU_GPU_CV 410/426 VDD_SOC 1107/1115';
const cut =
  'RAM 2513/7620MB (lfb 1x4MB) SWAP 25/3810MB (cached 0MB) CPU [11%@729,7%@729] GR3D_FREQ 0% cpu@51.218C tj@51.718C VDD_IN 4744mW/61';

function value<T>(parsed: Parsed<T>): T {
  assert.ok('value' in parsed, 'malformed' in parsed ? parsed.malformed : '');
  return (parsed as { value: T }).value;
}

const sampleOf = (line: string): TegraSample => value(parseTegrastats(line));

const named = (readings: readonly Reading[]): Record<string, number> =>
  Object.fromEntries(readings.map(({ name, value: number }) => [name, number]));

test('a rail below 0: its offset, not a word that is unknown', () => {
  const sample = sampleOf(idleThor);
  assert.equal(named(sample.power), { VDD_GPU: -0.392, VDD_CPU_SOC_MSS: 3.924, VIN: 24.212 });
  assert.equal(named(sample.temperatures), { cpu: 41, tj: 41 });
  assert.equal(sample.gpu, { percent: null, mhz: 0 });
  assert.equal(sample.unknown, []);
});

test('an older board: rails in milliwatts without the unit, and words that are passed over', () => {
  const sample = sampleOf(xavier);
  assert.equal(sample.gpu, { percent: 0, mhz: 114 });
  assert.equal(sample.emc, { percent: 1, mhz: 1600 });
  assert.equal(named(sample.temperatures), {
    ...{ ao: 31, gpu: 31.5, pmic: 100, aux: 31.5, cpu: 33, thermal: 31.95 },
  });
  assert.equal(named(sample.power), { VDD_IN: 3.528, VDD_CPU_GPU_CV: 0.41, VDD_SOC: 1.107 });
  assert.is(inputPower(sample.power)?.watts, 3.528);
  assert.equal(sample.unknown, ['MTS fg 0% bg 3%']);
});

test('a line cut in the middle of its last word is refused, wherever the cut is', () => {
  assert.ok('malformed' in parseTegrastats(cut));
  for (const line of [idleThor, xavier, orin.tegrastats[0]!]) {
    const whole = value(parseTegrastats(line));
    const first = line.search(/ [A-Za-z]+@/);
    for (let length = first; length < line.length; length++) {
      const parsed = parseTegrastats(line.slice(0, length));
      if (!('value' in parsed)) continue;
      for (const { name, value: watts } of parsed.value.power)
        assert.is(watts, named(whole.power)[name], `${name} of ${line.slice(0, length).slice(-20)}`);
      for (const { name, value: degrees } of parsed.value.temperatures)
        assert.is(degrees, named(whole.temperatures)[name]);
    }
  }
});

test('a word that no board printed yet loses only itself, wherever it stands', () => {
  const words = [
    'NPU0 util=3',
    'fan@rpm 1200',
    'GR4D_FREQ 1%@[2,x]',
    '{"power": 3}',
    'VDD_NEW 12kW',
    '--',
    '§',
  ];
  for (const line of [idleThor, xavier, orin.tegrastats[0]!, thor.tegrastats39]) {
    const expected = sampleOf(line);
    // before any known word but the first, which keeps the end of the line as it is
    const places = [...line.matchAll(/ (?=RAM |SWAP |CPU |EMC_FREQ |GR3D_FREQ |tj@|thermal@|VDD_|VIN )/g)];
    for (const word of words) {
      for (const { index } of places) {
        const sample = sampleOf(`${line.slice(0, index)} ${word}${line.slice(index)}`);
        assert.equal({ ...sample, unknown: [] }, { ...expected, unknown: [] }, `${word} at ${index}`);
        assert.ok(sample.unknown.join(' ').includes(word.split(' ').at(-1)!), sample.unknown.join('; '));
      }
    }
  }
  // at the end too, where it cannot be the beginning of a rail or a temperature
  const last = sampleOf(`${orin.tegrastats[0]} FAN 30%`);
  assert.is(named(last.power).VIN_SYS_5V0, 4.707);
  assert.ok('malformed' in parseTegrastats(`${orin.tegrastats[0]} VDD_NEW 30`), 'of 3012mW, perhaps');
});

test('what is not a line of tegrastats stays refused', () => {
  for (const text of ['', 'Failed to open /sys/kernel/debug', 'RAM 1/2MB (lfb 1x4MB)', 'cpu@41C VIN 1mW/1mW'])
    assert.ok('malformed' in parseTegrastats(text), text);
});

test('passed over is named once a run, with figures that differ', () => {
  const files = { '/etc/nv_tegra_release': orin.release };
  const snapshots = [3, 14, 7].map((percent) => {
    const line = `${xavier.replace('bg 3%', `bg ${percent}%`)}\n`;
    return readSnapshot(probeOf({ files, commands: { sh: line } }));
  });
  assert.equal(snapshots[1]!.unread, ['tegrastats: MTS fg 0% bg 14%']);
  assert.is(named(snapshots[0]!.power).total, 3.528);
  const builder = new SeriesBuilder({ cores: 6, powerPeriodMs: null });
  for (const [i, snapshot] of snapshots.entries()) builder.add(snapshot, 100 * i);
  const series = builder.result()!;
  assert.equal(series.unread, ['tegrastats: MTS fg 0% bg 3%']);

  const machine = readMachine({ probe: probeOf({ files, commands: { sh: `${xavier}\n` } }) });
  const warnings = machineWarnings({ ...machine, series: { ...series, startMonotonicMs: 0 } });
  const told = warnings.filter(({ code }) => code === 'board-text');
  assert.is(told.length, 1);
  assert.match(told[0]!.text, /not known here \(tegrastats: MTS fg 0% bg 3%\)/);
  assert.equal(
    machineWarnings(readMachine({ probe: probeOf(fakeOrin) })).filter(({ code }) => code === 'board-text'),
    [],
  );
});

test('a cut line of the tool is told too, and what else the board tells stays', () => {
  const files = { ...fakeNothing.files, '/etc/nv_tegra_release': orin.release };
  const machine = readMachine({
    probe: probeOf({ files, commands: { sh: `${cut}\n`, nvpmodel: 'NVPM WARN: power mode is not set!\n' } }),
  });
  assert.is(machine.jetpack, 'L4T 36.4.4, JetPack 6.2.1');
  const unread = machine.start.unread!.join('\n');
  assert.match(unread, /tegrastats: expected a whole temperature or rail at the end/);
  assert.match(unread, /nvpmodel -q: expected a line/);
});

test('the power mode as --verbose prints it, and with lines around', () => {
  const verbose =
    'NVPM VERB: Config file: /etc/nvpmodel.conf\nNVPM VERB: parsing done for /etc/nvpmodel.conf\nNVPM VERB: Current mode: NV Power Mode: 25W\n1\nNVPM VERB: PARAM CPU_ONLINE: ARG CORE_0\n';
  assert.is(value(parseNvpmodel(verbose)), '25W');
  assert.is(
    value(parseNvpmodel('NV Fan Mode:quiet\nNV Power Mode: MODE_15W_6CORE\r\n2\r\n')),
    'MODE_15W_6CORE',
  );
  assert.ok('malformed' in parseNvpmodel('NVPM VERB: Current mode: NV Power Mode: 25'), 'cut');
  const clocks = orin.jetsonClocks.replace('NV Power Mode:', 'NVPM VERB: Current mode: NV Power Mode:');
  assert.is(value(parseJetsonClocks(clocks)).powerMode, 'MAXN');
});

test('jetson_clocks: lines and words that are not known lose only themselves', () => {
  const expected = value(parseJetsonClocks(thor.jetsonClocks));
  const more = thor.jetsonClocks
    .replace('cpu0: ', 'NPU0: Online=1 MinFreq=x\nNVHOST warning: deprecated\ncpu0: New=1 ')
    .replace(/MinFreq=1575000000 /, 'AvgFreq=3 MinFreq=1575000000 Step=7 ')
    .replace('EMC ', 'EMC Bus=256 ');
  assert.equal(value(parseJetsonClocks(more)), expected);
  const odd = value(parseJetsonClocks(`${thor.jetsonClocks}cpu99: Online=1 Governor=none\n`));
  assert.equal(odd, expected);
});

test('nvidia-smi: warnings around the values, cells in brackets, fields that a driver does not know', () => {
  const fields = ['name', 'clocks.current.memory', 'temperature.gpu', 'power.draw'] as const;
  const line = 'NVIDIA Thor, [Unknown Error], 41, [Something New]\n';
  const cells = value(
    parseGpuCells(
      `WARNING: persistence is legacy\n${line}WARNING: infoROM is corrupted at gpu 0000:01:00.0\n`,
      fields,
    ),
  );
  const { memoryClock, watts, temperature } = gpuMoment(cells);
  assert.equal([gpuFacts(cells).name, memoryClock, watts, temperature], ['NVIDIA Thor', null, null, 41]);

  const gpu = {
    name: 'Quadro GV100',
    driver_version: '418.40',
    'temperature.gpu': '44',
    'clocks_throttle_reasons.active': '0x0000000000000004',
  };
  const old = value(readGpuCells(probeOf({ files: {}, gpu }))!);
  const [facts, moment] = [gpuFacts(old), gpuMoment(old)];
  assert.equal([facts.name, facts.driver, moment.temperature], ['Quadro GV100', '418.40', 44]);
  assert.equal([facts.computeCapability, moment.watts], [null, null]);
  assert.equal(moment.reasons, ['sw_power_cap']);
});

test('releases: JetPack 7.2.1 by name, words that are new, and one that no list has', () => {
  const text = '# R39 (release), REVISION: 2.1, GCID: 1, BOARD: generic, EABI: aarch64, DATE: Fri\n';
  assert.is(value(parseTegraRelease(text)), 'L4T 39.2.1, JetPack 7.2.1');
  const more = `# KERNEL_VARIANT: oot\n${text.replace(', REVISION', ', FLAVOR: server, REVISION')}# INSTALL_TYPE:\n`;
  assert.is(value(parseTegraRelease(more)), 'L4T 39.2.1, JetPack 7.2.1');
  assert.is(value(parseTegraRelease(text.replace('2.1', '9.1'))), 'L4T 39.9.1');
  const files = { '/etc/nv_tegra_release': 'R40\n' };
  assert.is(readMachine({ probe: probeOf({ files }) }).jetpack, 'L4T unknown', 'still a Jetson');
});

test('/proc/stat with more columns than are known, and lines before', () => {
  assert.equal(parseProcStat('version 2\ncpu  100 10 30 9000 5 2 3 40 0 0 7 8\ncpu0 1'), [
    { name: 'cpu-busy', value: 1.45 },
    { name: 'cpu-steal', value: 0.4 },
  ]);
});

test.run();
