/** A known policy by `loadPolicy(..., { backend: 'tensorrt' })` on the stand-in, beside what is known of it. */

import * as assert from 'uvu/assert';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import type { Notice } from '../../lib/support/notices.ts';
import type { ActionChunk, Policy, PolicyOptions } from '../../lib/types.ts';
import { maxAbsDifference } from '../helpers/goldenCase.ts';
import type { KnownPolicy, KnownSample } from './cases.ts';
import { standIn } from './standIn.ts';

/** In this process's cache folder, so that an engine is built and checked once. */
export async function openOnStandIn(known: KnownPolicy, options: PolicyOptions = {}): Promise<Policy> {
  const notices: Notice[] = [];
  const policy = await loadPolicy(await known.checkpoint(), {
    ...known.options,
    precision: 'float32',
    ...options,
    backend: 'tensorrt',
    tensorRt: await standIn(),
    onNotice: (notice) => notices.push(notice),
  });
  assert.ok(notices.some(({ code }) => code === 'TENSORRT_STAND_IN'));
  return policy;
}

export async function predictSample(policy: Policy, sample: KnownSample): Promise<ActionChunk> {
  return policy.predict(await sample.observation(), {
    instruction: sample.instruction,
    ...(sample.unnormKey === undefined ? {} : { unnormKey: sample.unnormKey }),
  });
}

export const keptOf = (chunk: ActionChunk): readonly (readonly number[])[] =>
  Object.values(chunk.keptPatches).map((patches) => [...patches]);

/** Largest difference of a normalized action in float32; the kept patches must be equal. */
export async function largestDifference(policy: Policy, samples: readonly KnownSample[]): Promise<number> {
  let most = 0;
  for (const sample of samples) {
    const chunk = await predictSample(policy, sample);
    assert.ok('preprocessOnDevice' in chunk.timings, `${sample.label}: the frames went through the kernels`);
    assert.equal(keptOf(chunk), sample.kept, sample.label);
    most = Math.max(most, maxAbsDifference(chunk.normalized, sample.actions));
  }
  return most;
}
