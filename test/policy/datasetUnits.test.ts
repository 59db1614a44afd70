/** Whose statistics a recording has, and what they make of its units. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { actionUnits, unnormKeyOf } from '../../lib/policy/datasetUnits.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import { partsOf } from '../../lib/policy/policyParts.ts';
import type { SemanticVlaError } from '../../lib/support/errors.ts';
import { unnormalizeActions } from '../../lib/transforms/actions.ts';
import type { Policy } from '../../lib/types.ts';
import { goldenCheckpoint } from '../helpers/golden.ts';

const test = suite('units of recordings');

test("the key is the dataset's name where there are several, and the units undo what un-normalizing does", async () => {
  await using policy = await loadPolicy(goldenCheckpoint('libero-tiny'), { platform: 'libero' });
  const { checkpoint } = partsOf(policy)!.parts;
  const keys = [...checkpoint.statistics.keys()];
  assert.ok(keys.length > 1 && keys.includes('libero_spatial_no_noops'), keys.join());
  for (const name of ['libero_spatial', 'libero_spatial_no_noops'])
    assert.is(unnormKeyOf(policy, name), 'libero_spatial_no_noops');
  try {
    unnormKeyOf(policy, 'cups');
    assert.unreachable();
  } catch (error) {
    assert.is((error as SemanticVlaError).code, 'UNNORM_KEY_REQUIRED');
    assert.match((error as Error).message, /libero_spatial_no_noops/);
  }
  const bounds = checkpoint.statistics.get('libero_spatial_no_noops')!.action;
  const ends = [-1, 1].map((value) => unnormalizeActions(new Float64Array(7).fill(value), bounds, 'q99'));
  const { perUnit, low } = actionUnits(policy, 'libero_spatial_no_noops')!;
  for (const [d, scale] of perUnit.entries()) {
    // the same sums in another order: a few units in the last place
    assert.ok(Math.abs(scale * (ends[1]![d]! - ends[0]![d]!) - 2) < 1e-9, `${d}: ${scale}`);
    assert.is(low[d], bounds.q01[d]);
  }
  // a policy of somebody else knows its own default
  const remote = {} as Policy;
  assert.is(unnormKeyOf(remote, 'cups'), undefined);
  assert.is(actionUnits(remote, undefined), null);
});

test('a key that was given holds, whatever the dataset is called', async () => {
  const unnormKey = 'libero_spatial_no_noops';
  await using policy = await loadPolicy(goldenCheckpoint('libero-tiny'), { platform: 'libero', unnormKey });
  assert.is(unnormKeyOf(policy, 'libero_goal'), unnormKey);
});

test.run();
