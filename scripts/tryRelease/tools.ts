/** Node and package managers from the npm registry, in the cache folder, and a PATH that has one of each and no compiler. */

import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { basename, delimiter, join } from 'node:path';
import { run } from '../release/run.ts';
import { managers, nodes, npmOfNode, type Pair } from './managers.ts';

const root = join(import.meta.dirname, '../..');

/** A folder in the cache, with a package.json of these dependencies installed; fetched once. */
export function fetchPackages(
  name: string,
  manifest: { readonly dependencies: Readonly<Record<string, string>> },
): string {
  const base =
    process.env.SEMANTICVLA_TOOLCHAINS ??
    join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'semanticvla');
  const folder = join(base, name);
  mkdirSync(folder, { recursive: true });
  const text = `${JSON.stringify({ private: true, ...manifest }, null, 2)}\n`;
  const note = join(folder, 'wanted.json');
  if (!existsSync(note) || readFileSync(note, 'utf8') !== text) {
    console.error(`Fetching ${Object.keys(manifest.dependencies).join(', ')}`);
    writeFileSync(join(folder, 'package.json'), text);
    // none of them needs a script, and engines are those of the Node that runs them later
    run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock'], {
      cwd: folder,
    });
    writeFileSync(note, text);
  }
  return join(folder, 'node_modules');
}

/** Node and the managers, side by side. */
export function fetchTools(): string {
  const wanted = [
    ...managers.map((manager) => [manager.name, `npm:${manager.package}`]),
    ...Object.entries(nodes).map(([major, version]) => [
      `node${major}`,
      `npm:node-linux-${process.arch}@${version}`,
    ]),
  ];
  const tools = fetchPackages('install-matrix', { dependencies: Object.fromEntries(wanted) });
  for (const { name, file } of managers) chmodSync(join(tools, name, file), 0o755);
  return tools;
}

/** The emulated Node, and packages for it. */
export function armHome(): string {
  return run(join(root, 'scripts/arm64.sh'), ['--check'], { cwd: root }).trim();
}

/** What package managers and the shells of their commands use; no compiler, make or Python. */
const systemTools = [
  'sh',
  'env',
  'rm',
  'cat',
  'sed',
  'uname',
  'dirname',
  'basename',
  'readlink',
  'git',
  'tar',
  'getconf',
  'ldd',
];

/** A folder of programs as an installation has them, as the whole PATH. */
export function makePath(tools: string, folder: string, { manager, node, isArm }: Pair): string {
  const bin = join(folder, 'bin');
  mkdirSync(bin, { recursive: true });
  for (const name of systemTools) {
    const file = (process.env.PATH ?? '')
      .split(delimiter)
      .map((place) => join(place, name))
      .find(existsSync);
    if (file !== undefined) symlinkSync(realpathSync(file), join(bin, name));
  }
  const realNode = join(tools, `node${node}/bin/node`);
  symlinkSync(isArm ? join(armHome(), 'bin/node') : realNode, join(bin, 'node'));
  const start = (name: string, file: string): void => {
    // a link, so that a program finds its package; the emulated Node would take minutes for npm
    if (!isArm) symlinkSync(file, join(bin, name));
    else writeFileSync(join(bin, name), `#!/bin/sh\nexec ${realNode} ${file} "$@"\n`, { mode: 0o755 });
  };
  const own = manager.name.startsWith('npm')
    ? manager
    : managers.find(({ name }) => name === npmOfNode[node])!;
  start('npm', join(tools, own.name, own.file));
  if (own !== manager) start(basename(manager.add[0]!), join(tools, manager.name, manager.file));
  return bin;
}
