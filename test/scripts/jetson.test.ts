/** `scripts/jetson.sh` on played boards: Orin and Thor with the JetPacks that serve them, and what it refuses. */

import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, hostname, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type BoardProbe, checkBoard } from '../../scripts/gpu/board.ts';
import { type FakeMachine, fakeOrin, fakeThor, probeOf } from '../machine/fakeMachines.ts';
import { orin, thor } from '../machine/recorded.ts';

const test = suite('a board to measure');
const root = join(import.meta.dirname, '../..');

interface Played {
  readonly machine: FakeMachine;
  /** `36.4.3` */
  readonly l4t: string;
  readonly tensorRt: string | null;
  readonly freeDisk?: number;
  readonly without?: readonly string[];
  readonly available?: number;
}

const release = (l4t: string): string => {
  const [major, ...minor] = l4t.split('.');
  return `# R${major} (release), REVISION: ${minor.join('.')}, GCID: 41062509, BOARD: generic, EABI: aarch64, DATE: Mon Jun 16 16:07:13 UTC 2025\n`;
};

function filesOf({ machine, l4t, tensorRt, without = [], available }: Played): Record<string, string> {
  const files: Record<string, string> = {
    ...machine.files,
    '/etc/nv_tegra_release': release(l4t),
    '/usr/include/aarch64-linux-gnu/NvInfer.h': '',
    '/usr/local/cuda/bin/nvcc': '',
    ...(tensorRt === null ? {} : { [`/usr/lib/aarch64-linux-gnu/libnvinfer.so.${tensorRt}`]: '' }),
    ...(available === undefined
      ? {}
      : { '/proc/meminfo': `MemTotal: 7800000 kB\nMemAvailable: ${Math.round(available / 1024)} kB\n` }),
  };
  for (const path of without) delete files[path];
  return files;
}

function played(board: Played): BoardProbe {
  return {
    ...probeOf({ ...board.machine, files: filesOf(board) }),
    env: {},
    resolve: (path) => path,
    tensorRt: () => ({ code: 'TENSORRT_NOT_FOUND', message: '' }),
    freeDisk: () => board.freeDisk ?? 200e9,
  };
}

const boards: readonly (Played & { readonly words: RegExp })[] = [
  { machine: fakeOrin, l4t: '36.4.3', tensorRt: '10.3.0', words: /JetPack 6\.2$/ },
  { machine: fakeOrin, l4t: '39.2.0', tensorRt: '10.16.2', words: /JetPack 7\.2$/ },
  { machine: fakeThor, l4t: '38.2.0', tensorRt: '10.13.3', words: /JetPack 7\.0$/ },
  { machine: fakeThor, l4t: '39.2.0', tensorRt: '10.16.2', words: /JetPack 7\.2$/ },
];

test('Orin with JetPack 6.2 and 7.2, Thor with 7.0 and 7.2: measured in full size, and described', () => {
  for (const board of boards) {
    const { facts, refusal, tooSmall, advice } = checkBoard(played(board));
    assert.is(refusal, null);
    assert.is(tooSmall, null);
    assert.match(facts.software!, board.words);
    assert.is(facts.TensorRT, `libnvinfer.so.${board.tensorRt}`);
    assert.is(facts['power mode'], 'MAXN');
    const isOrin = board.machine === fakeOrin;
    assert.match(facts.clocks!, isOrin ? /^not held: / : /^held: /);
    assert.match(facts.GPU!, isOrin ? /SM 8\.7/ : /SM 11\.0/);
    assert.is(
      advice.some((text) => text.includes('sudo jetson_clocks')),
      isOrin,
    );
  }
});

test('a release that no list knows is tried', () => {
  assert.is(checkBoard(played({ machine: fakeThor, l4t: '40.1.0', tensorRt: '10.20.1' })).refusal, null);
});

const ok: Played = boards[0]!;
const headers = '/usr/include/aarch64-linux-gnu/NvInfer.h';
const refusals: readonly [string, Played, RegExp][] = [
  ['no Jetson', { ...ok, without: ['/etc/nv_tegra_release'] }, /expected a Jetson .* run: npm run gpu$/],
  ['another chip', { ...ok, without: ['/proc/device-tree/compatible'] }, /expected a Jetson Orin or Thor/],
  [
    'JetPack 5 on Orin',
    { ...ok, l4t: '35.6.0' },
    /^L4T 35\.6\.0, JetPack 5\.1\.4: expected JetPack 6\.1, 6\.2 or 7\.2 on Orin.*SDK Manager$/,
  ],
  ['JetPack 6.0 on Orin', { ...ok, l4t: '36.3.0' }, /^L4T 36\.3\.0, JetPack 6\.0: expected JetPack 6\.1/],
  [
    'JetPack 7.0 on Orin',
    { ...ok, l4t: '38.2.0' },
    /JetPack 7\.0: expected JetPack 6\.1, 6\.2 or 7\.2 on Orin/,
  ],
  [
    'no TensorRT',
    { ...ok, tensorRt: null },
    /^TensorRT: expected libnvinfer\.so\.10 of L4T 36\.4\.3, JetPack 6\.2, found none; .*apt-get install -y nvidia-jetpack$/,
  ],
  ['no headers', { ...ok, without: [headers] }, /^TensorRT: expected its headers .* nvidia-jetpack$/],
  [
    'no compiler',
    { ...ok, without: ['/usr/local/cuda/bin/nvcc'] },
    /^CUDA: expected .*nvcc, found none; .* nvidia-jetpack$/,
  ],
  [
    'a full disk',
    { ...ok, freeDisk: 2e9 },
    /^disk: expected 8 GB free, found 2\.0 GB; free some, or name another disk with --work DIR$/,
  ],
  [
    'a full memory',
    { ...ok, available: 3e9 },
    /^memory: expected 6 GB free, found 3\.0 GB; end the desktop: sudo systemctl isolate multi-user\.target$/,
  ],
];
for (const [what, board, words] of refusals) {
  test(`refused in one sentence with the next step: ${what}`, () => {
    const { refusal } = checkBoard(played(board));
    assert.ok(refusal !== null);
    assert.match(refusal, words);
    assert.not.match(refusal, /\n/);
  });
}

test('a board without room for the full size: the small stages, and why', () => {
  const { refusal, tooSmall } = checkBoard(played({ ...ok, available: 7e9, freeDisk: 12e9 }));
  assert.is(refusal, null);
  assert.is(
    tooSmall,
    'the full size is left out: 7 GB of memory are free, and it takes 22 GB; 12 GB of disk are free, and it takes 28 GB',
  );
});

/** A board's files below a folder, and its tools in another. */
function play(folder: string, board: Played): NodeJS.ProcessEnv {
  for (const [path, text] of Object.entries(filesOf(board))) {
    const file = join(folder, 'root', path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  const tools: Record<string, string> = {
    nvpmodel: orin.nvpmodel15W,
    jetson_clocks: board.machine === fakeThor ? thor.jetsonClocks : orin.jetsonClocks,
    tegrastats: orin.tegrastats[0]!,
    ldconfig: '',
  };
  for (const [name, text] of Object.entries(tools)) {
    const file = join(folder, 'bin', name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `#!/bin/sh\ncat <<'END'\n${text}END\n`);
    chmodSync(file, 0o755);
  }
  return {
    ...process.env,
    PATH: `${join(folder, 'bin')}:${process.env.PATH}`,
    SEMANTICVLA_BOARD_ROOT: join(folder, 'root'),
  };
}

const jetson = (env: NodeJS.ProcessEnv, ...args: readonly string[]) =>
  spawnSync('scripts/jetson.sh', args, { cwd: root, encoding: 'utf8', env });

test('the script: a page to paste from a played Orin that says nothing of whose it is; what is missing is its last line', () => {
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-jetson-'));
  try {
    const out = ['--out', join(folder, 'figures'), '--work', folder];
    const env = play(folder, ok);
    const passed = jetson(env, '--on-cpu', ...out, '--golden', 'oft-tiny', '--stages', 'board,goldens');
    assert.is(passed.status, 0, `${passed.stdout}${passed.stderr}`);
    const page = readFileSync(join(folder, 'figures/report.md'), 'utf8');
    assert.match(page, /\| software \| .*JetPack 6\.2 \|/);
    assert.match(page, /\| power mode \| 15W \|/);
    assert.match(page, /\| goldens \| .* \| passed \|/);
    for (const name of [hostname(), homedir(), folder, root])
      assert.not.ok(page.includes(name), `${name} in the page`);

    rmSync(join(folder, 'root/usr/local/cuda/bin/nvcc'));
    const lacking = jetson(env, '--check', ...out, '--on-cpu');
    assert.is(lacking.status, 1);
    assert.match(
      lacking.stdout,
      /^- board: failed in .*: CUDA: expected the board's own compiler .* nvidia-jetpack$/m,
    );

    rmSync(join(folder, 'root/etc/nv_tegra_release'));
    const none = jetson(env, '--check', ...out);
    assert.is(none.status, 3);
    assert.is(none.stderr.trim().split('\n').length, 1);
    assert.match(none.stderr, /expected a Jetson .*run: npm run gpu$/m);

    writeFileSync(join(folder, 'root/etc/nv_tegra_release'), release('36.4.3'));
    const old = join(folder, 'bin/node');
    writeFileSync(old, '#!/bin/sh\n[ "$1" = --version ] && echo v12.22.9\nexit 1\n', { mode: 0o755 });
    const tooOld = jetson(env, '--check', ...out);
    assert.is(tooOld.status, 3);
    assert.match(tooOld.stderr, /expected Node 20\.15 or newer .*, found v12\.22\.9; /);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.run();
