/** Progress of long work is reported to its listener, and nothing that the listener does stops the work. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { verifyTensors } from '../../lib/checkpoint/verifyTensors.ts';
import {
  benchPolicies,
  loadPolicy,
  openCheckpoint,
  profilePolicy,
  readObservation,
  synthesizeCheckpoint,
} from '../../lib/index.ts';
import { goldenCheckpoint, goldenRoot } from '../helpers/golden.ts';

const test = suite('callbacks of long work');
const libero = { platform: 'libero', unnormKey: 'libero_spatial_no_noops', threads: 1 } as const;

/** Throws and rejects in turn. */
function failing(heard: { count: number }): () => void {
  return () => {
    if (heard.count++ % 2 === 0) throw new Error('mine');
    return Promise.reject(new Error('mine')) as unknown as undefined;
  };
}

test('a progress listener that throws or rejects is heard to the end, and the work is done', async () => {
  const cacheDir = mkdtempSync(join(tmpdir(), 'semanticvla-callbacks-'));
  const checkpoint = goldenCheckpoint('libero-tiny');
  const { observation } = await readObservation(join(goldenRoot, 'libero-tiny/obs0'));
  const few = { warmUp: 0, iterations: 1 };
  const short = { iterations: 1, durationMs: 0, warmUpMs: 0, warmUpChunks: 1, warmUpLimitMs: 1 };
  const works: Readonly<Record<string, (onProgress: () => void) => Promise<unknown>>> = {
    'loadPolicy, with a LoRA to merge': async (onProgress) => {
      await using policy = await loadPolicy(checkpoint, { ...libero, cacheDir, onProgress });
      return (await policy.predict(observation, { instruction: 'go' })).actions;
    },
    synthesizeCheckpoint: (onProgress) =>
      synthesizeCheckpoint('tiny', join(cacheDir, 'synth'), { onProgress }),
    verifyTensors: async (onProgress) => verifyTensors(await openCheckpoint(checkpoint), { onProgress }),
    benchPolicies: (onProgress) =>
      benchPolicies([{ checkpoint, options: libero }], { ...short, cacheDir, onProgress }),
    profilePolicy: (onProgress) =>
      profilePolicy(checkpoint, { ...few, policy: { ...libero, cacheDir }, onProgress }),
  };
  try {
    for (const [name, work] of Object.entries(works)) {
      const heard = { count: 0 };
      assert.ok(await work(failing(heard)), name);
      assert.ok(heard.count > 0, `${name} told nothing`);
    }
  } finally {
    rmSync(cacheDir, { recursive: true });
  }
});

test.run();
