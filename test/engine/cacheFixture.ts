/** A cache in a temporary folder, and an identity whose fields are easy to change. */

import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { EngineIdentity } from '../../lib/engine/cacheKey.ts';
import type { CachedEngine } from '../../lib/engine/engineCache.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';

export const identity: EngineIdentity = {
  graph: 'a'.repeat(64),
  plugins: 'b'.repeat(64),
  flavour: 'rtx1',
  version: '1.7.1.116',
  target: 'sm_89',
  precision: 'bfloat16',
  weights: 'bound',
  options: '{"optimizationLevel":null}',
};

export async function inCacheFolder(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'semanticvla-engines-'));
  try {
    await body(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** The error of a promise that must reject with `code`. */
export async function rejection(promise: Promise<unknown>, code: string): Promise<SemanticVlaError> {
  let value: unknown;
  try {
    value = await promise;
  } catch (error) {
    if (error instanceof SemanticVlaError && error.code === code) return error;
    throw error;
  }
  throw new Error(`expected ${code}, found no error but ${JSON.stringify(value)?.slice(0, 200)}`);
}

/** Reads what a session would deserialize, and closes the file. */
export async function readPlan({ plan }: CachedEngine): Promise<Uint8Array> {
  // through the descriptor: another builder may have replaced the file of that name
  const bytes = readFileSync(plan.descriptor);
  assert.is(bytes.byteLength, plan.byteLength);
  await plan.close();
  return bytes;
}

/** `bytes` bytes that look like a plan. */
export function plan(bytes: number, seed = 1): Uint8Array {
  const data = new Uint8Array(bytes);
  let state = seed;
  for (let i = 0; i < bytes; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    data[i] = state >>> 24;
  }
  return data;
}
