/**
 * Every policy whose answers are known through the whole TensorRT path: the authors' goldens, the variants, the trained policy.
 */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { maxAbsDifference } from '../helpers/goldenCase.ts';
import { cubes, goldens, type KnownPolicy, variants } from './cases.ts';
import { keptOf, largestDifference, openOnStandIn, predictSample } from './compare.ts';
import { longStandInTest } from './standIn.ts';

const test = suite('every known policy on the device path');

const policies = [...goldens(), ...variants(), cubes()];

/** Of the samples whose patches are those of float32: others give other actions. */
async function halfDifference(known: KnownPolicy): Promise<{ most: number; equal: number }> {
  await using policy = await openOnStandIn(known, { precision: 'bfloat16' });
  let [most, equal] = [0, 0];
  for (const sample of known.samples) {
    const chunk = await predictSample(policy, sample);
    if (JSON.stringify(keptOf(chunk)) !== JSON.stringify(sample.kept)) continue;
    equal += 1;
    most = Math.max(most, maxAbsDifference(chunk.normalized, sample.actions));
  }
  return { most, equal };
}

for (const known of policies) {
  const count = known.samples.length;
  longStandInTest(test, `${known.name}, float32: ${count} samples`, async () => {
    await using policy = await openOnStandIn(known);
    const difference = await largestDifference(policy, known.samples);
    console.log(`${known.name}, float32: ${count} samples within ${difference.toExponential(1)}`);
    assert.ok(difference <= known.tolerance, `normalized actions differ by ${difference}`);
  });

  longStandInTest(test, `${known.name}, baked weights: the bits of bound ones`, async () => {
    await using bound = await openOnStandIn(known);
    await using baked = await openOnStandIn(known, { weights: 'baked' });
    for (const sample of known.samples.slice(0, 2)) {
      const [one, other] = [await predictSample(bound, sample), await predictSample(baked, sample)];
      assert.equal(other.normalized, one.normalized, sample.label);
      assert.equal(other.similarity, one.similarity, sample.label);
    }
  });

  if (known.bfloat16 === null) continue;
  const allowed = known.bfloat16;
  longStandInTest(test, `${known.name}, bfloat16: within ${allowed.toFixed(3)}`, async () => {
    const { most, equal } = await halfDifference(known);
    console.log(
      `${known.name}, bfloat16: ${equal} of ${count} keep float32's patches, within ${most.toFixed(4)}`,
    );
    assert.ok(equal > 0, 'no sample keeps the patches of float32');
    assert.ok(most <= allowed, `normalized actions differ by ${most}`);
    // it was rounded: in float32 they would be hundreds of times nearer
    assert.ok(most > 20 * known.tolerance, `normalized actions differ by ${most} only`);
  });
}

test.run();
