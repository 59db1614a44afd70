/**
 * Our server in a process of its own, for bench/serve.ts. Prints its addresses as one JSON line; SIGUSR2 collects garbage
 * (with --expose-gc), SIGTERM ends it.
 *
 *   node --expose-gc --import tsx bench/serve/benchServer.ts [--latency MS] [--checkpoint DIR --unnorm-key KEY]
 */

import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import { servePolicy } from '../../lib/serve/servePolicy.ts';
import type { ActionChunk, Observation, Policy, PredictOptions } from '../../lib/types.ts';
import { endless, long, longRows } from './instructions.ts';

const { values } = parseArgs({
  options: {
    latency: { type: 'string', default: '0' },
    checkpoint: { type: 'string' },
    'unnorm-key': { type: 'string' },
  },
});

const shape = [8, 7] as const;
const dimensions = ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper'];

/** Answers after `latencyMs`, one at a time as a GPU would; at once with 0. */
function nullPolicy(latencyMs: number): Policy {
  const actions = Float64Array.from({ length: 56 }, (_, i) => (i % 7) + Math.floor(i / 7));
  const chunk = {
    actions,
    normalized: new Float32Array(56),
    shape,
    dimensions,
    keptPatches: {},
    similarity: {},
    timings: {},
    unnormKey: 'null',
  };
  return {
    platform: {
      name: 'libero',
      cameras: ['full_image', 'wrist_image'],
      proprio: true,
      centerCrop: true,
      jpeg: true,
      chunk: 8,
      normalization: 'q99',
    },
    dimensions,
    variant: 'null',
    imageSize: 224,
    patchGrid: 16,
    notices: [],
    predict: (_observation: Observation, { instruction, signal }: PredictOptions): Promise<ActionChunk> => {
      if (instruction === long) {
        const [, width] = shape;
        const actions = new Float64Array(longRows * width);
        return Promise.resolve({
          ...chunk,
          instruction,
          actions,
          normalized: new Float32Array(0),
          shape: [longRows, width],
        });
      }
      if (instruction === endless) {
        return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
      }
      if (latencyMs === 0) return Promise.resolve({ ...chunk, instruction });
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => resolve({ ...chunk, instruction }), latencyMs);
        signal?.addEventListener('abort', () => {
          clearTimeout(timer);
          reject(signal.reason);
        });
      });
    },
    stages: () => Promise.reject(new Error('none')),
    close: async () => {},
    [Symbol.asyncDispose]: async () => {},
  };
}

const unnormKey = values['unnorm-key'];
const policy =
  values.checkpoint === undefined
    ? nullPolicy(Number(values.latency))
    : await loadPolicy(values.checkpoint, unnormKey === undefined ? {} : { unnormKey });
const server = await servePolicy(policy, {
  act: { port: 0 },
  openpi: { port: 0 },
  logger: pino({ level: 'silent' }),
});
process.stdout.write(`${JSON.stringify({ act: server.actUrl, openpi: server.openpiUrl })}\n`);
process.on('SIGUSR2', () => globalThis.gc?.());
process.on('SIGTERM', () => {
  void server.close().then(() => policy.close());
});
