import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readObservation } from '../../lib/observation/readObservation.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import { goldenCheckpoint } from '../helpers/golden.ts';
import {
  goldenCase,
  goldenNames,
  goldenOptions,
  goldenRoot,
  maxAbsDifference,
} from '../helpers/goldenCase.ts';

const test = suite('policy against the reference');

/**
 * The reference differs from itself by 2e-6 when summed in another order; its smallest listed mistake (RMSNorm eps)
 * moves actions by 9.6e-5.
 */
const actionTolerance = 5e-5;
/** Un-normalization is float64 on a float32 action: only the action's own difference, times half a range below 1.5. */
const unnormalizedTolerance = 1e-4;

for (const name of goldenNames) {
  const { samples } = goldenCase(name);
  for (const weights of ['folded', 'mapped'] as const) {
    test(`${name}, weights ${weights}: every sample's actions and kept patches`, async () => {
      await using policy = await loadPolicy(await goldenCheckpoint(name), {
        ...goldenOptions[name],
        weights,
      });
      for (const sample of samples) {
        const { observation } = await readObservation(join(goldenRoot, name, sample.observation));
        const chunk = await policy.predict(observation, {
          instruction: sample.instruction,
          unnormKey: sample.unnorm_key,
        });
        const label = `${sample.observation}, "${sample.instruction}"`;
        const normalized = sample.normalized_fp32.flat();
        const difference = maxAbsDifference(chunk.normalized, normalized);
        assert.ok(difference <= actionTolerance, `${label}: normalized actions differ by ${difference}`);
        const real = maxAbsDifference(chunk.actions, sample.actions_fp32.flat());
        assert.ok(real <= unnormalizedTolerance, `${label}: actions differ by ${real}`);
        const kept = Object.values(chunk.keptPatches).map((patches) => [...patches]);
        assert.equal(kept, sample.kept_patches_fp32 ?? []);
        assert.equal(chunk.shape, [sample.actions_fp32.length, sample.actions_fp32[0]!.length]);
        assert.is(chunk.dimensions.length, chunk.shape[1]);
      }
    });
  }
}

test.run();
