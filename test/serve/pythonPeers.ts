/**
 * The Python clients and servers that this project must work with, from PyPI, in a venv of their own: made once, under a
 * lock, in `${XDG_CACHE_HOME:-~/.cache}/semanticvla/serve-venv`.
 *
 *   node --import tsx test/serve/pythonPeers.ts    make it, and print its interpreter
 */

import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { noFetching } from '../helpers/pythonVenv.ts';

export interface Peers {
  /** Path of the interpreter; null when the venv cannot be had. */
  readonly python: string | null;
  /** Why it is missing. */
  readonly reason: string;
}

const requirements = join(import.meta.dirname, 'peers', 'requirements.txt');
const installSeconds = 150;
/** Far above what a script takes; reached only by a hang. */
const patienceMs = 540_000;
/** A lock this old is of a process that died. */
const staleMs = 2 * installSeconds * 1000;

/** For tests: fetches only where tests may. */
export function peersOfTest(): Peers {
  if (noFetching !== null) return { python: null, reason: noFetching };
  const { python, reason } = pythonPeers();
  return { python, reason: `${reason} (needs python3 with venv, and PyPI once)` };
}

export function pythonPeers(): Peers {
  const root = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'semanticvla');
  const venv = join(root, 'serve-venv');
  const python = join(venv, 'bin', 'python');
  const stamp = join(venv, 'requirements.sha256');
  const digest = createHash('sha256').update(readFileSync(requirements)).digest('hex');
  const done = (): boolean =>
    existsSync(python) && existsSync(stamp) && readFileSync(stamp, 'utf8') === digest;
  if (done()) return { python, reason: '' };

  mkdirSync(root, { recursive: true });
  const release = lock(`${venv}.lock`, done);
  if (release === null)
    return { python: null, reason: 'another process is making the venv and does not finish' };
  try {
    if (done()) return { python, reason: '' };
    rmSync(venv, { recursive: true, force: true });
    const steps: [string, string[]][] = [
      ['python3', ['-m', 'venv', venv]],
      [python, ['-m', 'pip', 'install', '--quiet', '--only-binary', ':all:', '-r', requirements]],
    ];
    for (const [command, args] of steps) {
      const { status, stderr, error } = spawnSync(command, args, {
        encoding: 'utf8',
        timeout: installSeconds * 1000,
      });
      if (status !== 0) {
        const why = error?.message ?? stderr.trim().split('\n').at(-1) ?? '';
        return { python: null, reason: `${command} ${args.slice(0, 3).join(' ')} failed: ${why}` };
      }
    }
    writeFileSync(stamp, digest);
    return { python, reason: '' };
  } finally {
    release();
  }
}

/** Runs a script of test/serve/peers; what it prints behind RESULT. */
export async function runPeer<T>(python: string, script: string, args: readonly string[]): Promise<T> {
  const output = await runPython(python, [join(import.meta.dirname, 'peers', script), ...args]);
  const line = /^RESULT (.*)$/m.exec(output)?.[1];
  if (line === undefined) throw new Error(`${script} printed no result: ${output}`);
  return JSON.parse(line) as T;
}

/** What it prints on either stream. Throws when it does not end with 0. */
export async function runPython(python: string, args: readonly string[]): Promise<string> {
  const child = spawn(python, args);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data: Buffer) => (output += data.toString()));
  const timer = setTimeout(() => child.kill('SIGKILL'), patienceMs);
  const code = await new Promise((resolve) => child.on('close', resolve));
  clearTimeout(timer);
  if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}: ${output}`);
  return output;
}

/** Null when it is neither free nor done in time. */
function lock(path: string, done: () => boolean): (() => void) | null {
  const deadline = Date.now() + installSeconds * 1000;
  for (;;) {
    try {
      mkdirSync(path);
      return () => rmSync(path, { recursive: true, force: true });
    } catch {
      if (done()) return () => {};
    }
    if (existsSync(path) && Date.now() - statSync(path).mtimeMs > staleMs)
      rmSync(path, { recursive: true, force: true });
    if (Date.now() > deadline) return null;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { python, reason } = pythonPeers();
  process.stdout.write(`${python ?? reason}\n`);
  process.exitCode = python === null ? 1 : 0;
}
