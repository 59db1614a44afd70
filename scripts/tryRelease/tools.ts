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
import { delimiter, join } from 'node:path';
import { run } from '../release/run.ts';
import { type Manager, managers, nodes, npmOfNode, type Pair } from './managers.ts';

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

/** A package of the npm registry by itself, fetched once. */
function fetchOne(name: string, version: string): string {
  return join(
    fetchPackages(`tools/${name}-${version}`, { dependencies: { tool: `npm:${name}@${version}` } }),
    'tool',
  );
}

/** The folder of a Node, with bin/node and include/node. */
export const fetchNode = (major: number): string => fetchOne(`node-linux-${process.arch}`, nodes[major]!);

function fetchManager({ package: name, version, file }: Manager): string {
  const program = join(fetchOne(name, version), file);
  chmodSync(program, 0o755);
  return program;
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
export function makePath(folder: string, { manager, node, isArm }: Pair): string {
  const bin = join(folder, 'bin');
  mkdirSync(bin, { recursive: true });
  for (const name of systemTools) {
    const file = (process.env.PATH ?? '')
      .split(delimiter)
      .map((place) => join(place, name))
      .find(existsSync);
    if (file !== undefined) symlinkSync(realpathSync(file), join(bin, name));
  }
  const realNode = join(fetchNode(node), 'bin/node');
  // a link, so that a program finds its package; a script, where another program stands for it
  const start = (name: string, ...command: string[]): void => {
    if (command.length === 1 && !isArm) symlinkSync(command[0]!, join(bin, name));
    else writeFileSync(join(bin, name), `#!/bin/sh\nexec ${command.join(' ')} "$@"\n`, { mode: 0o755 });
  };
  start('node', isArm ? join(armHome(), 'bin/node') : realNode);
  // emulated, npm would take minutes
  const manage = (name: string, program: string): void => start(name, ...(isArm ? [realNode] : []), program);
  const own = manager.name.startsWith('npm')
    ? manager
    : managers.find(({ name }) => name === npmOfNode[node])!;
  manage('npm', fetchManager(own));
  if (own !== manager) manage(manager.add[0]!, fetchManager(manager));
  return bin;
}
