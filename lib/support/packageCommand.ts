/**
 * Commands of this package as a user has to type them: in a clone, or in a project of npm, pnpm, yarn or another package
 * manager.
 */

import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
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

/** The command that gets an addon if install scripts were blocked, did not run, or ran on another machine. */
export function buildAddonCommand(root: string = packageRoot): string {
  const byHand = `node ${join(root, 'scripts/install.mjs')}`;
  if (!isDependency(root)) return root === join(process.cwd(), '/') ? 'node scripts/install.mjs' : byHand;
  const modules = outermostModules(root);
  if (existsSync(join(modules, '.package-lock.json'))) {
    const major = npmMajor();
    // npm 12 runs no install script that the project did not approve, not even on rebuild; older versions do not know the
    // command
    if (major !== null && major >= 12)
      return 'npm install-scripts approve semanticvla && npm rebuild semanticvla';
    if (major !== null) return 'npm rebuild semanticvla';
  }
  // pnpm's own record of what it did not run: approving runs it at once, and again with every later install
  const notes = readText(join(modules, '.modules.yaml')) ?? '';
  const ignored = /"?ignoredBuilds"?:[^\]}]*?semanticvla@/.test(notes);
  if (ignored) return 'ONNXRUNTIME_NODE_INSTALL=skip pnpm approve-builds --all';
  return byHand;
}

/** The command that gets dependencies of this package that are missing or belong to another machine. */
export function reinstallCommand(root: string = packageRoot): string {
  if (!isDependency(root)) return 'npm ci';
  const modules = outermostModules(root);
  // none of them checks files that it believes to be there
  return `rm -rf ${modules} && ONNXRUNTIME_NODE_INSTALL=skip ${managerOf(modules)} install`;
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

function isDependency(root: string): boolean {
  return /[\\/]node_modules[\\/]/.test(root);
}

/** `/robot/node_modules` of `/robot/node_modules/.pnpm/semanticvla@0.1.0/node_modules/semanticvla/`. */
function outermostModules(root: string): string {
  return root.slice(0, root.search(/[\\/]node_modules[\\/]/) + '/node_modules'.length);
}

/** The package manager that filled this node_modules. */
function managerOf(modules: string): 'npm' | 'pnpm' | 'yarn' {
  if (existsSync(join(modules, '.modules.yaml'))) return 'pnpm';
  const isYarns =
    existsSync(join(modules, '.yarn-integrity')) || existsSync(join(modules, '.yarn-state.yml'));
  return isYarns ? 'yarn' : 'npm';
}

/** Major version of the npm that a shell would start, from its files; null if it cannot be found (it may be a wrapper). */
function npmMajor(): number | null {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const npm = join(folder, 'npm');
    if (!existsSync(npm)) continue;
    const manifest = join(dirname(dirname(realpathSync(npm))), 'package.json');
    const { name, version } = JSON.parse(readText(manifest) ?? '{}') as { name?: string; version?: string };
    return name === 'npm' && version !== undefined ? Number.parseInt(version, 10) : null;
  }
  return null;
}

function readText(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
