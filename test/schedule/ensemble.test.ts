/** Temporal ensembling and re-anchoring against independent references: other data structures, other formulas. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type ActionSpace, wrapped } from '../../lib/schedule/actionSpace.ts';
import { mix } from '../../lib/schedule/mixing.ts';
import { overlapBlend } from '../../lib/schedule/overlapBlend.ts';
import { temporalEnsemble } from '../../lib/schedule/temporalEnsemble.ts';
import { Random } from '../../lib/support/random.ts';
import { bench, step } from './helpers.ts';

const test = suite('ensemble');
/** Sums of 20 values of size 1 differ by 1e-15 in float64. */
const tolerance = 1e-6;

const space: ActionSpace = {
  name: 'three',
  dimensions: ['a', 'b', 'c'].map((name) => ({ name, kind: 'position', unit: 'm' })),
};

/**
 * ACT's evaluation loop as in the paper's code: a table [time asked, time meant, dimension], of which one column is read per
 * tick. A second table says which cells were written, where that code looks for nonzero values.
 */
function actReference(chunks: readonly (readonly (readonly number[])[])[], m: number): number[][] {
  const ticks = chunks.length;
  const horizon = chunks[0]!.length;
  const table: (readonly number[] | undefined)[][] = Array.from({ length: ticks }, () =>
    Array(ticks + horizon),
  );
  return chunks.map((chunk, t) => {
    chunk.forEach((row, r) => {
      table[t]![t + r] = row;
    });
    const column = table.map((asked) => asked[t]).filter((row) => row !== undefined);
    const weights = column.map((_, i) => Math.exp(-m * i));
    const total = weights.reduce((a, b) => a + b);
    return [0, 1, 2].map((d) => column.reduce((sum, row, i) => sum + (weights[i]! / total) * row[d]!, 0));
  });
}

async function ensemble(
  chunks: readonly (readonly (readonly number[])[])[],
  m: number | undefined,
): Promise<number[][]> {
  const { clock, policy } = bench(
    ['a', 'b', 'c'],
    ({ index }) => chunks[index]!,
    'constant(0)',
    chunks[0]!.length,
  );
  const scheduler = temporalEnsemble(policy, { space, clock, ...(m === undefined ? {} : { m }) });
  const out: number[][] = [];
  for (const _ of chunks) {
    const asked = scheduler.predict({ images: {} }, { instruction: 'go' });
    await clock.runUntil(clock.now() + 1);
    out.push([...(await asked).actions]);
    await clock.runUntil(clock.now() + 10);
  }
  return out;
}

test('ACT: every tick asked and answered', async () => {
  const random = new Random(3);
  const chunks = Array.from({ length: 60 }, () =>
    Array.from({ length: 20 }, () => [0, 1, 2].map(() => random.between(-1, 1))),
  );
  for (const m of [undefined, 0.01, 0.1, 0, -0.2]) {
    const ours = await ensembleEveryTick(chunks, m);
    const reference = actReference(chunks, m ?? 0.01);
    ours.forEach((row, t) => {
      row.forEach((value, d) => {
        assert.ok(
          Math.abs(value - reference[t]![d]!) <= tolerance,
          `m ${m}, tick ${t}: ${value}, ${reference[t]![d]}`,
        );
      });
    });
  }
});

/** The answer comes before the tick that asked ends, as in an evaluation loop. */
async function ensembleEveryTick(
  chunks: readonly (readonly (readonly number[])[])[],
  m: number | undefined,
): Promise<number[][]> {
  const { clock, policy } = bench(
    ['a', 'b', 'c'],
    ({ index }) => chunks[index]!,
    'constant(1)',
    chunks[0]!.length,
  );
  const scheduler = temporalEnsemble(policy, { space, clock, ...(m === undefined ? {} : { m }) });
  const out: number[][] = [];
  for (const _ of chunks) {
    step(scheduler, clock, { leaves: false });
    await clock.runUntil(clock.now() + 2);
    out.push([...step(scheduler, clock, { observation: null })!.values]);
    await clock.runUntil(clock.now() + 10);
  }
  return out;
}

test('rows of zeros are rows', async () => {
  const zeros = Array.from({ length: 4 }, () => [0, 0, 0]);
  const ones = Array.from({ length: 4 }, () => [1, 1, 1]);
  const out = await ensembleEveryTick([zeros, ones], 0);
  assert.equal(out[1], [0.5, 0.5, 0.5]);
});

test('predict: the first call waits, later ones mix what has come', async () => {
  const chunks = Array.from({ length: 3 }, (_, k) => Array.from({ length: 4 }, () => [k, k, k]));
  const out = await ensemble(chunks, 0);
  assert.equal(out[0], [0, 0, 0]);
  assert.ok(out[2]![0]! > 0 && out[2]![0]! < 2);
});

const deltas: ActionSpace = { name: 'delta', dimensions: [{ name: 'd', kind: 'delta', unit: 'm' }] };

test('deltas are averaged as places: absolute plans, blended and differenced', async () => {
  const random = new Random(11);
  const rows = Array.from({ length: 40 }, () => Array.from({ length: 8 }, () => [random.between(-1, 1)]));
  const { clock, policy } = bench(['d'], ({ index }) => rows[index]!, 'constant(25)', 8);
  const scheduler = overlapBlend(policy, { space: deltas, clock, rule: 'average', threshold: 0.9 });
  // the reference keeps absolute places: where the robot is, and where each plan has it after each executed action
  let pose = 0;
  const plans: { asked: number; places: number[]; landed: number }[] = [];
  let known = 0;
  let executed = 0;
  for (let t = 0; t < 60; t++) {
    const requests = scheduler.counters.requests;
    const chunks = scheduler.counters.chunks;
    const action = step(scheduler, clock);
    if (scheduler.counters.chunks > chunks) plans[known++]!.landed = t;
    if (scheduler.counters.requests > requests) {
      let place = pose;
      const places = rows[plans.length]!.map(([d]) => (place += d!));
      plans.push({ asked: executed, places, landed: Number.POSITIVE_INFINITY });
    }
    if (action !== null) {
      let target: number | null = null;
      for (const { asked, places, landed } of plans) {
        const mine = landed <= t ? places[executed - asked] : undefined;
        if (mine !== undefined) target = target === null ? mine : (target + mine) / 2;
      }
      assert.ok(Math.abs(pose + action.values[0]! - target!) < 1e-9, `tick ${t}`);
      pose += action.values[0]!;
      executed++;
    }
    await clock.runUntil(clock.now() + 10);
  }
  assert.ok(executed > 50 && known > 5);
});

test('angles go the short way round, in the range they are written in', () => {
  const angle: ActionSpace = {
    name: 'angle',
    dimensions: [{ name: 'a', kind: 'angle', unit: 'deg', period: 360, range: [0, 360] }],
  };
  const share = (value: number, weight: number) => ({ row: [value], anchored: [value], weight });
  assert.ok(Math.abs(wrapped(mix(angle, [share(350, 0.5), share(20, 0.5)], null)[0]! - 5, 360)) < 1e-9);
  assert.ok(Math.abs(mix(angle, [share(10, 0.5), share(340, 0.5)], null)[0]! - 355) < 1e-9);
  assert.is(mix(angle, [share(123, 1)], null)[0], 123);
});

test('grippers are decided: newest or majority, and they do not flicker', () => {
  const gripper = (decides: 'newest' | 'majority'): ActionSpace => ({
    name: 'grip',
    dimensions: [{ name: 'g', kind: 'binaryGripper', unit: '1', range: [-1, 1], decides }],
  });
  const all = (...values: number[]) =>
    values.map((value) => ({ row: [value], anchored: [value], weight: 1 / values.length }));
  assert.is(mix(gripper('newest'), all(-1, -1, 0.9), null)[0], 1);
  assert.is(mix(gripper('majority'), all(-1, -1, 0.9), null)[0], -1);
  assert.is(mix(gripper('majority'), all(-1, 1), [1])[0], 1, 'a tie changes nothing');
  // the band is a tenth of the range to either side of the middle: 0.2
  for (const value of [0.19, -0.19]) {
    assert.is(mix(gripper('newest'), all(value), [1])[0], 1);
    assert.is(mix(gripper('newest'), all(value), [-1])[0], -1);
  }
  assert.is(mix(gripper('newest'), all(0.21), [-1])[0], 1);
  assert.is(mix(gripper('newest'), all(-0.21), [1])[0], -1);
  const width: ActionSpace = { name: 'width', dimensions: [{ name: 'w', kind: 'gripper', unit: 'm' }] };
  assert.is(mix(width, all(0, 0, 0.04), null)[0], 0.04);
});

test.run();
