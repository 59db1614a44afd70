/**
 * An engine with faults on demand, for the supervisor's tests and benchmark. The instruction says what happens:
 * `crash` (a signal), `exit`, `hang` (the main thread spins), `silent` (never answers), `broken` (a failure of the
 * runtime), `refuse` (an error of the caller's), `slow`; anything else is answered with numbers that come from the input.
 */

import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import type { ActionChunk, Observation, Policy, PredictOptions } from '../../lib/types.ts';

export interface FakeEngineOptions {
  /** While this file exists the engine refuses to start. */
  readonly refuseWhile?: string;
  /** Milliseconds of a `slow` answer. */
  readonly slowMs?: number;
  /** Refuses to start, whatever happens. */
  readonly broken?: boolean;
  /** MiB of memory that it holds. The kernel has to free them before the end of the process is reported: 30 ms per GB. */
  readonly ballastMiB?: number;
}

/** Held for as long as the process lives. */
const ballast: Buffer[] = [];

export const fakeDimensions = ['x', 'y', 'z'];
const chunk = 2;

/** Mean of all bytes of a frame. */
export function meanByte(data: Uint8Array): number {
  let sum = 0;
  for (const value of data) sum += value;
  return sum / data.length;
}

/** [C, 3]: mean of the first camera's bytes, of the second's, and the first joint; each row adds one. */
export function fakeActions(observation: Observation): Float64Array {
  const [first, second] = ['full_image', 'wrist_image'].map((name) => observation.images[name]);
  const row = [
    first ? meanByte(first.data) : 0,
    second ? meanByte(second.data) : 0,
    observation.state?.[0] ?? 0,
  ];
  return Float64Array.from({ length: chunk * 3 }, (_, i) => row[i % 3]! + Math.floor(i / 3));
}

/** Commits the fault named by the instruction, if any. */
async function commit(instruction: string, options: FakeEngineOptions, signal?: AbortSignal): Promise<void> {
  switch (instruction) {
    case 'crash':
      process.kill(process.pid, 'SIGSEGV');
      return new Promise(() => {});
    case 'exit':
      console.error('the device fell off the bus');
      process.exit(3);
      break;
    case 'hang':
      for (;;);
    case 'silent':
      return new Promise((_, reject) =>
        signal?.addEventListener('abort', () => reject(signal.reason), { once: true }),
      );
    case 'broken':
      throw new SemanticVlaError('RUNTIME_FAILED', 'an illegal memory access was encountered');
    case 'refuse':
      throw new SemanticVlaError('INSTRUCTION_INVALID', 'not this one');
    case 'slow':
      await sleep(options.slowMs ?? 50, undefined, signal ? { signal } : {});
  }
}

export function createPolicy(options: FakeEngineOptions): Policy {
  if (options.broken) throw new SemanticVlaError('CHECKPOINT_NOT_FOUND', 'no such checkpoint');
  if (options.refuseWhile !== undefined && existsSync(options.refuseWhile)) {
    throw new SemanticVlaError('RUNTIME_FAILED', 'the device is not back yet');
  }
  if (options.ballastMiB !== undefined) ballast.push(Buffer.alloc(options.ballastMiB * 2 ** 20, 1));
  return {
    platform: {
      name: 'custom',
      cameras: ['full_image', 'wrist_image'],
      proprio: true,
      centerCrop: false,
      jpeg: false,
      chunk,
      normalization: 'minmax',
    },
    dimensions: fakeDimensions,
    variant: 'fake',
    imageSize: 224,
    patchGrid: 16,
    notices: [],
    async predict(observation: Observation, { instruction, signal }: PredictOptions): Promise<ActionChunk> {
      const actions = fakeActions(observation);
      await commit(instruction, options, signal);
      return {
        actions,
        normalized: Float32Array.from(actions),
        shape: [chunk, 3],
        dimensions: fakeDimensions,
        keptPatches: { full_image: Int32Array.of(1, 2, 3) },
        similarity: { full_image: Float32Array.of(0.5, -1) },
        timings: { total: 0.01 },
        instruction,
        unnormKey: 'fake',
      };
    },
    async stages(observation) {
      return new Map([
        ['actions', { dtype: 'F32', shape: [chunk, 3], data: Float32Array.from(fakeActions(observation)) }],
      ]);
    },
    async close() {},
    async [Symbol.asyncDispose]() {},
  };
}
