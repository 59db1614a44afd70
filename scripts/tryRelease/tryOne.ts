/** A fresh project with an empty home, no compiler, and no network but a registry on loopback: install, look, predict, draw. */

import * as assert from 'node:assert';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { DoctorReport } from '../../lib/doctor/diagnose.ts';
import { runnableTenLines } from '../tenLines.ts';
import { nodes, type Pair } from './managers.ts';
import { fetchNode, makePath } from './tools.ts';

export interface Outcome {
  /** Of the installation, and of all that follows. */
  readonly installSeconds: number;
  readonly seconds: number;
  readonly megabytes: number;
  readonly packages: number;
}

export interface TryOptions {
  /** Also delete what is prebuilt and follow doctor's advice; then without it compile the addon by hand, with the compilers of `path`. */
  readonly andRepair: boolean;
}

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly text: string;
}

class Project {
  readonly folder: string;
  readonly #env: NodeJS.ProcessEnv;

  constructor(place: string, { manager, isArm }: Pair, path: string, registry: string) {
    this.folder = join(place, 'robot');
    const home = join(place, 'home');
    mkdirSync(this.folder);
    mkdirSync(home);
    const files = {
      'package.json': '{"name": "robot", "version": "1.0.0", "private": true, "type": "module"}',
      'main.mjs': runnableTenLines(),
      '.npmrc': `registry=${registry}\n`,
      ...manager.settings?.(registry),
    };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(this.folder, name), text);
    const nowhere = 'http://127.0.0.1:9';
    this.#env = {
      PATH: path,
      HOME: home,
      CI: '1',
      NO_COLOR: '1',
      // whatever asks another host than this one fails
      ...{ http_proxy: nowhere, https_proxy: nowhere, HTTP_PROXY: nowhere, HTTPS_PROXY: nowhere },
      ...{ no_proxy: '127.0.0.1,localhost', NO_PROXY: '127.0.0.1,localhost' },
      ...(isArm && { npm_config_cpu: 'arm64', npm_config_os: 'linux', npm_config_libc: 'glibc' }),
    };
  }

  run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Ran {
    const { status, stdout, stderr, error } = spawnSync(command, args, {
      cwd: this.folder,
      env: { ...this.#env, ...env },
      encoding: 'utf8',
      maxBuffer: 64 << 20,
      timeout: 900_000,
    });
    return { code: status, stdout, text: `${stdout}${stderr}${error?.message ?? ''}` };
  }
}

function must(what: string, { code, stdout, text }: Ran, allowed: readonly (number | null)[] = [0]): string {
  assert.ok(
    allowed.includes(code),
    `${what}: expected code ${allowed.join(' or ')}, found ${code}\n${text.trim().split('\n').slice(-25).join('\n')}`,
  );
  return stdout;
}

/** Bytes and packages below a folder; a file that has several names counts once. */
function measure(folder: string): { bytes: number; packages: number } {
  let bytes = 0;
  let packages = 0;
  const seen = new Set<number>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    // also the zipped ones of Yarn
    if (/node_modules\/(@[^/]+\/)?[^/@]+\/package\.json$/.test(path) || path.endsWith('.zip')) packages++;
    const { size, ino } = lstatSync(path);
    if (!seen.has(ino)) bytes += size;
    seen.add(ino);
  }
  return { bytes, packages };
}

export function tryOne(pair: Pair, registry: string, { andRepair }: TryOptions): Outcome {
  const place = mkdtempSync(join(realpathSync(tmpdir()), 'semanticvla-try-'));
  try {
    const path = makePath(place, pair);
    const started = performance.now();
    const { manager } = pair;
    const project = new Project(place, pair, path, registry);
    assert.equal(
      must('uname', project.run('node', ['-p', 'process.arch'])).trim(),
      pair.isArm ? 'arm64' : process.arch,
    );
    if (!pair.isArm)
      assert.equal(must('node --version', project.run('node', ['--version'])).trim(), `v${nodes[pair.node]}`);

    const [command, ...add] = manager.add;
    const installed = project.run(command!, [...add, 'semanticvla']);
    const installSeconds = (performance.now() - started) / 1000;
    must(`${pair.name} add`, installed);
    const { bytes, packages } = measure(
      manager.isPlugAndPlay ? join(project.folder, '.yarn') : join(project.folder, 'node_modules'),
    );

    // how a program of the project is started
    const [exec, ...first] = manager.isPlugAndPlay ? ['yarn', 'node'] : ['node'];
    const cli = (...args: string[]): Ran =>
      manager.isPlugAndPlay
        ? project.run('yarn', ['semanticvla', ...args])
        : project.run(join(project.folder, 'node_modules/.bin/semanticvla'), args);
    const doctor = (...codes: number[]): DoctorReport =>
      JSON.parse(must('doctor', cli('doctor', '--json'), codes)) as DoctorReport;
    const found = (report: DoctorReport, name: string): string =>
      report.checks.find((check) => check.name === name)!.found;
    const follow = (report: DoctorReport, name: string): void => {
      const { fix } = report.checks.find((check) => check.name === name)!;
      assert.ok(fix !== null, `doctor has advice for ${name}`);
      must(fix, project.run('sh', ['-c', fix]));
    };
    const predict = (): DoctorReport => {
      const told = must('the ten lines', project.run(exec!, [...first, 'main.mjs']));
      assert.equal((JSON.parse(told.trim().split('\n').at(-1)!) as number[]).length, 8 * 7);
      return doctor(0);
    };

    const robot = predict();
    assert.equal(found(robot, 'addon'), 'prebuilt, loads');
    assert.match(found(robot, 'ONNX Runtime'), /^\d+\.\d+\.\d+ opens$/);
    for (const name of ['sharp (optional)', 'vega (optional)']) follow(robot, name);
    must('demo', cli('demo', '--out', 'demo.html'));
    assert.ok(existsSync(join(project.folder, 'demo.html')));

    if (andRepair) {
      const home = realpathSync(join(project.folder, 'node_modules/semanticvla'));
      const prebuilt = realpathSync(join(dirname(home), '@semanticvla', `linux-${process.arch}`));
      rmSync(join(prebuilt, 'libonnxruntime.so.1'));
      follow(doctor(12), 'ONNX Runtime');
      predict();
      rmSync(join(dirname(home), '@semanticvla'), { recursive: true });
      assert.match(project.run(exec!, [...first, 'main.mjs']).text, /ADDON_NOT_BUILT/);
      follow(doctor(11), 'addon');
      predict();
      // where the prebuilt one does not load, compiling takes its place
      const compilers = {
        PATH: `${path}:/usr/bin:/bin`,
        npm_config_nodedir: fetchNode(pair.node),
      };
      must(
        'scripts/install.mjs',
        project.run('node', ['node_modules/semanticvla/scripts/install.mjs'], compilers),
      );
      assert.match(found(predict(), 'addon'), /^built into .*build\/Release, loads$/);
    }
    return {
      installSeconds,
      seconds: (performance.now() - started) / 1000,
      megabytes: bytes / 1e6,
      packages,
    };
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}
