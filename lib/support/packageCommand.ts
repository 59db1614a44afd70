/**
 * Commands of this package as a user has to type them: in a clone, or in a project of npm, pnpm, yarn, Bun or another
 * package manager.
 */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const packageRoot = fileURLToPath(new URL('../../', import.meta.url));

/**
 * `command` itself in a clone; through `npm explore` if the package is a dependency, because npm runs the scripts of the
 * current project. npm comes with Node, so this also works in projects of other package managers.
 *
 * @param command as it works in the package's own folder, such as `npm run build:native`
 * @param root folder of the package, with a slash at the end
 */
export function packageCommand(command: string, root: string = packageRoot): string {
  if (!isDependency(root)) return command;
  // a shell of its own, so that `A && B` stays together
  return `npm explore semanticvla -- ${command.includes('&&') ? `"${command}"` : command}`;
}

/** The command that compiles the addon on this machine. */
export function buildAddonCommand(root: string = packageRoot): string {
  const isHere = root === join(process.cwd(), '/');
  return isHere ? 'node scripts/install.mjs' : `node ${join(root, 'scripts/install.mjs')}`;
}

/** The command that gets dependencies of this package that are missing or belong to another machine. */
export function reinstallCommand(root: string = packageRoot): string {
  if (!isDependency(root)) return 'npm ci';
  const modules = outermostModules(root);
  const manager = managerOf(modules);
  // none of them checks files that it believes to be there; npm's settings may leave out what is optional
  return `rm -rf ${modules} && ${manager} install${manager === 'npm' ? ' --include=optional' : ''}`;
}

/** The command that installs optional peers of this package, in the versions that it was tested with. */
export function installCommand(names: readonly string[], root: string = packageRoot): string {
  if (!isDependency(root)) return 'npm ci';
  const { peerDependencies: ranges } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    peerDependencies: Readonly<Record<string, string>>;
  };
  const manager = managerOf(outermostModules(root));
  const wanted = names.map((name) => `${name}@${ranges[name]}`).join(' ');
  return `${manager} ${manager === 'npm' ? 'install' : 'add'} ${wanted}`;
}

/** Whether the package was installed by another one, and is no clone. */
export function isDependency(root: string = packageRoot): boolean {
  return /[\\/]node_modules[\\/]/.test(root);
}

/** `/robot/node_modules` of `/robot/node_modules/.pnpm/semanticvla@0.1.0/node_modules/semanticvla/`. */
function outermostModules(root: string): string {
  return root.slice(0, root.search(/[\\/]node_modules[\\/]/) + '/node_modules'.length);
}

/** The package manager that filled this node_modules. */
function managerOf(modules: string): 'npm' | 'pnpm' | 'yarn' | 'bun' {
  const has = (...names: string[]) => names.some((name) => existsSync(join(modules, name)));
  if (has('.package-lock.json')) return 'npm';
  if (has('.modules.yaml')) return 'pnpm';
  // Yarn without a node_modules unpacks compiled packages below .yarn
  if (has('.yarn-integrity', '.yarn-state.yml') || /[\\/]\.yarn[\\/]/.test(modules)) return 'yarn';
  return has('../bun.lock', '../bun.lockb') ? 'bun' : 'npm';
}
