import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { towerNames } from '../../lib/graph/names.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import { maxAbsDifference } from '../helpers/goldenCase.ts';
import { variant, variantNames, variantObservation, variantStages } from '../helpers/variants.ts';

const test = suite('variants against the PyTorch twin');
/** Mapped weights, which test/policy/policy.test.ts has for the goldens, only with SEMANTICVLA_LONG_TESTS=1. */
const ways =
  process.env.SEMANTICVLA_LONG_TESTS === '1' ? (['folded', 'mapped'] as const) : (['folded'] as const);

/** The twin differs from itself in float64 by under 2e-6; the smallest mistakes move actions by 1e-5 and more. */
const actionTolerance = 2e-5;
/** Stages reach about 20; float32 sums in another order differ by up to 2e-5. */
const stageTolerance = 1e-4;

test('there are variants', () => {
  assert.ok(variantNames.length >= 12);
});

for (const name of variantNames) {
  for (const weights of ways) {
    test(`${name}, weights ${weights}: actions and kept patches`, async () => {
      const { case: content, checkpoint } = variant(name);
      await using policy = await loadPolicy(checkpoint, {
        platform: 'custom',
        ...content.options,
        weights,
        unnormKey: content.unnorm_key,
      });
      for (const sample of content.samples) {
        const chunk = await policy.predict(await variantObservation(sample), {
          instruction: sample.instruction,
        });
        const difference = maxAbsDifference(chunk.normalized, sample.normalized.flat());
        assert.ok(difference <= actionTolerance, `normalized actions differ by ${difference}`);
        const kept = Object.values(chunk.keptPatches).map((patches) => [...patches]);
        // with samplers on both towers the chunk tells SigLIP's
        const tower = towerNames.toReversed().find((t) => sample.kept_patches[t] !== undefined);
        assert.equal(kept, tower === undefined ? [] : sample.kept_patches[tower]);
      }
    });
  }

  test(`${name}: stages`, async () => {
    const { case: content, checkpoint, stagesFile } = variant(name);
    await using policy = await loadPolicy(checkpoint, { platform: 'custom', ...content.options });
    const sample = content.samples.find(({ stages }) => stages)!;
    const stages = await policy.stages(await variantObservation(sample), {
      instruction: sample.instruction,
      unnormKey: content.unnorm_key,
    });
    const expected = variantStages(stagesFile);
    assert.ok(expected.size > 5);
    for (const [key, { dtype, shape, data }] of expected) {
      const found = stages.get(key);
      assert.ok(found, `${key}: missing, found only ${[...stages.keys()].join(' ')}`);
      assert.equal([...found.shape], [...shape], `${key}: shape`);
      const difference = maxAbsDifference(found.data, data);
      assert.ok(difference <= (dtype === 'F32' ? stageTolerance : 0), `${key}: differs by ${difference}`);
    }
  });
}

test.run();
