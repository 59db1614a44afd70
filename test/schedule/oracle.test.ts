/** Every mode against an oracle that shares no code with it (`SEMANTICVLA_LONG_TESTS=1`: tens of thousands of episodes). */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { modeNames, runOracleEpisode } from './oracleEpisode.ts';

const test = suite('oracle');
const episodes = process.env.SEMANTICVLA_LONG_TESTS === '1' ? 5000 : 600;

for (const mode of modeNames) {
  test(`${mode}: value, row, ages, questions and HOLD are those of the oracle`, async () => {
    const sums = { executed: 0, held: 0, questions: 0 };
    for (let seed = 1; seed <= episodes; seed++) {
      const { problems, ...counts } = await runOracleEpisode(mode, seed);
      assert.equal(problems, [], `${mode}, seed ${seed}`);
      for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += counts[key];
    }
    for (const [what, count] of Object.entries(sums)) assert.ok(count > 2 * episodes, `${what}: ${count}`);
    if (episodes > 1000) console.log(`${mode}: ${episodes} episodes, ${JSON.stringify(sums)}, 0 deviations`);
  });
}

test.run();
