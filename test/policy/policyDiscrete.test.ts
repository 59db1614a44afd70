import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readObservation } from '../../lib/observation/readObservation.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import { goldenCopy } from '../helpers/golden.ts';
import { goldenCase, goldenRoot, maxAbsDifference } from '../helpers/goldenCase.ts';

const test = suite('discrete actions against the reference');

/**
 * An action is the centre of one of 255 intervals. The graph gives it in float32 (off by up to 3e-8 of a centre, times half
 * a range), the reference in float64. The bin beside is 1/127.5 of half a range away: thousands of times this.
 */
const tolerance = 1e-6;

test('oft-tiny without head and proprioception: the language model names the bins', async () => {
  const dir = goldenCopy('oft-tiny');
  for (const file of readdirSync(dir)) {
    if (/^(action_head|proprio_projector)--/.test(file)) rmSync(join(dir, file));
  }
  const { samples } = goldenCase('oft-tiny');
  const listed = samples.filter(({ discrete }) => discrete !== undefined);
  assert.ok(listed.length > 0);
  for (const weights of ['folded', 'mapped'] as const) {
    await using policy = await loadPolicy(dir, {
      head: 'discrete',
      platform: 'libero',
      proprio: false,
      unnormKey: listed[0]!.unnorm_key,
      weights,
    });
    for (const sample of listed) {
      const { observation } = await readObservation(join(goldenRoot, 'oft-tiny', sample.observation));
      const { actions } = await policy.predict(observation, { instruction: sample.instruction });
      const expected = sample.discrete!.actions_fp32.flat();
      // random weights name few of the 256 action ids, but more than one of each dimension's
      assert.ok(new Set(expected).size > sample.discrete!.actions_fp32[0]!.length);
      const difference = maxAbsDifference(actions, expected);
      assert.ok(difference <= tolerance, `${sample.golden}, ${weights}: actions differ by ${difference}`);
    }
  }
});

test.run();
