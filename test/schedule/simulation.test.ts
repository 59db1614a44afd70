/** Random episodes in virtual time through every scheduler (more with SEMANTICVLA_LONG_TESTS=1; the full run is `npm run simulate`). */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ActionScheduler } from '../../lib/schedule/scheduler.ts';
import { makers, runEpisode } from './episode.ts';

const test = suite('simulation');
/** The blend rules differ in a single number, so one of them stands for all. */
const few = 100;
const many = process.env.SEMANTICVLA_LONG_TESTS === '1' ? 1000 : 250;

for (const mode of Object.keys(makers)) {
  const episodes = mode.startsWith('overlapBlend') && mode !== 'overlapBlend linear' ? few : many;
  test(`${mode}: nothing leaves that must not, rows are counted exactly`, async () => {
    const sums = { executed: 0, held: 0, droppedRows: 0, superseded: 0, abandoned: 0, limited: 0 };
    for (let seed = 1; seed <= episodes; seed++) {
      const report = await runEpisode(mode, seed);
      assert.equal(report.problems, [], `npm run simulate -- --mode "${mode}" --seed ${seed} --episodes 1`);
      for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += report[key];
    }
    // the episodes are not idyllic: everything that has to be survived did happen
    for (const [what, count] of Object.entries(sums)) assert.ok(count > episodes / 4, `${what}: ${count}`);
  });
}

test('one seed is one story', async () => {
  assert.equal(await runEpisode('asynchronous', 42), await runEpisode('asynchronous', 42));
});

test('the wall clock may jump', async () => {
  const calm = await runEpisode('asynchronous', 7);
  const { now } = Date;
  let jumps = 0;
  Date.now = () => now() + (jumps++ % 2 === 0 ? 3_600_000 : -3_600_000);
  try {
    assert.equal(await runEpisode('asynchronous', 7), calm);
  } finally {
    Date.now = now;
  }
});

/** A scheduler whose every proposal is changed. */
function tampered(
  change: (values: Float64Array) => Float64Array,
): (scheduler: ActionScheduler) => ActionScheduler {
  return (scheduler) =>
    new Proxy(scheduler, {
      get(target, key) {
        if (key === 'tick') {
          return (...args: Parameters<ActionScheduler['tick']>) => {
            const action = target.tick(...args);
            return action === null ? null : { ...action, values: change(action.values) };
          };
        }
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
}

test('a scheduler that is a row off is noticed', async () => {
  const wrong = await runEpisode(
    'asynchronous',
    1,
    tampered((values) => values.map((v, d) => (d === 0 ? v + 1 : v))),
  );
  assert.match(wrong.problems.join(), /got a row meant for/);
});

test('the loop lets nothing through that is not finite, whatever the scheduler proposes', async () => {
  const wrong = await runEpisode(
    'asynchronous',
    1,
    tampered((values) => values.fill(Number.NaN)),
  );
  assert.is(wrong.executed, 0);
  assert.match(wrong.problems.join(), /proposed \d+ actions: notFinite/);
  assert.not.match(wrong.problems.join(), /not finite: /);
});

test.run();
