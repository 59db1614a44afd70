/** The invariant of docs/safety.md, on robots of any kind (`SEMANTICVLA_LONG_TESTS=1`: a million actions). */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { runGateEpisode } from './gateEpisode.ts';

const test = suite('gate');
const wanted = process.env.SEMANTICVLA_LONG_TESTS === '1' ? 1_000_000 : 30_000;

test(`${wanted} actions of drawn robots: each finite, inside range and workspace, of its episode`, async () => {
  const sums = { robots: 0, refused: 0, actions: 0, executed: 0, lies: 0, impossible: 0, plain: 0, stuck: 0 };
  for (let seed = 1; sums.actions < wanted; seed++) {
    const report = await runGateEpisode(seed);
    assert.equal(report.problems, [], `seed ${seed}`);
    sums.robots++;
    if (report.refused) sums.refused++;
    if (report.isPlain) sums.plain++;
    if (report.isPlain && !report.movedInTheEnd) sums.stuck++;
    for (const key of ['actions', 'executed', 'lies', 'impossible'] as const) sums[key] += report[key];
  }
  // the gate does not simply refuse everything
  assert.ok(sums.executed > sums.actions / 4, JSON.stringify(sums));
  assert.ok(
    sums.refused < sums.robots / 2 && sums.plain > sums.robots / 300 && sums.stuck === 0,
    JSON.stringify(sums),
  );
  assert.ok(sums.lies > sums.robots && sums.impossible > sums.robots / 10, JSON.stringify(sums));
  if (wanted > 100_000) console.log(JSON.stringify(sums));
});

test.run();
