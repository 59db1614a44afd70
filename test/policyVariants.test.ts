import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadPolicy } from '../lib/policy.ts';
import { variant, variantNames, variantObservation } from './helpers/variants.ts';

const test = suite('policy variants against the PyTorch twin');

/** Float32 noise of these policies is under 2e-6 (`fp32_vs_fp64_max_abs_normalized` in each case.json). */
const actionTolerance = 2e-5;

for (const name of variantNames) {
  test(`${name}: both samples' actions and kept patches`, async () => {
    const { case: content, checkpoint } = variant(name);
    await using policy = await loadPolicy(checkpoint, { platform: 'custom', ...content.options });
    for (const sample of content.samples) {
      const observation = await variantObservation(sample);
      const chunk = await policy.predict(observation, {
        instruction: sample.instruction,
        unnormKey: content.unnorm_key,
      });
      const normalized = maxAbsDifference(chunk.normalized, sample.normalized.flat());
      assert.ok(normalized <= actionTolerance, `normalized actions differ by ${normalized}`);
      const real = maxAbsDifference(chunk.actions, sample.unnormalized.flat());
      assert.ok(real <= actionTolerance, `actions differ by ${real}`);
      const { siglip, dinov2 } = sample.kept_patches;
      const kept = Object.values(chunk.keptPatches).map((patches) => [...patches]);
      assert.equal(kept.length === 0 ? undefined : kept, siglip ?? dinov2);
    }
  });
}

function maxAbsDifference(actual: ArrayLike<number>, expected: readonly number[]): number {
  assert.is(actual.length, expected.length);
  return expected.reduce((worst, value, i) => Math.max(worst, Math.abs(actual[i]! - value)), 0);
}

test.run();
