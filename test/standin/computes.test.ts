/** The whole TensorRT path, from frames to actions, without a GPU: `loadPolicy` on the stand-in beside the goldens. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { libero } from './cases.ts';
import { largestDifference, openOnStandIn, predictSample } from './compare.ts';
import { standInTest } from './standIn.ts';

const test = suite('the device path computes');

standInTest(test, 'libero-tiny in float32: every sample, from the captured graph too', async () => {
  const known = libero();
  await using policy = await openOnStandIn(known);
  // twice: the second time each prompt length has its graph
  for (let round = 0; round < 2; round++) {
    const difference = await largestDifference(policy, known.samples);
    assert.ok(difference <= known.tolerance, `round ${round}: normalized actions differ by ${difference}`);
  }
});

standInTest(test, 'CUDA graphs on and off: the same bits', async () => {
  const known = libero();
  await using captured = await openOnStandIn(known);
  await using plain = await openOnStandIn(known, { graphs: false });
  for (const sample of [...known.samples, ...known.samples]) {
    const [one, other] = [await predictSample(captured, sample), await predictSample(plain, sample)];
    assert.equal(one.normalized, other.normalized);
    assert.equal(one.similarity, other.similarity);
  }
});

test.run();
