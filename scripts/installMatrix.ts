/**
 * Installs the package as people do: packed, into a fresh project, with each package manager under each Node. Where that
 * leaves no addon (install scripts blocked), the command that `doctor` prints is run as it stands. Then `doctor` has to be
 * content and the README's ten lines have to print their chunk; and, after the commands that `doctor` prints for what is
 * optional, `demo` has to draw its page.
 *
 *   node --import tsx scripts/installMatrix.ts                 all: half a minute each, most of it the compiler (ccache is used)
 *   node --import tsx scripts/installMatrix.ts npm12 yarn1@20  those whose name contains a word
 *   ... --reinstall                                            also delete ONNX Runtime's library, and follow doctor's advice
 *
 * Needs the npm registry. Node and the managers come from it, into the cache folder. Exit codes: 0 all, 1 one failed, 2 usage.
 */

import * as assert from 'node:assert';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { basename, delimiter, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import type { DoctorReport } from '../lib/doctor/diagnose.ts';
import { runnableTenLines } from './tenLines.ts';

interface Manager {
  readonly name: string;
  readonly package: string;
  /** The program's path in the package. */
  readonly file: string;
  readonly nodes: readonly number[];
  /** Arguments that add the tarball. */
  add(tarball: string): readonly string[];
  /** It exits with an error when it has blocked install scripts, although everything else is done. */
  readonly failsOnBlocked?: boolean;
}

const root = join(import.meta.dirname, '..');
const nodes: Readonly<Record<number, string>> = { 20: '20.20.2', 22: '22.23.5', 24: '24.22.3' };
/** The npm that comes with each Node, which is there beside pnpm and yarn too. */
const npmOfNode: Readonly<Record<number, string>> = { 20: 'npm10', 22: 'npm10', 24: 'npm11' };

const npm = (name: string, version: string, on: readonly number[]): Manager => ({
  name,
  package: `npm@${version}`,
  file: 'bin/npm-cli.js',
  nodes: on,
  add: (tarball) => ['npm', 'install', tarball],
});
const pnpm = (name: string, version: string, file: string, on: readonly number[]): Manager => ({
  name,
  package: `pnpm@${version}`,
  file,
  nodes: on,
  add: (tarball) => ['pnpm', 'add', tarball],
  failsOnBlocked: name !== 'pnpm10',
});
const managers: readonly Manager[] = [
  npm('npm10', '10.9.9', [20, 22, 24]),
  npm('npm11', '11.21.2', [20, 22, 24]),
  npm('npm12', '12.2.2', [22, 24]),
  pnpm('pnpm10', '10.34.9', 'bin/pnpm.cjs', [20, 22, 24]),
  pnpm('pnpm11', '11.28.11', 'bin/pnpm.mjs', [22, 24]),
  pnpm('pnpm12', '12.21.0', 'bin/pnpm.mjs', [20, 22, 24]),
  {
    name: 'yarn1',
    package: 'yarn@1.22.22',
    file: 'bin/yarn.js',
    nodes: [20, 22, 24],
    add: (tarball) => ['yarn', 'add', `file:${tarball}`],
  },
];

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly text: string;
}

function run(
  command: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = process.env,
): Ran {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    env,
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  return { code: status, stdout, text: `${stdout}${stderr}${error?.message ?? ''}` };
}

function must(what: string, { code, stdout, text }: Ran, allowed: readonly (number | null)[] = [0]): string {
  assert.ok(
    allowed.includes(code),
    `${what}: expected code ${allowed.join(' or ')}, found ${code}\n${text.trim().split('\n').slice(-25).join('\n')}`,
  );
  return stdout;
}

/** Node and the managers side by side; fetched once. */
function fetchTools(): string {
  const base =
    process.env.SEMANTICVLA_TOOLCHAINS ??
    join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'semanticvla');
  const folder = join(base, 'install-matrix');
  const wanted = [
    ...managers.map((manager) => `${manager.name}@npm:${manager.package}`),
    ...Object.entries(nodes).map(
      ([major, version]) => `node${major}@npm:node-linux-${process.arch}@${version}`,
    ),
  ];
  mkdirSync(folder, { recursive: true });
  const note = join(folder, 'wanted.json');
  if (existsSync(note)) {
    const { packages } = JSON.parse(run('cat', [note], folder).stdout) as { packages: string[] };
    if (packages.join() === wanted.join()) return join(folder, 'node_modules');
  }
  console.error(`Fetching ${wanted.length} packages`);
  writeFileSync(join(folder, 'package.json'), '{"private": true}');
  // none of them needs a script, and engines are those of the Node that runs them later
  must(
    'npm install',
    run('npm', ['install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', ...wanted], folder),
  );
  for (const { name, file } of managers) chmodSync(join(folder, 'node_modules', name, file), 0o755);
  writeFileSync(note, JSON.stringify({ packages: wanted }));
  return join(folder, 'node_modules');
}

/** A folder of programs as an installation has them: links into the packages. */
function makePath(tools: string, folder: string, manager: Manager, node: number): string {
  const bin = join(folder, 'bin');
  mkdirSync(bin, { recursive: true });
  symlinkSync(join(tools, `node${node}/bin/node`), join(bin, 'node'));
  const own = manager.name.startsWith('npm')
    ? manager
    : managers.find(({ name }) => name === npmOfNode[node])!;
  symlinkSync(join(tools, own.name, own.file), join(bin, 'npm'));
  if (own !== manager)
    symlinkSync(join(tools, manager.name, manager.file), join(bin, basename(manager.add('')[0]!)));
  // without the other Nodes of this machine, and without its npm
  const rest = (process.env.PATH ?? '')
    .split(delimiter)
    .filter((place) => !existsSync(join(place, 'node')) || place === '/usr/bin');
  return [bin, ...rest].join(delimiter);
}

interface Outcome {
  readonly advice: string;
  readonly seconds: number;
}

function tryOne(tools: string, tarball: string, manager: Manager, node: number, reinstall: boolean): Outcome {
  const started = performance.now();
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'semanticvla-matrix-'));
  try {
    const project = join(folder, 'robot');
    mkdirSync(project);
    writeFileSync(
      join(project, 'package.json'),
      '{"name": "robot", "version": "1.0.0", "private": true, "type": "module"}',
    );
    writeFileSync(join(project, 'main.mjs'), runnableTenLines());
    const ccache = run('ccache', ['--version'], project).code === 0;
    const env: NodeJS.ProcessEnv = {
      ...Object.fromEntries(Object.entries(process.env).filter(([key]) => !/^npm_/i.test(key))),
      PATH: makePath(tools, folder, manager, node),
      CI: '1',
      SEMANTICVLA_CACHE: join(folder, 'cache'),
      // each project compiles the same sources in another folder
      ...(ccache && { CXX: 'ccache g++', CCACHE_BASEDIR: folder, CCACHE_NOHASHDIR: '1' }),
    };
    const inProject = (command: string, ...args: string[]) => run(command, args, project, env);
    const found = must('node --version', inProject('node', '--version')).trim();
    assert.equal(found, `v${nodes[node]}`);

    const [command, ...args] = manager.add(tarball);
    // as the README says; without it ONNX Runtime fetches CUDA libraries that nothing here uses
    env.ONNXRUNTIME_NODE_INSTALL = 'skip';
    must(`${manager.name} add`, inProject(command!, ...args), manager.failsOnBlocked ? [0, 1] : [0]);
    delete env.ONNXRUNTIME_NODE_INSTALL;
    const semanticvla = join(project, 'node_modules/.bin/semanticvla');
    const doctor = (...codes: number[]): DoctorReport =>
      JSON.parse(must('doctor', inProject(semanticvla, 'doctor', '--json'), codes)) as DoctorReport;
    const follow = (report: DoctorReport, name: string): string => {
      const { fix } = report.checks.find((check) => check.name === name)!;
      assert.ok(fix !== null, `doctor has advice for ${name}`);
      must(fix, inProject('sh', '-c', fix), manager.failsOnBlocked ? [0, 1] : [0]);
      return fix;
    };

    const first = doctor(0, 11);
    let advice = 'builds by itself';
    if (!first.backends.cpu) {
      assert.match(inProject('node', 'main.mjs').text, /ADDON_NOT_BUILT/);
      advice = follow(first, 'addon').replace(project, '.');
    }
    const check = (): void => {
      assert.deepEqual(
        doctor(0).checks.filter(({ status }) => status === 'missing'),
        [],
      );
      const chunk = JSON.parse(
        must('the ten lines', inProject('node', 'main.mjs')).trim().split('\n').at(-1)!,
      ) as number[];
      assert.equal(chunk.length, 8 * 7);
    };
    check();
    const optional = ['sharp (optional)', 'vega (optional)'];
    for (const name of optional) follow(doctor(0, 11), name);
    // pnpm puts the package where its peers are, and approved scripts may not run again
    const withPeers = doctor(0, 11);
    if (!withPeers.backends.cpu) follow(withPeers, 'addon');
    const states = doctor(0).checks.filter(({ name }) => optional.includes(name));
    assert.deepEqual(
      states.map(({ status }) => status),
      ['ok', 'ok'],
    );
    must('demo', inProject(semanticvla, 'demo', '--out', 'demo.html'));
    assert.equal(
      must('npm explore', inProject('npm', 'explore', 'semanticvla', '--', 'node -p 1'))
        .trim()
        .split('\n')
        .at(-1),
      '1',
    );

    if (reinstall) {
      const beside = dirname(realpathSync(join(project, 'node_modules/semanticvla')));
      const libraries = join(beside, 'onnxruntime-node/bin/napi-v6/linux', process.arch);
      for (const name of readdirSync(libraries)) rmSync(join(libraries, name));
      follow(doctor(12), 'ONNX Runtime');
      const again = doctor(0, 11);
      if (!again.backends.cpu) follow(again, 'addon');
      check();
    }
    return { advice, seconds: (performance.now() - started) / 1000 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function main(): number {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { reinstall: { type: 'boolean', default: false } },
  });
  const jobs = managers
    .flatMap((manager) => manager.nodes.map((node) => ({ manager, node, name: `${manager.name}@${node}` })))
    .filter(({ name }) => positionals.length === 0 || positionals.some((word) => name.includes(word)));
  if (jobs.length === 0) {
    console.error(
      `No pair of manager and Node has a name with ${positionals.join(' or ')}, such as npm12@22.`,
    );
    return 2;
  }
  const tools = fetchTools();
  const packed = mkdtempSync(join(realpathSync(tmpdir()), 'semanticvla-packed-'));
  let failed = 0;
  try {
    must('npm pack', run('npm', ['pack', '--pack-destination', packed], root));
    const tarball = join(packed, readdirSync(packed)[0]!);
    for (const { manager, node, name } of jobs) {
      try {
        const { advice, seconds } = tryOne(tools, tarball, manager, node, values.reinstall);
        console.log(`ok    ${name.padEnd(10)} ${seconds.toFixed(0).padStart(4)} s  ${advice}`);
      } catch (error) {
        failed++;
        console.log(`FAIL  ${name}\n${(error as Error).message.replace(/^/gm, '      ')}`);
      }
    }
  } finally {
    rmSync(packed, { recursive: true, force: true });
  }
  console.log(`${jobs.length - failed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

process.exitCode = main();
