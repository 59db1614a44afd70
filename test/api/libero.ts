/** What the tests of the API share: the complete golden policy, its observations, and programs in separate processes. */

import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import * as assert from 'uvu/assert';
import { readObservation } from '../../lib/observation/readObservation.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import { type ErrorCode, SemanticVlaError } from '../../lib/support/errors.ts';
import type { ActionChunk, Observation, Policy, PolicyOptions } from '../../lib/types.ts';
import { root } from '../helpers/cli.ts';
import { goldenCheckpoint, goldenRoot } from '../helpers/golden.ts';

export const unnormKey = 'libero_spatial_no_noops';

export const instructions = [
  'pick up the black bowl between the plate and the ramekin and place it on the plate',
  'open the top drawer',
  'put the wine bottle on the rack',
  'turn on the stove',
  'push the plate to the front of the stove',
] as const;

export function openLibero(options: PolicyOptions = {}): Promise<Policy> {
  return loadPolicy(goldenCheckpoint('libero-tiny'), {
    platform: 'libero',
    unnormKey,
    threads: 1,
    ...options,
  });
}

/** `obs0` is 224x224 already, `obs1` goes through the JPEG round trip and the resize. */
export async function liberoObservation(name: 'obs0' | 'obs1' = 'obs0'): Promise<Observation> {
  return (await readObservation(join(goldenRoot, 'libero-tiny', name))).observation;
}

/** A copy whose buffers belong to nobody else. */
export function copyObservation({ images, state }: Observation): Observation & { state: number[] } {
  const copies = Object.entries(images).map(([name, frame]) => [
    name,
    { ...frame, data: new Uint8Array(frame.data) },
  ]);
  return { images: Object.fromEntries(copies), state: Array.from(state ?? []) };
}

/** The numbers of a chunk, to compare exactly. */
export function numbers({ actions, normalized, keptPatches, similarity }: ActionChunk): unknown {
  const plain = (record: Readonly<Record<string, ArrayLike<number>>>) =>
    Object.entries(record).map(([name, values]) => [name, Array.from(values)]);
  return {
    actions: Array.from(actions),
    normalized: Array.from(normalized),
    kept: plain(keptPatches),
    similarity: plain(similarity),
  };
}

export async function rejects(
  promise: Promise<unknown>,
  code: ErrorCode,
  message: RegExp = /./,
): Promise<void> {
  try {
    await promise;
  } catch (error) {
    assert.instance(error, SemanticVlaError, `expected ${code}, found ${error}`);
    assert.is((error as SemanticVlaError).code, code);
    assert.match((error as SemanticVlaError).message, message);
    return;
  }
  assert.unreachable(`expected ${code}`);
}

/** Number of threads of this process, including inference threads. */
export function threadCount(): number {
  return readdirSync('/proc/self/task').length;
}

export interface ProgramResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program as a user would write it: an ES module given as a string, with the built package. `api`, `observation`,
 * `options` and `checkpoint` are defined.
 * @param limitMs after which it counts as hanging and is killed (signal SIGKILL)
 */
export function runProgram(body: string, limitMs = 60_000): Promise<ProgramResult> {
  const index = join(root, 'dist/index.js');
  if (!existsSync(index)) throw new Error('dist/ is not built: run `npm run build` first');
  const program = `
    import * as api from ${JSON.stringify(pathToFileURL(index).href)};
    const checkpoint = ${JSON.stringify(goldenCheckpoint('libero-tiny'))};
    const { observation } = await api.readObservation(${JSON.stringify(join(goldenRoot, 'libero-tiny/obs0'))});
    const options = { platform: 'libero', unnormKey: '${unnormKey}', threads: 1 };
    const task = { instruction: '${instructions[1]}' };
    ${body}`;
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--expose-gc', '--input-type=module', '-e', program], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), limitMs);
    const result = { stdout: '', stderr: '' };
    child.stdout.on('data', (data) => {
      result.stdout += data;
    });
    child.stderr.on('data', (data) => {
      result.stderr += data;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, ...result });
    });
  });
}
