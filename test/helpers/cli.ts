/** Runs the real command line, as built. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

export const root = resolve(import.meta.dirname, '../..');
const bin = join(root, 'bin/semanticvla.js');

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function environment(): NodeJS.ProcessEnv {
  return { ...process.env, NO_COLOR: '1', SEMANTICVLA_DEBUG: '' };
}

export function requireBuild(): void {
  if (!existsSync(join(root, 'dist/cli/main.js')))
    throw new Error('dist/ is not built: run `npm run build` first');
}

/** Runs `semanticvla ...args` to its end, in the repository's root. */
export function cli(...args: string[]): CliResult {
  requireBuild();
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, ...args], {
    cwd: root,
    encoding: 'utf8',
    env: environment(),
    timeout: 120_000,
    maxBuffer: 64 << 20,
  });
  return { code: status, stdout, stderr };
}

/** Starts `semanticvla ...args` and leaves it running. */
export function startCli(...args: string[]): ChildProcess {
  requireBuild();
  return spawn(process.execPath, [bin, ...args], {
    cwd: root,
    env: environment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** A temporary folder for the time of `body`. */
export async function inFolder(body: (dir: string) => void | Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'semanticvla-cli-'));
  try {
    await body(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
