/**
 * Python with ONNX's own checker, from PyPI, in a virtual environment in the user's cache folder. It is made beside its
 * place and renamed into it, so that two tests at once cannot meet and no half of one is ever used.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const requirements = join(import.meta.dirname, 'requirements.txt');

export type Python = { readonly python: string } | { readonly missing: string };

/** Bounded, so that a registry that does not answer costs the tests at most this. */
const installLimitMs = 150_000;

export function onnxPython(): Python {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const venv = join(cache, 'semanticvla', 'onnx-venv');
  const python = join(venv, 'bin', 'python');
  if (works(python)) return { python };
  const how = `python3 -m venv ${venv} && ${python} -m pip install -r test/graph/requirements.txt`;
  const own = `${venv}.${process.pid}`;
  try {
    mkdirSync(join(cache, 'semanticvla'), { recursive: true });
    run('python3', ['-m', 'venv', own], 30_000);
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
    run(join(own, 'bin', 'python'), [...pip, '-r', requirements], installLimitMs);
    // what is there and does not work is an old one
    if (!works(python)) {
      rmSync(venv, { recursive: true, force: true });
      renameSync(own, venv);
    }
  } catch (error) {
    if (!works(python)) return { missing: `${(error as Error).message}. Get it with: ${how}` };
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
  return works(python) ? { python } : { missing: `${python} does not import onnx. Get it with: ${how}` };
}

function works(python: string): boolean {
  if (!existsSync(python)) return false;
  return spawnSync(python, ['-c', 'import onnx, onnxruntime'], { timeout: 60_000 }).status === 0;
}

function run(command: string, args: readonly string[], timeout: number): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8', timeout });
  if (status === 0) return;
  const reason = error?.message ?? stderr.trim().split('\n').at(-1) ?? `code ${status}`;
  const what = readFileSync(requirements, 'utf8').trim().replaceAll('\n', ', ');
  throw new Error(`Python with ${what} is not there: ${command} ${args.slice(0, 3).join(' ')}: ${reason}`);
}
