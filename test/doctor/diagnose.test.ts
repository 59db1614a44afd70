import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { doctorExitCode, doctorText } from '../../lib/cli/doctor.ts';
import { type DoctorReport, diagnose } from '../../lib/doctor/diagnose.ts';
import type { Probe } from '../../lib/doctor/probe.ts';
import { checkSealedFiles } from '../../lib/doctor/sealedFiles.ts';
import { checkEngineCache, checkTensorRt, type TensorRtState } from '../../lib/doctor/tensorRt.ts';
import { EngineCache } from '../../lib/engine/engineCache.ts';
import { cli } from '../helpers/cli.ts';

const test = suite('doctor');

/** Its output; null: it ends with an error. */
type Command = (args: readonly string[]) => string | null;

interface Machine {
  readonly files?: Readonly<Record<string, string>>;
  readonly folders?: Readonly<Record<string, readonly string[]>>;
  readonly commands?: Readonly<Record<string, string | Command>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly tensorRt?: TensorRtState;
}

const noTensorRt: TensorRtState = {
  code: 'TENSORRT_NOT_FOUND',
  message: 'TensorRT: expected one, found none.\nTried: /a',
};
const orin: TensorRtState = {
  found: {
    family: 'trt10',
    version: '10.3.0.30',
    library: '/usr/lib/libnvinfer.so.10',
    source: 'system',
    module: '/app/semanticvla_trt10.so',
    hasKernels: true,
  },
};

/** A machine that contains only what is listed. */
function machine({
  files = {},
  folders = {},
  commands = {},
  env = {},
  tensorRt = noTensorRt,
}: Machine): Probe {
  return {
    env,
    readText: (path) => files[path] ?? null,
    list: (path) => folders[path] ?? [],
    resolve: (path) => path,
    run: (command, args) => {
      const answer = commands[command] ?? null;
      return typeof answer === 'function' ? answer(args) : answer;
    },
    tensorRt: () => tensorRt,
  };
}

function found(report: DoctorReport, name: string): string {
  return report.checks.find((check) => check.name === name)!.found;
}

/** Answers like nvidia-smi: if the driver does not know one of the fields, there is only an error. */
function smi(gpus: readonly Readonly<Record<string, string>>[], { around = '' } = {}): Command {
  return (args) => {
    const value = (flag: string): string | undefined =>
      args.find((arg) => arg.startsWith(flag))?.slice(flag.length);
    const id = value('--id=');
    const rows = gpus
      .map((gpu, index) => ({ index: `${index}`, ...gpu }) as Record<string, string>)
      .filter(({ index }) => id === undefined || index === id)
      .map((gpu) =>
        value('--query-gpu=')!
          .split(',')
          .map((field) => gpu[field]),
      );
    if (rows.length === 0 || rows.some((row) => row.includes(undefined))) return null;
    return around + rows.map((row) => `${row.join(', ')}\n`).join('') + around;
  };
}

const rtx4090 = {
  name: 'NVIDIA GeForce RTX 4090',
  driver_version: '550.54.14',
  compute_cap: '8.9',
  'memory.total': '24564',
  persistence_mode: 'Enabled',
  'clocks.max.graphics': '3105',
  'clocks.max.memory': '10501',
  'clocks.current.graphics': '210',
  'clocks.current.memory': '405',
  'temperature.gpu': '41',
  'power.draw': '21.10',
  'clocks_event_reasons.active': '0x0000000000000001',
};
const ldconfig = `
	libnvinfer.so.10 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libnvinfer.so.10.3.0
	libnvinfer_plugin.so.10 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libnvinfer_plugin.so.10.3.0
	libcudart.so.12 (libc6,x86-64) => /usr/local/cuda/lib64/libcudart.so.12.4.127
`;

test('no GPU: absent, not missing; exit code 0, and 20 when TensorRT is asked for', () => {
  const report = diagnose({ probe: machine({}) });
  for (const name of ['GPU', 'GPU driver', 'CUDA runtime', 'TensorRT']) {
    const check = report.checks.find((candidate) => candidate.name === name)!;
    assert.is(check.status, 'absent', name);
    assert.is(check.fix, null, 'nothing to install without a card');
  }
  assert.is(doctorExitCode(report, 'cpu'), 0);
  assert.is(doctorExitCode(report, 'tensorrt'), 20);
});

test('a desktop card with everything', () => {
  const commands = { 'nvidia-smi': smi([rtx4090]), ldconfig };
  const report = diagnose({ probe: machine({ commands, tensorRt: orin }) });
  assert.is(found(report, 'GPU'), 'NVIDIA GeForce RTX 4090, 24564 MiB, SM 8.9');
  assert.is(found(report, 'GPU driver'), '550.54.14');
  assert.match(found(report, 'CUDA runtime'), /^12\.4\.127, /);
  assert.match(found(report, 'TensorRT'), /^10\.3\.0\.30, /);
  assert.equal(report.backends.tensorrtLacks, []);
  assert.is(doctorExitCode(report, 'tensorrt'), 0);
  assert.match(doctorText(report), /^ok +backend tensorrt +can predict$/m);
});

test('a TensorRT whose builder has nothing for the card: what is missing, on a desktop and on an Orin', () => {
  const split = {
    found: { ...('found' in orin ? orin.found : assert.unreachable()), version: '10.16.2.10' },
  } as TensorRtState;
  const here = (names: readonly string[]) => ({ '/usr/lib': names });
  const ptx = 'libnvinfer_builder_resource_ptx.so.10.16.2';
  const own = (arch: number) => `libnvinfer_builder_resource_sm${arch}.so.10.16.2`;
  const desktop = { commands: { 'nvidia-smi': smi([rtx4090]), ldconfig }, tensorRt: split };
  const board = {
    files: {
      '/etc/nv_tegra_release': '# R39 (release), REVISION: 2.0, GCID: 1',
      '/proc/device-tree/model': 'NVIDIA Jetson AGX Orin Developer Kit\0',
    },
    tensorRt: split,
  };
  for (const [one, arch] of [
    [desktop, 89],
    [board, 86],
  ] as const) {
    const lacking = diagnose({ probe: machine({ ...one, folders: here([ptx]) }) });
    const row = lacking.checks.find(({ name }) => name === 'TensorRT')!;
    assert.is(row.status, 'absent');
    assert.ok(row.found.includes(`expected ${own(arch)} beside /usr/lib/libnvinfer.so.10`), row.found);
    assert.match(row.fix!, /--reinstall libnvinfer10/);
    const whole = diagnose({ probe: machine({ ...one, folders: here([ptx, own(arch)]) }) });
    assert.match(found(whole, 'TensorRT'), /^10\.16\.2\.10, /);
  }
});

test('nvidia-smi: several cards, warnings, fields that a driver does not know, cells that say nothing', () => {
  const gpu = (...gpus: Parameters<typeof smi>): [string, string] => {
    const report = diagnose({ probe: machine({ commands: { 'nvidia-smi': smi(...gpus) } }) });
    return [found(report, 'GPU'), found(report, 'GPU driver')];
  };
  const titan = { ...rtx4090, name: 'NVIDIA TITAN V', compute_cap: '7.0', 'memory.total': '12288' };
  assert.equal(gpu([rtx4090, titan], { around: 'WARNING: infoROM is corrupted at gpu 0000:01:00.0\n' }), [
    'NVIDIA GeForce RTX 4090, 24564 MiB, SM 8.9; NVIDIA TITAN V, 12288 MiB, SM 7.0',
    '550.54.14',
  ]);
  const { name, driver_version, 'memory.total': memory } = titan;
  assert.equal(gpu([{ name, driver_version, 'memory.total': memory }]), [
    'NVIDIA TITAN V, 12288 MiB',
    '550.54.14',
  ]);
  const silent = {
    ...titan,
    compute_cap: '[N/A]',
    'memory.total': '[Not Supported]',
    driver_version: '[N/A]',
  };
  assert.equal(gpu([silent]), ['NVIDIA TITAN V', 'unknown version']);
});

test('a card without driver, CUDA or TensorRT: each with the command that installs it', () => {
  const device = '/sys/bus/pci/devices/0000:01:00.0';
  const report = diagnose({
    probe: machine({
      folders: { '/sys/bus/pci/devices': ['0000:01:00.0'] },
      files: { [`${device}/vendor`]: '0x10de\n', [`${device}/class`]: '0x030000\n' },
    }),
  });
  assert.is(doctorExitCode(report, 'tensorrt'), 21);
  const text = doctorText(report);
  assert.match(text, /^GPU driver: {2}sudo apt-get install /m);
  assert.match(text, /^CUDA runtime: {2}sudo apt-get install /m);
  assert.match(text, /^TensorRT: {2}pip install /m);
});

test('a Jetson', () => {
  const report = diagnose({
    probe: machine({
      files: {
        '/etc/nv_tegra_release': '# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic',
        '/proc/device-tree/model': 'NVIDIA Jetson AGX Orin Developer Kit\0',
        '/proc/cpuinfo':
          'processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp\nCPU implementer\t: 0x41\nCPU part\t: 0xd42\n',
      },
    }),
  });
  assert.match(found(report, 'CPU'), /^Cortex-A78AE, \d+ threads, asimddp$/);
  assert.is(found(report, 'GPU'), 'NVIDIA Jetson AGX Orin Developer Kit');
  assert.is(found(report, 'GPU driver'), 'Jetson Linux 36.4.3');
  assert.match(doctorText(report), /^TensorRT: {2}sudo apt-get install -y nvidia-jetpack$/m);
  assert.match(doctorText(report), /^CUDA runtime: {2}sudo apt-get install -y nvidia-jetpack$/m);
  assert.is(doctorExitCode(report, 'tensorrt'), 23);
});

test('every state of TensorRT has one line and a next step', () => {
  const line = (state: TensorRtState, name: string) =>
    checkTensorRt(state, true, false).find((check) => check.name === name)!;
  const bare: TensorRtState = { found: { ...orin.found, hasKernels: false } };
  assert.match(line(bare, 'TensorRT module').found, /without nvcc: it builds engines and runs none/);
  assert.match(line(bare, 'TensorRT module').fix!, /fetchNvcc\.sh && npm run build:native/);
  const onJetson = checkTensorRt(bare, true, true).find((check) => check.name === 'TensorRT module')!;
  assert.is(onJetson.fix, 'sudo apt-get install -y nvidia-jetpack && npm run build:native');
  const codes = [
    'TENSORRT_NOT_FOUND',
    'TENSORRT_AMBIGUOUS',
    'TENSORRT_UNSUPPORTED',
    'ADDON_NOT_BUILT',
  ] as const;
  for (const code of codes) {
    const check = line({ code, message: `${code} in one line\nand more` }, 'TensorRT');
    assert.is(check.found, `${code} in one line`);
    assert.ok(check.fix);
  }
  const missing: TensorRtState = { code: 'TENSORRT_MODULE_MISSING', message: 'no module' };
  assert.is(line(missing, 'TensorRT').status, 'ok');
  assert.match(line(missing, 'TensorRT module').fix!, /libnvinfer-headers-dev .*&& npm run build:native$/);
  const rtx: TensorRtState = { code: 'TENSORRT_MODULE_MISSING', message: 'no semanticvla_rtx1.so' };
  assert.is(line(rtx, 'TensorRT module').fix, 'scripts/fetchTensorRtRtx.sh && npm run build:native');
  assert.is(checkTensorRt(noTensorRt, false, false)[0]!.fix, null);
});

test('the engine cache: empty, with plans, open to everybody', () => {
  const dir = mkdtempSync(join(tmpdir(), 'semanticvla-doctor-'));
  try {
    assert.match(checkEngineCache(dir).found, /^empty/);
    mkdirSync(join(dir, 'engines'), { mode: 0o700 });
    writeFileSync(join(dir, 'engines/a.plan'), '');
    assert.match(checkEngineCache(dir).found, /^1 plans in /);
    chmodSync(join(dir, 'engines'), 0o777);
    const { status, fix } = checkEngineCache(dir);
    assert.is(status, 'missing');
    assert.match(fix!, /^chmod o-w /);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('timing caches and compiled kernels: none, some, one that will not be used', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'semanticvla-doctor-'));
  const lines = () => checkSealedFiles(dir).map(({ name, found, status }) => [name, status, found] as const);
  try {
    assert.equal(
      lines().map(([name, status]) => [name, status]),
      [
        ['timing cache', 'ok'],
        ['compiled kernels', 'ok'],
      ],
    );
    assert.match(lines()[0]![2], /^none; TensorRT 10 and 11 make one/);
    assert.match(lines()[1]![2], /^none; TensorRT-RTX leaves them/);
    const cache = await EngineCache.open({ dir });
    const timings = cache.sealed({ kind: 'timings', device: 'Orin' });
    await timings.replace(Buffer.from('measured'));
    await cache.sealed({ kind: 'kernels', device: 'a' }).replace(Buffer.from('compiled'));
    await cache.sealed({ kind: 'kernels', device: 'b' }).replace(Buffer.from('compiled'));
    assert.is(lines()[0]![2], `1 in ${join(dir, 'engines')}`);
    assert.is(lines()[1]![2], `2 in ${join(dir, 'engines')}`);
    writeFileSync(timings.path, 'changed');
    assert.match(lines()[0]![2], /^1 in .*; timings-\w+\.cache was changed; the next build measures anew$/);
    rmSync(`${timings.path}.json`);
    assert.match(lines()[0]![2], /ENOENT.*; the next build measures anew$/);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('what the CPU runtime lacks decides the exit code', () => {
  const report = diagnose({ cacheDir: '/proc/semanticvla' });
  const cache = report.checks.find(({ name }) => name === 'cache folder')!;
  assert.is(cache.status, 'missing');
  assert.match(cache.fix!, /SEMANTICVLA_CACHE/);
  assert.not(report.backends.cpu);
  assert.is(doctorExitCode(report, 'cpu'), 13);
  const broken: DoctorReport = {
    ...report,
    checks: report.checks.map((check) =>
      check.name === 'addon' ? { ...check, status: 'missing' as const } : check,
    ),
  };
  assert.is(doctorExitCode(broken, 'cpu'), 11);
});

test('on this machine: the CPU runtime can predict; one JSON value; the text is one block', () => {
  const { code, stdout, stderr } = cli('doctor', '--json');
  assert.is(code, 0, stdout);
  assert.is(stderr, '');
  const report: DoctorReport = JSON.parse(stdout);
  assert.ok(report.backends.cpu);
  assert.is(found(report, 'Node'), process.versions.node);
  const text = cli('doctor').stdout;
  assert.is(text.match(/^ok +/gm)!.length >= 9, true, text);
  assert.not.match(text, /MISSING/);
});

test.run();
