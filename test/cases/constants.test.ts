/** Constant dimensions and unused values, as real training runs write them. */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import type { PolicyOptions } from '../../lib/types.ts';
import { type Base, base, editStatistics } from './bases.ts';

const test = suite('constant dimensions');
/** Of actions in the data set's units, against the reference (test/golden/README.md, Tolerances). */
const tolerance = 5e-5;

async function predict({ dir, observation, instruction }: Base, options: PolicyOptions = {}) {
  await using policy = await loadPolicy(dir, options);
  const { actions, shape, normalized } = await policy.predict(observation, { instruction });
  const rows = Array.from({ length: shape[0] }, (_, i) =>
    Array.from(actions.subarray(i * shape[1], (i + 1) * shape[1])),
  );
  return { rows, normalized, shape };
}

function near(found: readonly number[], expected: readonly number[], message: string): void {
  assert.is(found.length, expected.length);
  found.forEach((value, i) => {
    assert.ok(Math.abs(value - expected[i]!) <= tolerance, `${message}, ${i}: ${value} for ${expected[i]}`);
  });
}

test('a left arm that stands still stays where it stands', async () => {
  const given = await base('aloha-tiny');
  const pose = [0, -0.96, 1.16, 0, -0.3, 0];
  editStatistics(given.dir, ({ action }) => {
    pose.forEach((joint, i) => {
      for (const name of ['min', 'max', 'q01', 'q99', 'mean']) action[name][i] = joint;
      action.std[i] = 0;
    });
  });
  const { rows, normalized, shape } = await predict(given);
  rows.forEach((row, i) => {
    // the reference adds 1e-8 to the range, so a constant is off by at most the head's value times half of that
    row.slice(0, 6).forEach((joint, d) => {
      const a = normalized[i * shape[1] + d]!;
      assert.is(joint, 0.5 * Math.fround(a + 1) * 1e-8 + pose[d]!);
      assert.ok(Math.abs(joint - pose[d]!) <= 2e-8, `row ${i}, joint ${d}: ${joint}`);
    });
    near(row.slice(6), given.actions[i]!.slice(6), `row ${i}: what moves is as before`);
  });
});

test('NaN in a field that nobody reads changes nothing', async () => {
  const given = await base('oft-tiny');
  const file = join(given.dir, 'dataset_statistics.json');
  editStatistics(given.dir, ({ action }) => {
    action.std[6] = 'NaN';
  });
  writeFileSync(file, readFileSync(file, 'utf8').replace('"NaN"', 'NaN'));
  const { rows } = await predict(given);
  rows.forEach((row, i) => {
    near(row, given.actions[i]!, `row ${i}`);
  });
});

test('a joint state that is constant in training reads as in the reference: at the constant -1, beside it the nearer end', async () => {
  const given = await base('oft-tiny');
  editStatistics(given.dir, ({ proprio }) => {
    for (const name of ['min', 'max', 'q01', 'q99', 'mean']) proprio[name][2] = 0.25;
  });
  await using policy = await loadPolicy(given.dir);
  const state = Array.from(given.observation.state!);
  const at = async (value: number) => {
    state[2] = value;
    const stages = await policy.stages({ ...given.observation, state }, { instruction: given.instruction });
    return stages.get('proprio.normalized')!.data[2];
  };
  assert.equal([await at(0.25), await at(0.25 - 1e-6), await at(0.25 + 1e-6)], [-1, -1, 1]);
});

test.run();
