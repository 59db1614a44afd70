/**
 * Every policy whose answers are known through the whole TensorRT path: the authors' goldens, the variants, the trained policy.
 */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { goldens, type KnownPolicy, shipped, variants } from './cases.ts';
import { keptOf, largestDifference, openOnStandIn, predictSample } from './compare.ts';
import { longStandInTests, standInTest } from './standIn.ts';

const test = suite('every known policy on the device path');

const baked = ['libero-tiny', 'offgrid-tiny', 'both-samplers', 'the shipped policy'];

interface HalfDifference {
  /** Samples that keep the patches of float32: others give other actions. */
  readonly equal: number;
  /** Of their actions, ascending. */
  readonly differences: readonly number[];
}

async function halfDifference(known: KnownPolicy): Promise<HalfDifference> {
  await using policy = await openOnStandIn(known, { precision: 'bfloat16' });
  const differences: number[] = [];
  let equal = 0;
  for (const sample of known.samples) {
    const chunk = await predictSample(policy, sample);
    assert.is(chunk.normalized.length, sample.actions.length);
    if (JSON.stringify(keptOf(chunk)) !== JSON.stringify(sample.kept)) continue;
    equal += 1;
    chunk.normalized.forEach((value, i) => {
      differences.push(Math.abs(value - sample.actions[i]!));
    });
  }
  return { equal, differences: differences.sort((a, b) => a - b) };
}

function sweep(known: KnownPolicy): void {
  const count = known.samples.length;
  standInTest(test, `${known.name}, float32: ${count} samples`, async () => {
    await using policy = await openOnStandIn(known);
    const difference = await largestDifference(policy, known.samples);
    console.log(`${known.name}, float32: ${count} samples within ${difference.toExponential(1)}`);
    assert.ok(difference <= known.tolerance, `normalized actions differ by ${difference}`);
  });

  // baking is the same for all: those that differ in where their weights come from
  if (baked.includes(known.name)) {
    standInTest(test, `${known.name}, baked weights, float32`, async () => {
      await using policy = await openOnStandIn(known, { weights: 'baked' });
      const difference = await largestDifference(policy, known.samples.slice(0, 4));
      assert.ok(difference <= known.tolerance, `normalized actions differ by ${difference}`);
    });
  }

  if (known.bfloat16 === null) {
    standInTest(test, `${known.name}, bfloat16: three bins of four are those of float32`, async () => {
      await using policy = await openOnStandIn(known, { precision: 'bfloat16' });
      for (const sample of known.samples) {
        const { normalized } = await predictSample(policy, sample);
        const same = normalized.filter((value, i) => Math.abs(value - sample.actions[i]!) <= known.tolerance);
        console.log(`${known.name}, bfloat16: ${same.length} of ${normalized.length} bins`);
        assert.ok(same.length >= 0.75 * normalized.length, `${same.length} of ${normalized.length}`);
      }
    });
    return;
  }
  const allowed = known.bfloat16;
  standInTest(test, `${known.name}, bfloat16: within ${allowed.toFixed(3)}`, async () => {
    const { equal, differences } = await halfDifference(known);
    assert.ok(equal > 0, 'no sample keeps the patches of float32');
    const most = differences[differences.length - 1 - Math.floor(differences.length * known.switching)]!;
    console.log(
      `${known.name}, bfloat16: ${equal} of ${count} keep float32's patches, within ${most.toFixed(4)}, ${differences.at(-1)!.toFixed(4)} at most`,
    );
    assert.ok(most <= allowed, `normalized actions differ by ${most}`);
    // it was rounded: in float32 they would be hundreds of times nearer
    assert.ok(most > 20 * known.tolerance, `normalized actions differ by ${most} only`);
  });
}

longStandInTests(test, 'goldens, variants and the trained policy', () => {
  [...goldens(), ...variants(), shipped()].forEach(sweep);
});

test.run();
