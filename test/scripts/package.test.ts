/** The package as a project gets it: packed, unpacked beside its dependencies, used by its name. Nothing is downloaded. */

import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findAddon } from '../../lib/addon/binding.ts';
import { prebuiltName } from '../../lib/addon/nativeFiles.ts';
import { encodeNpy } from '../../lib/cli/npyWriter.ts';
import { type DoctorReport, installedVersion } from '../../lib/doctor/diagnose.ts';
import { exampleCheckpoint } from '../../lib/example/exampleCheckpoint.ts';
import { exampleEpisodes } from '../../lib/example/exampleEpisodes.ts';
import { readObservation } from '../../lib/observation/readObservation.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import {
  buildAddonCommand,
  installCommand,
  packageCommand,
  reinstallCommand,
} from '../../lib/support/packageCommand.ts';
import type { Processor } from '../../scripts/release/compile.ts';
import { publishedManifest } from '../../scripts/release/mainPackage.ts';
import { stagePrebuilt } from '../../scripts/release/prebuiltPackage.ts';
import { runnableTenLines, tenLines } from '../../scripts/tenLines.ts';
import { instructions, liberoObservation, openLibero, unnormKey } from '../api/libero.ts';
import { requireBuild, root } from '../helpers/cli.ts';
import { goldenCheckpoint, goldenRoot, scratchFolder } from '../helpers/golden.ts';
import { testWhen } from '../helpers/skip.ts';

const test = suite('the package in a project');
const mcapPackages = ['@mcap/core', '@foxglove/rosmsg', '@foxglove/rosmsg2-serialization'];
const optionalPackages = [
  'sharp',
  'vega',
  'vega-lite',
  'hyparquet',
  'h5wasm',
  '@grpc/grpc-js',
  ...mcapPackages,
];

interface PublishedManifest {
  readonly version: string;
  readonly scripts: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

interface Project {
  readonly folder: string;
  readonly files: readonly string[];
}

/** Runs a program and returns everything that it printed. */
function run(command: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv = process.env) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd,
    env,
    encoding: 'utf8',
    timeout: 120_000,
  });
  return { status, stdout, text: `${stdout}${stderr}` };
}

let made: { readonly tarball: string; readonly files: readonly string[] } | undefined;

function packed(): { readonly tarball: string; readonly files: readonly string[] } {
  if (made !== undefined) return made;
  requireBuild();
  const folder = mkdtempSync(join(scratchFolder(), 'packed-'));
  const { status, stdout, text } = run(
    'npm',
    ['pack', '--ignore-scripts', '--json', '--pack-destination', folder],
    root,
  );
  assert.is(status, 0, text);
  const [{ filename, files }] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }];
  made = { tarball: join(folder, filename), files: files.map(({ path }) => path) };
  return made;
}

/**
 * A project with the packed package, the prebuilt one as scripts/release makes it, of files that are here, and the dependencies that
 * npm would install: none of the optional peers.
 */
function makeProject(): Project {
  const { tarball, files } = packed();
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-project-'));
  const modules = join(folder, 'node_modules');
  const home = join(modules, 'semanticvla');
  mkdirSync(home, { recursive: true });
  const unpacked = run('tar', ['xzf', tarball, '--strip-components=1', '-C', home], folder);
  assert.is(unpacked.status, 0, unpacked.text);
  const manifest = join(home, 'package.json');
  writeFileSync(
    manifest,
    JSON.stringify(publishedManifest(JSON.parse(readFileSync(manifest, 'utf8')), ['x64', 'arm64'])),
  );
  playPrebuilt(modules);
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean; devOptional?: boolean; optional?: boolean }>;
  };
  for (const [path, { dev, devOptional }] of Object.entries(lock.packages)) {
    const name = /^node_modules\/((?:@[^/]+\/)?[^/]+)$/.exec(path)?.[1];
    if (name === undefined || dev || devOptional || !existsSync(join(root, path))) continue;
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    symlinkSync(join(root, path), join(modules, name));
  }
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'project', type: 'module' }));
  return { folder, files };
}

let prebuilt: string | undefined;

/** Made once, linked into each project. */
function playPrebuilt(modules: string): void {
  if (prebuilt === undefined) {
    prebuilt = join(mkdtempSync(join(scratchFolder(), 'prebuilt-')), 'package');
    const compiled = join(dirname(prebuilt), 'compiled');
    mkdirSync(compiled);
    cpSync(findAddon()!, join(compiled, 'semanticvla.node'));
    stagePrebuilt(prebuilt, {
      processor: process.arch as Processor,
      compiled: { folder: compiled, modules: {}, kernels: null, cudaRuntime: null },
      notices: { licence: 'MIT', thirdParty: 'others' },
    });
  }
  const place = join(modules, prebuiltName());
  mkdirSync(dirname(place));
  symlinkSync(prebuilt, place);
}

function withProject(body: (project: Project) => Promise<void> | void): () => Promise<void> {
  return async () => {
    const project = makeProject();
    try {
      await body(project);
    } finally {
      rmSync(project.folder, { recursive: true });
    }
  };
}

test(
  'holds what it needs and says its licence; predicts the same numbers; its types serve the ten lines of the README',
  withProject(async ({ folder, files }) => {
    for (const file of [
      'LICENSE',
      'NOTICE',
      'README.md',
      'CMakeLists.txt',
      'native/binding.gyp',
      'dist/index.d.ts',
    ]) {
      assert.ok(files.includes(file), file);
    }
    const strangers = files.filter((file) => /^(test|bench|build)\//.test(file));
    assert.equal(strangers, []);
    // npm, pnpm and yarn compile what has a binding.gyp in its first folder, or run its scripts of these names
    assert.not(files.includes('binding.gyp'));
    const published = JSON.parse(
      readFileSync(join(folder, 'node_modules/semanticvla/package.json'), 'utf8'),
    ) as PublishedManifest;
    for (const script of ['preinstall', 'install', 'postinstall', 'prepare'])
      assert.is(published.scripts[script], undefined, script);
    for (const processor of ['x64', 'arm64'])
      assert.is(published.optionalDependencies[`@semanticvla/linux-${processor}`], published.version);
    for (const field of ['os', 'cpu', 'libc', 'gypfile']) assert.not(field in published, field);
    // what no registry has before a release is not in a clone's lock file
    assert.not.match(readFileSync(join(root, 'package-lock.json'), 'utf8'), /"[^"]*@semanticvla\//);
    // no link of a page leads out of the package or to a missing file
    const pages = files.filter((file) => file.endsWith('.md'));
    const dead = pages.flatMap((page) => {
      const links = readFileSync(join(folder, 'node_modules/semanticvla', page), 'utf8').matchAll(
        /\]\(([^)#\s]+)/g,
      );
      const targets = [...links].map(([, link]) => link!).filter((link) => !/^[a-z]+:/.test(link));
      return targets
        .filter((link) => !files.includes(join(dirname(page), link)))
        .map((link) => `${page}: ${link}`);
    });
    assert.equal(dead, []);
    assert.ok(pages.includes('docs/installing.md'));

    const example = tenLines();
    // as JavaScript, in the current Node: syntax unknown to the oldest one is found by its CI
    writeFileSync(join(folder, 'main.mjs'), runnableTenLines());
    const predicted = run(process.execPath, ['main.mjs'], folder);
    assert.is(predicted.status, 0, predicted.text);
    await using policy = await loadPolicy(await exampleCheckpoint());
    const [episode] = await exampleEpisodes();
    const { observation, instruction } = await readObservation(join(episode!, '000'));
    assert.is(/instruction: '([^']+)'/.exec(example)![1]!, instruction);
    const expected = await policy.predict(observation, { instruction: instruction! });
    const printed = predicted.stdout.trim().split('\n').at(-1)!;
    assert.equal(JSON.parse(printed), Array.from(expected.actions));

    mkdirSync(join(folder, 'node_modules/@types'), { recursive: true });
    symlinkSync(join(root, 'node_modules/@types/node'), join(folder, 'node_modules/@types/node'));
    const check = (source: string) => {
      writeFileSync(join(folder, 'example.ts'), source);
      const options =
        '--noEmit --strict --module nodenext --target es2022 --lib es2023,esnext.disposable --types node';
      return run(join(root, 'node_modules/.bin/tsc'), [...options.split(' '), 'example.ts'], folder);
    };
    const checked = check(example);
    assert.is(checked.status, 0, checked.text);
    assert.match(check(example.replace('chunk.shape', 'chunk.shapes')).text, /shapes/);
  }),
);

/** The golden observation with its frames as .npy, which needs no decoder. */
async function writeRawObservation(folder: string): Promise<string> {
  const { images, state } = await liberoObservation();
  mkdirSync(folder);
  for (const [camera, { data, width, height }] of Object.entries(images))
    writeFileSync(join(folder, `${camera}.npy`), encodeNpy(data, [height, width, 3]));
  const files = Object.fromEntries(Object.keys(images).map((camera) => [camera, `${camera}.npy`]));
  writeFileSync(
    join(folder, 'observation.json'),
    JSON.stringify({ images: files, state: Array.from(state!) }),
  );
  return folder;
}

/** A robot's program: serves a policy and asks it once over the network, runs it in a process of its own, and schedules it. */
const robotProgram = (checkpoint: string, raw: string) => `
import * as api from 'semanticvla';
const options = { platform: 'libero', unnormKey: '${unnormKey}', threads: 1 };
const { observation } = await api.readObservation(${JSON.stringify(raw)});
const task = { instruction: '${instructions[1]}' };
const answers = {};
const policy = await api.loadPolicy(${JSON.stringify(checkpoint)}, options);
const server = await api.servePolicy(policy, { act: { port: 0 }, openpi: false });
const remote = await api.connectAct(server.actUrl, { deadlineMs: 60_000 });
answers.served = await remote.predict(observation, task);
await remote.close();
await server.close();
answers.scheduled = await api.openLoop(policy).predict(observation, task);
const engine = { checkpoint: ${JSON.stringify(checkpoint)}, options };
const supervised = await api.superviseEngine({ engine, deadlineMs: 60_000, silenceMs: 60_000 });
answers.supervised = await supervised.predict(observation, task);
await supervised.close();
await policy.close();
for (const key of Object.keys(answers)) answers[key] = Array.from(answers[key].actions);
console.log(JSON.stringify(answers));
`;

const tiny = goldenCheckpoint('libero-tiny');
const given = [tiny, '--platform', 'libero', '--unnorm-key', unnormKey];
const task = ['--instruction', instructions[1]];
const short = ['--iterations', '2', '--warm-up', '0'];
const measure = ['bench', ...given, ...short];

const { peerDependencies: ranges } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  peerDependencies: Record<string, string>;
};
const sharp = `npm install sharp@${ranges.sharp}`;
const vega = `npm install vega@${ranges.vega} vega-lite@${ranges['vega-lite']}`;
const mcap = `npm install ${mcapPackages.map((name) => `${name}@${ranges[name]}`).join(' ')}`;
const hyparquet = `npm install hyparquet@${ranges.hyparquet}`;

const commandIn =
  (folder: string) =>
  (...args: string[]) =>
    run(process.execPath, [join(folder, 'node_modules/semanticvla/bin/semanticvla.js'), ...args], folder);

/**
 * The commands that decode or draw, each preceded by the command that installs what it needs. `raw` and bench.json are in the
 * project.
 */
async function drawing(): Promise<readonly (readonly [advice: string, ...args: string[]])[]> {
  const png = join(goldenRoot, 'libero-tiny/obs0');
  const episodes = join(root, 'models/libero/episodes');
  const recorded = join(root, 'test/dataset/recorded/lerobot-v3.0-images');
  const lerobot = ['--data', recorded, '--gripper', 'libero', '--every', '6'];
  return [
    [sharp, 'predict', ...given, ...task, '--observation', png],
    [sharp, 'predict', ...given, ...task, '--observation', 'raw', '--view', 'x.png'],
    [sharp, 'view', ...given, ...task, '--observation', 'raw', '--out', 'x.png'],
    [vega, 'report', 'bench.json', '--out', 'x.html'],
    [vega, ...measure, '--html', 'x.html'],
    [sharp, 'demo', '--out', 'x.html'],
    [sharp, 'evaluate', await exampleCheckpoint(), '--data', episodes, '--html', 'x.html'],
    [hyparquet, 'evaluate', await exampleCheckpoint(), ...lerobot],
  ];
}

test(
  'a robot installs no optional package: it predicts, serves and measures; what decodes and draws says what to install',
  withProject(async ({ folder }) => {
    for (const name of optionalPackages) assert.not(existsSync(join(folder, 'node_modules', name)), name);
    const raw = await writeRawObservation(join(folder, 'raw'));
    const cli = commandIn(folder);

    writeFileSync(join(folder, 'robot.mjs'), robotProgram(tiny, raw));
    const robot = run(process.execPath, ['robot.mjs'], folder);
    assert.is(robot.status, 0, robot.text);
    await using policy = await openLibero();
    const { actions } = await policy.predict(await liberoObservation(), { instruction: instructions[1] });
    const answers = JSON.parse(robot.stdout) as Record<string, number[]>;
    for (const how of ['served', 'supervised']) assert.equal(answers[how], Array.from(actions), how);
    assert.equal(answers.scheduled, Array.from(actions.subarray(0, 7)), 'one row a tick');

    const predicted = cli('predict', ...given, ...task, '--observation', raw, '--threads', '1', '--json');
    assert.is(predicted.status, 0, predicted.text);
    assert.equal(
      (JSON.parse(predicted.stdout) as { actions: number[][] }).actions.flat(),
      Array.from(actions),
    );
    const measured = cli(...measure, '--report', 'bench.json', '--json');
    assert.is(measured.status, 0, measured.text);
    const { subjects } = JSON.parse(measured.stdout) as { subjects: { chunks: unknown[] }[] };
    assert.ok(subjects[0]!.chunks.length >= 2);

    const flights = ['--flight-recorder', 'x-flights', '--flight-mcap', '--log-level', 'silent'];
    for (const [command, ...args] of [...(await drawing()), [mcap, 'serve', ...given, ...flights]]) {
      const { status, text } = cli(...args);
      assert.is(status, 2, `${args[0]}: ${text}`);
      const lines = text.trim().split('\n');
      assert.is(lines.length, 1, text);
      assert.match(
        lines[0]!,
        /^PACKAGE_UNAVAILABLE: .*: expected the optional packages? .*, found (it|them) not installed\. /,
      );
      assert.ok(lines[0]!.includes(`Run \`${command}\``), text);
    }
    const drawn = readdirSync(folder).filter((name) => name.startsWith('x'));
    assert.equal(drawn, []);
    const doctor = cli('doctor', '--json');
    assert.is(doctor.status, 0, doctor.text);
    const { checks, backends } = JSON.parse(doctor.stdout) as DoctorReport;
    assert.ok(backends.cpu);
    for (const [name, fix] of [
      ['sharp (optional)', sharp],
      ['vega (optional)', vega],
      ['hyparquet (optional)', hyparquet],
      ['@mcap/core (optional)', mcap],
    ]) {
      const { status, fix: advised } = checks.find((check) => check.name === name)!;
      assert.equal([status, advised], ['absent', fix], name);
    }
  }),
);

testWhen(
  process.env.SEMANTICVLA_LONG_TESTS === '1',
  'it runs eight commands to their end; SEMANTICVLA_LONG_TESTS=1 runs it',
  test,
  'with what the advice installs, the same commands decode and draw',
  withProject(async ({ folder }) => {
    await writeRawObservation(join(folder, 'raw'));
    const cli = commandIn(folder);
    assert.is(cli(...measure, '--report', 'bench.json').status, 0);
    for (const name of optionalPackages) {
      mkdirSync(dirname(join(folder, 'node_modules', name)), { recursive: true });
      symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name));
    }
    for (const [, ...args] of await drawing()) assert.is(cli(...args).status, 0, args.join(' '));
    for (const { name, status } of (JSON.parse(cli('doctor', '--json').stdout) as DoctorReport).checks)
      if (name.endsWith('(optional)')) assert.is(status, 'ok', name);
  }),
);

test(
  'its command runs, and the native part builds with what the project has',
  withProject(({ folder }) => {
    const home = join(folder, 'node_modules/semanticvla');
    const version = run(process.execPath, [join(home, 'bin/semanticvla.js'), '--version'], folder);
    assert.is(version.text.trim(), JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version);

    // an incomplete package says so, and opens nothing
    const packed = join(home, 'models/libero/checkpoint/config.json.gz');
    const unpacking =
      "import { exampleCheckpoint } from 'semanticvla'; await exampleCheckpoint().catch((e) => console.log(e.code, e.message));";
    writeFileSync(join(folder, 'unpack.mjs'), unpacking);
    const unpack = (cache: string) =>
      run(process.execPath, ['unpack.mjs'], folder, {
        ...process.env,
        SEMANTICVLA_CACHE: join(folder, cache),
      }).text;
    assert.is(unpack('whole'), '');
    const bytes = readFileSync(packed);
    writeFileSync(packed, bytes.subarray(0, 300));
    assert.match(
      unpack('cut'),
      /^CHECKPOINT_CHANGED .*config\.json\.gz: expected 1719 bytes .* Install the package again\.$/m,
    );
    rmSync(packed);
    assert.match(unpack('without'), /^CHECKPOINT_FILE_MISSING .*config\.json\.gz/);

    const tools = join(folder, 'tools');
    mkdirSync(tools);
    writeFileSync(join(tools, 'cmake'), '#!/bin/sh\nexit 0\n');
    chmodSync(join(tools, 'cmake'), 0o755);
    const env = { ...process.env, PATH: `${tools}${delimiter}${process.env.PATH}` };
    const script = [join(home, 'scripts/buildNative.mjs'), '--archs', '87,110'];
    const without = run(process.execPath, script, folder, env);
    assert.is(without.status, 1);
    assert.match(without.text, /needs cmake-js .* npm install --save-dev cmake-js/);

    const cmakeJs = join(folder, 'node_modules/cmake-js');
    mkdirSync(join(cmakeJs, 'bin'), { recursive: true });
    writeFileSync(join(cmakeJs, 'package.json'), '{"name": "cmake-js", "version": "8.0.0"}');
    writeFileSync(
      join(cmakeJs, 'bin/cmake-js'),
      "console.log('RUN', process.cwd(), process.argv.slice(2).join(' '))",
    );
    const built = run(process.execPath, script, folder, env);
    assert.is(built.status, 0, built.text);
    const steps = built.stdout.match(/^RUN .*$/gm) ?? [];
    assert.is(steps.length, 2);
    for (const [i, step] of ['configure', 'build'].entries()) {
      assert.match(steps[i]!, new RegExp(`^RUN ${home} ${step} .*--CDSEMANTICVLA_ARCHS=87;110$`));
    }
  }),
);

test('commands are named as they work where the package is', () => {
  assert.is(packageCommand('npm run build:native', '/src/semanticvla/'), 'npm run build:native');
  const inside = '/src/robot/node_modules/semanticvla/';
  assert.is(
    packageCommand('npm run build:native', inside),
    'npm explore semanticvla -- npm run build:native',
  );
  assert.is(packageCommand('a && b', inside), 'npm explore semanticvla -- "a && b"');
});

/** A project of a package manager, recognized by what it leaves behind. */
function projectOf(marks: readonly string[], place = 'node_modules/semanticvla/'): string {
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-manager-'));
  const home = join(folder, place);
  mkdirSync(home, { recursive: true });
  for (const mark of marks) writeFileSync(join(folder, mark), '');
  writeFileSync(join(home, 'package.json'), '{"peerDependencies": {"a": "^1.2.3", "b": "~4.5.6"}}');
  return home;
}

// What scripts/tryRelease.ts runs for real, with each package manager.
test('advice is that of the package manager that installed it', () => {
  const inPnpm = 'node_modules/.pnpm/s@1/node_modules/semanticvla/';
  const inYarn = '.yarn/unplugged/s-npm-1/node_modules/semanticvla/';
  const cases: [install: string, add: string, marks: string[], place?: string][] = [
    ['npm install --include=optional', 'npm install', ['node_modules/.package-lock.json']],
    ['npm install --include=optional', 'npm install', []],
    ['pnpm install', 'pnpm add', ['node_modules/.modules.yaml'], inPnpm],
    ['yarn install', 'yarn add', ['node_modules/.yarn-integrity']],
    ['yarn install', 'yarn add', ['node_modules/.yarn-state.yml']],
    ['yarn install', 'yarn add', [], inYarn],
    ['bun install', 'bun add', ['bun.lock']],
  ];
  for (const [install, add, marks, place] of cases) {
    const home = projectOf(marks, place);
    const folder = home.slice(0, -(place ?? 'node_modules/semanticvla/').length - 1);
    try {
      const modules = place === inYarn ? '.yarn/unplugged/s-npm-1/node_modules' : 'node_modules';
      assert.is(reinstallCommand(home), `rm -rf ${folder}/${modules} && ${install}`);
      assert.is(installCommand(['a', 'b'], home), `${add} a@^1.2.3 b@~4.5.6`);
      assert.is(buildAddonCommand(home), `node ${home}scripts/install.mjs`);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
  assert.is(reinstallCommand('/src/semanticvla/'), 'npm ci');
  assert.is(installCommand(['a'], '/src/semanticvla/'), 'npm ci');
  assert.is(buildAddonCommand('/src/semanticvla/'), 'node /src/semanticvla/scripts/install.mjs');
});

test('a package is known by its own manifest, however deep it lies', () => {
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-nested-'));
  try {
    const home = join(folder, 'node_modules/.pnpm/sharp@1.2.3/node_modules/sharp');
    mkdirSync(join(home, 'dist/cjs'), { recursive: true });
    writeFileSync(join(home, 'package.json'), '{"name": "sharp", "version": "1.2.3"}');
    writeFileSync(join(home, 'dist/cjs/package.json'), '{"type": "commonjs"}');
    assert.is(installedVersion('sharp', join(home, 'dist/cjs/index.js')), '1.2.3');
    assert.is(installedVersion('onnxruntime-node', join(home, 'dist/cjs/index.js')), null);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.run();
