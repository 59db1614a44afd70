/** Many callers of one policy: each gets the answer to its own question. */

import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readObservation } from '../../lib/observation/readObservation.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import { goldenCheckpoint, goldenRoot } from '../helpers/golden.ts';

const test = suite('concurrent callers');

test('64 callers with four observations and three instructions get what each alone would get, bit for bit', async () => {
  await using policy = await loadPolicy(goldenCheckpoint('libero-tiny'), {
    unnormKey: 'libero_spatial_no_noops',
    threads: 1,
  });
  const folders = await Promise.all(
    ['obs0', 'obs1'].map((name) => readObservation(join(goldenRoot, 'libero-tiny', name))),
  );
  const observations = folders.flatMap(({ observation }) => {
    const still = Float64Array.from(observation.state!, (value) => value / 2);
    return [observation, { ...observation, state: still }];
  });
  const instructions = [
    'pick up the black bowl',
    'open the drawer',
    'push the plate to the front of the stove',
  ];
  const questions = observations.flatMap((observation) =>
    instructions.map((instruction) => ({ observation, instruction })),
  );
  const alone: Float64Array[] = [];
  for (const { observation, instruction } of questions) {
    alone.push((await policy.predict(observation, { instruction })).actions);
  }
  assert.is(new Set(alone.map((actions) => actions.join())).size, questions.length, 'the questions differ');
  const answers = await Promise.all(
    Array.from({ length: 64 }, (_, caller) => {
      const { observation, instruction } = questions[(caller * 5) % questions.length]!;
      return policy.predict(observation, { instruction });
    }),
  );
  for (const [caller, { actions, instruction }] of answers.entries()) {
    const question = (caller * 5) % questions.length;
    assert.is(instruction, questions[question]!.instruction);
    assert.equal(actions, alone[question], `caller ${caller}`);
  }
});

test.run();
