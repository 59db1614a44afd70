/**
 * No install script of a dependency runs in a clone, with any npm. npm 11 and 12 read `allowScripts`; npm 10 knows only
 * the lock file, where a package without `hasInstallScript` is taken to have none. onnxruntime-node's script would
 * download CUDA libraries that nothing here uses, esbuild's only saves milliseconds.
 */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { diagnose } from '../../lib/doctor/diagnose.ts';
import { page, refreshed, sections } from '../../scripts/dependencies.ts';
import { root } from '../helpers/cli.ts';

const test = suite('dependencies');

interface Manifest {
  readonly name: string;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly allowScripts?: Readonly<Record<string, boolean>>;
}

function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')) as Manifest;
}

/** Packages below node_modules that would run something, and all that the lock file knows. */
function installed(): { readonly scripted: readonly string[]; readonly flagged: readonly string[] } {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { hasInstallScript?: boolean }>;
  };
  const folders = Object.keys(lock.packages).filter((folder) => folder !== '');
  const scripted = folders.filter((folder) => {
    if (!existsSync(join(root, folder, 'package.json'))) return false;
    const { scripts = {} } = readManifest(folder);
    return ['preinstall', 'install', 'postinstall'].some((name) => scripts[name] !== undefined);
  });
  return {
    scripted: [...new Set(scripted.map((folder) => readManifest(folder).name))].sort(),
    flagged: folders.filter((folder) => lock.packages[folder]!.hasInstallScript === true),
  };
}

test('every install script of a dependency is refused by name, and the lock file holds none', () => {
  const { scripted, flagged } = installed();
  assert.ok(scripted.includes('onnxruntime-node'), scripted.join());
  const { allowScripts = {} } = readManifest('.');
  assert.equal(allowScripts, Object.fromEntries(scripted.map((name) => [name, false])));
  assert.equal(flagged, [], 'take "hasInstallScript": true out of package-lock.json again: npm 10 runs it');
});

test('a clone has every optional package, in the range that a project may bring; ROS 2 brings its own', () => {
  const { peerDependencies = {}, peerDependenciesMeta = {}, devDependencies = {} } = readManifest('.');
  for (const [name, range] of Object.entries(peerDependencies)) {
    assert.is(peerDependenciesMeta[name]?.optional, true, name);
    if (name === 'rclnodejs') continue;
    assert.is(devDependencies[name], range, name);
    assert.ok(existsSync(join(root, 'node_modules', name, 'package.json')), name);
  }
  // the lines that doctor and errors print stand in the docs as they are
  const line = (...names: string[]) =>
    `npm install ${names.map((name) => `${name}@${peerDependencies[name]}`).join(' ')}`;
  const mcap = line('@mcap/core', '@foxglove/rosmsg', '@foxglove/rosmsg2-serialization');
  for (const page of ['README.md', 'docs/installing.md']) {
    const text = readFileSync(join(root, page), 'utf8');
    for (const wanted of [
      line('sharp'),
      line('vega', 'vega-lite'),
      line('hyparquet', 'h5wasm'),
      mcap,
      line('@grpc/grpc-js'),
    ])
      assert.ok(text.includes(wanted), `${page}: ${wanted}`);
  }
  const { checks } = diagnose();
  for (const name of ['sharp', 'vega', 'hyparquet', 'h5wasm', '@mcap/core'].map((one) => `${one} (optional)`))
    assert.is(checks.find((check) => check.name === name)?.status, 'ok', name);
});

test('docs/dependencies.md lists what package.json has, as measured, and says what for and why', () => {
  const text = readFileSync(page, 'utf8');
  for (const [section, names] of Object.entries(sections())) {
    const rows = new RegExp(`## ${section}\n[^|]*((?:\\|.*\n)+)`)
      .exec(text)![1]!
      .trimEnd()
      .split('\n')
      .slice(2);
    const cells = rows.map((row) =>
      row
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
    const listed = cells.map(([name]) => name!.replaceAll('`', ''));
    assert.equal(listed.toSorted(), Object.keys(names).toSorted(), section);
    for (const row of cells) assert.ok(row.length === 7 && row[5] !== '' && row[6] !== '', row.join(' | '));
  }
  // packages for another processor have other sizes
  if (process.arch === 'x64' && process.platform === 'linux')
    assert.is(text, refreshed(text), 'out of date: run node --import tsx scripts/dependencies.ts');
});

test('.npmrc has only what npm knows', () => {
  const keys = readFileSync(join(root, '.npmrc'), 'utf8').trim().split('\n');
  assert.equal(keys, ['engine-strict=true', 'fund=false', 'audit=false']);
});

test.run();
