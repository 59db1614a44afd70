/** The order of blocks against the reference's loop over Python ranges, and that skipped blocks change nothing. */

import * as fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  defaultExchangePairs,
  neededSteps,
  type TowerSchedule,
  towerSchedule,
} from '../../lib/checkpoint/towerSchedule.ts';

const test = suite('tower schedule');
type Pairs = readonly (readonly [number, number])[];

function config(depths: readonly [number, number], exchangePairs: Pairs, exchanges = true) {
  const [dinov2, siglip] = depths.map((depth) => ({ depth, outputBlock: exchanges ? depth - 1 : depth - 2 }));
  return { dinov2: dinov2!, siglip: siglip!, exchangePairs };
}

/** `d0 d1 s0 x0 ...`; `x0d`: an exchange that changes DINOv2 alone. */
function words({ steps }: TowerSchedule): string {
  return steps
    .map((step) => {
      if ('tower' in step) return `${step.tower[0]}${step.block}`;
      const { pair, updates } = step;
      return `x${pair}${updates.length === 2 ? '' : updates.map(([letter]) => letter).join('')}`;
    })
    .join(' ');
}

/** The outputs of both towers, each as a term of everything that it was computed from. */
function symbolic({ steps, leaves }: TowerSchedule): string[] {
  const state = { dinov2: 'd', siglip: 's' };
  const out: Record<string, string> = {};
  for (const [at, step] of steps.entries()) {
    if ('tower' in step) state[step.tower] = `b${step.block}(${state[step.tower]})`;
    else {
      const z = `${state.dinov2},${state.siglip}`;
      for (const tower of step.updates) state[tower] = `x${step.pair}(${state[tower]}|${z})`;
    }
    for (const tower of ['dinov2', 'siglip'] as const) if (leaves[tower] === at) out[tower] = state[tower];
  }
  return [out.dinov2!, out.siglip!];
}

test('no exchange: up to the second-to-last block; ascending pairs; the last blocks', () => {
  assert.is(words(neededSteps(towerSchedule(config([3, 4], [], false)))), 'd0 d1 s0 s1 s2');
  const ascending = towerSchedule(
    config(
      [3, 4],
      [
        [0, 1],
        [2, 3],
      ],
    ),
  );
  assert.is(words(ascending), 'd0 s0 s1 x0 d1 d2 s2 s3 x1');
  assert.equal(neededSteps(ascending), ascending);
  assert.is(words(neededSteps(towerSchedule(config([2, 2], [])))), 'd0 d1 s0 s1');
});

test("the reference's default: two exchanges after block 1, the last block, then all of them", () => {
  const schedule = towerSchedule(config([4, 3], defaultExchangePairs));
  assert.is(words(schedule), 'd0 d1 s0 s1 x0 x1 d3 d0 d1 d2 d3 s2 s0 s1 s2');
  assert.equal(neededSteps(schedule), schedule);
});

test('a pair that repeats a block, or ends in the last one, exchanges again', () => {
  assert.is(
    words(
      towerSchedule(
        config(
          [2, 3],
          [
            [0, 0],
            [0, 2],
          ],
        ),
      ),
    ),
    'd0 s0 x0 s1 s2 x1 d1',
  );
  // the tokens of both come from the first time the last blocks run; anything after that is left out
  const back = towerSchedule(
    config(
      [2, 2],
      [
        [1, 1],
        [-2, -2],
        [1, 1],
      ],
    ),
  );
  assert.is(words(back), 'd0 d1 s0 s1 x0 x1 d1 d0 d1 s1 s0 s1 x2');
  assert.is(words(neededSteps(back)), 'd0 d1 s0 s1 x0 x1');
});

const block = fc.integer({ min: -6, max: 6 });
const lists = fc.record({
  depths: fc.tuple(fc.integer({ min: 2, max: 5 }), fc.integer({ min: 2, max: 5 })),
  pairs: fc.array(fc.tuple(block, block), { maxLength: 4 }),
});

test('property: leaving out what nothing reads changes no term; blocks that are not there are refused', () => {
  let refused = 0;
  fc.assert(
    fc.property(lists, ({ depths, pairs }) => {
      let schedule: TowerSchedule;
      try {
        schedule = towerSchedule(config(depths, pairs));
      } catch (error) {
        assert.instance(error, RangeError);
        refused += 1;
        return;
      }
      const needed = neededSteps(schedule);
      assert.equal(symbolic(needed), symbolic(schedule));
      assert.ok(needed.steps.length <= schedule.steps.length);
    }),
    { numRuns: 400 },
  );
  assert.ok(refused > 20 && refused < 380, `${refused} refused`);
});

test.run();
