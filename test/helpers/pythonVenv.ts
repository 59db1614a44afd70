/**
 * Python packages from PyPI in a virtual environment in the user's cache folder. It is made beside its final place and renamed,
 * so that two tests can run at once and no incomplete one is ever used.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, relative } from 'node:path';

export type Python = { readonly python: string } | { readonly missing: string };

/** Why tests that need Python packages are skipped; null: they run. */
export const noFetching =
  process.env.SEMANTICVLA_LONG_TESTS === '1'
    ? null
    : 'it needs Python packages from PyPI; SEMANTICVLA_LONG_TESTS=1 fetches them and runs it';

/** Bounded, so that a registry that does not answer costs the tests at most this much. */
const installLimitMs = 150_000;
const root = join(import.meta.dirname, '../..');

/**
 * @param name of the folder of the environment
 * @param requirements file for pip
 * @param statement that works if everything is installed, e.g. `import onnx`
 */
export function pythonVenv(name: string, requirements: string, statement: string): Python {
  if (noFetching !== null) return { missing: noFetching };
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const venv = join(cache, 'semanticvla', name);
  const python = join(venv, 'bin', 'python');
  const works = (): boolean =>
    existsSync(python) && spawnSync(python, ['-c', statement], { timeout: 60_000 }).status === 0;
  if (works()) return { python };
  const how = `python3 -m venv ${venv} && ${python} -m pip install -r ${relative(root, requirements)}`;
  const own = `${venv}.${process.pid}`;
  try {
    mkdirSync(join(cache, 'semanticvla'), { recursive: true });
    run('python3', ['-m', 'venv', own], 30_000, requirements);
    const pip = [
      '-m',
      'pip',
      'install',
      '--quiet',
      '--disable-pip-version-check',
      '--timeout',
      '10',
      '--retries',
      '1',
    ];
    run(join(own, 'bin', 'python'), [...pip, '-r', requirements], installLimitMs, requirements);
    // one that exists but does not work is outdated
    if (!works()) {
      rmSync(venv, { recursive: true, force: true });
      renameSync(own, venv);
    }
  } catch (error) {
    if (!works()) return { missing: `${(error as Error).message}. Get it with: ${how}` };
  } finally {
    // what a stopped command started may still be writing there
    rmSync(own, { recursive: true, force: true, maxRetries: 20, retryDelay: 250 });
  }
  return works() ? { python } : { missing: `${python}: \`${statement}\` does not work. Get it with: ${how}` };
}

function run(command: string, args: readonly string[], timeout: number, requirements: string): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8', timeout });
  if (status === 0) return;
  const reason = error?.message ?? stderr.trim().split('\n').at(-1) ?? `code ${status}`;
  const what = readFileSync(requirements, 'utf8').trim().replaceAll('\n', ', ');
  throw new Error(`Python with ${what} is not there: ${command} ${args.slice(0, 3).join(' ')}: ${reason}`);
}
