import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const install = suite('scripts/install');

const script = resolve(import.meta.dirname, '../../scripts/install.mjs');

/** Each tool as a shell script that answers as a working one does. */
const good: Readonly<Record<string, string>> = {
  python3: 'echo Python 3.11.2',
  make: 'exit 0',
  'g++': 'exit 0',
};

/** Runs the script on a machine that has only `tools`; it must not get as far as building. */
function runWith(tools: Readonly<Record<string, string>>, nodeVersion?: string, system = 'linux') {
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-install-'));
  try {
    symlinkSync('/bin/sh', join(folder, 'sh'));
    for (const [name, body] of Object.entries(tools)) {
      writeFileSync(join(folder, name), `#!/bin/sh\n${body}\n`);
      chmodSync(join(folder, name), 0o755);
    }
    // The folder of this copy has no node-gyp beside it: what passes all checks ends there.
    const copy = join(folder, 'install.mjs');
    const platform = `Object.defineProperty(process, 'platform', { value: '${system}' });`;
    const version = `Object.defineProperty(process.versions, 'node', { value: '${nodeVersion}' });`;
    const text = readFileSync(script, 'utf8').replace(
      'checkNode();',
      `${platform}${nodeVersion ? version : ''}checkNode();`,
    );
    writeFileSync(copy, text.replace(/const besideNode = [^;]+;/, "const besideNode = '';"));
    const child = spawnSync(process.execPath, [copy], {
      encoding: 'utf8',
      env: { PATH: folder },
      timeout: 30_000,
    });
    return { code: child.status, lines: child.stderr.trim().split('\n'), out: child.stdout };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

install('each missing tool gets one sentence with the command that installs it', () => {
  const command = /apt-get install -y build-essential python3$/;
  const cases: [string, Readonly<Record<string, string>>, RegExp][] = [
    ['no Python', { ...good, python3: 'exit 127' }, /needs Python 3 .* found no python3/],
    [
      'an old Python',
      { ...good, python3: 'echo Python 3.6.9' },
      /needs Python >= 3\.8 .* found Python 3\.6\.9/,
    ],
    ['no make', { ...good, make: 'exit 127' }, /needs make .* found no make/],
    ['an old compiler', { ...good, 'g++': 'exit 1' }, /C\+\+17 compiler and g\+\+ cannot compile/],
  ];
  for (const [name, tools, sentence] of cases) {
    const { code, lines } = runWith(tools);
    assert.is(code, 1, name);
    assert.is(lines.length, 1, `${name}: ${lines.join('\n')}`);
    assert.match(lines[0]!, sentence, name);
    assert.match(lines[0]!, command, name);
  }
  for (const missing of Object.keys(good)) {
    const { [missing]: _, ...rest } = good;
    const { code, lines } = runWith(rest);
    assert.is(code, 1, missing);
    assert.is(lines.length, 1, `${missing}: ${lines.join('\n')}`);
    assert.match(lines[0]!, `found no ${missing}`);
    assert.match(lines[0]!, command);
  }
});

install('a wrong Node gets one sentence', () => {
  const manifest = readFileSync(resolve(import.meta.dirname, '../../package.json'), 'utf8');
  const needed = JSON.parse(manifest).engines.node as string;
  for (const version of ['18.20.4', '20.14.0', '21.7.3', '22.1.0']) {
    const { code, lines } = runWith(good, version);
    assert.is(code, 1);
    assert.is(lines.length, 1);
    assert.match(lines[0]!, `needs Node ${needed} and found ${version}; install a newer one`);
  }
});

install('with every tool there it goes on to build', () => {
  const { code, lines } = runWith(good);
  assert.is(code, 1);
  assert.match(lines.join('\n'), /needs node-gyp, which comes with npm, and found none/);
});

install('what node-gyp makes is moved to build/Release, over an older one, and nothing else is left', () => {
  const folder = mkdtempSync(join(tmpdir(), 'semanticvla-install-'));
  try {
    for (const name of ['scripts', 'native', 'build/Release'])
      mkdirSync(join(folder, name), { recursive: true });
    copyFileSync(script, join(folder, 'scripts/install.mjs'));
    const made = join(folder, 'build/Release/semanticvla.node');
    writeFileSync(made, 'older');
    const nodeGyp = join(folder, 'node-gyp.cjs');
    writeFileSync(
      nodeGyp,
      `const { mkdirSync, writeFileSync } = require('fs');
       mkdirSync('build/Release/obj.target', { recursive: true });
       writeFileSync('build/Release/semanticvla.node', process.argv.slice(2).join(' '));`,
    );
    const { status, stderr } = spawnSync(process.execPath, [join(folder, 'scripts/install.mjs')], {
      encoding: 'utf8',
      env: { ...process.env, npm_config_node_gyp: nodeGyp },
      timeout: 60_000,
    });
    assert.is(status, 0, stderr);
    assert.match(readFileSync(made, 'utf8'), /^rebuild --jobs 2/);
    assert.equal(readdirSync(join(folder, 'native')), []);
    assert.equal(readdirSync(join(folder, 'build/Release')), ['semanticvla.node']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

install('elsewhere than on Linux nothing is built, nothing is needed for it, and it says so', () => {
  for (const system of ['darwin', 'win32']) {
    const { code, lines, out } = runWith({}, undefined, system);
    assert.equal([code, lines], [0, ['']]);
    assert.match(out, new RegExp(`policies run on Linux; on ${system} .*connectAct.*builds no addon`));
    assert.is(runWith({}, '18.20.4', system).code, 1, 'the version of Node still counts');
  }
});

install.run();
