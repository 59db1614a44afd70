/** Engines in fewer bits through the whole device path on the stand-in, beside float32 on the CPU: the trained policy, judged by the gate. */

import { mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { type Tier, tiers } from '../../lib/graph/tiers.ts';
import { inspectCheckpoint } from '../../lib/inspect/inspectCheckpoint.ts';
import { comparePrecision } from '../../lib/policy/comparePrecision.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import type { PrecisionGate } from '../../lib/policy/precisionGate.ts';
import type { PolicyOptions } from '../../lib/types.ts';
import { scratchFolder } from '../helpers/golden.ts';
import { cubes, type KnownSample } from './cases.ts';
import { longStandInTests, standIn, standInTest } from './standIn.ts';

const test = suite('tiers on the device path');
const known = cubes();

const tasksOf = (samples: readonly KnownSample[]) =>
  Promise.all(
    samples.map(async ({ observation, instruction }) => ({ observation: await observation(), instruction })),
  );

async function optionsOf(precision: Tier): Promise<PolicyOptions & { readonly precision: Tier }> {
  const cacheDir = mkdtempSync(join(scratchFolder(), `${precision}-`));
  return { backend: 'tensorrt', tensorRt: await standIn(), precision, cacheDir, onNotice: () => {} };
}

/** The language model's products: q, k and v, o, gate and up, down; q apart in the last layer. */
const products = 17;

longStandInTests(test, 'compared, kept, and said at load and by inspect', () => {
  for (const tier of tiers) {
    standInTest(test, `${tier}: compared, kept, and said at load and by inspect`, async () => {
      const dir = await known.checkpoint();
      const options = await optionsOf(tier);
      const codes = async () => {
        await using policy = await loadPolicy(dir, options);
        return policy.notices.map(({ code }) => code).filter((code) => code.startsWith('PRECISION'));
      };
      assert.equal(await codes(), ['PRECISION_NOT_COMPARED']);
      // in one of the others the gripper closes a step earlier, which is more than all else together
      const result = await comparePrecision(dir, await tasksOf(known.samples.slice(21, 24)), options);
      const { figures, layers } = result;
      console.log(
        `${tier}: ${JSON.stringify(figures)}, layers ${result.medianDecibels} ${JSON.stringify(result.worst)}`,
      );
      assert.match(result.runsOn, /stand-in/);
      assert.is(layers.length, products);
      if (tier === 'int8') assert.equal(result.failures, []);
      // it was rounded: in float32 they would be a thousand times nearer
      assert.ok(figures.meanChange > 1e-5, `${figures.meanChange}`);
      assert.equal(await codes(), result.failures.length === 0 ? [] : ['PRECISION_FAILED']);
      const kept = JSON.parse(readFileSync(result.file, 'utf8')) as PrecisionGate;
      assert.equal(kept.figures, figures);
      const { cacheDir } = options;
      const report = await inspectCheckpoint(await openCheckpoint(dir, { cacheDir: cacheDir! }), {
        cacheDir: cacheDir!,
      });
      const listed = report.precisions.find(({ gate }) => gate?.runsOn === result.runsOn);
      assert.equal([listed?.precision, listed?.gate?.failures], [tier, result.failures]);
    });
  }
});

longStandInTests(test, 'every stored observation of the trained policy, by the gate', () => {
  for (const tier of tiers) {
    standInTest(test, `${tier}: 50 observations`, async () => {
      const { figures, failures, medianDecibels, worst } = await comparePrecision(
        await known.checkpoint(),
        await tasksOf(known.samples),
        await optionsOf(tier),
      );
      console.log(
        `${tier}: ${JSON.stringify(figures)}, layers ${medianDecibels.toFixed(1)} dB, worst ${JSON.stringify(worst)}`,
      );
      const { actionCosine, meanChange, keptEqual, gripperFlips } = figures;
      assert.ok(actionCosine >= 0.995 && keptEqual! >= 0.98, `${actionCosine}, ${keptEqual}`);
      // fp8 fails its gate here: seen 0.0026, where 0.002 is allowed
      assert.ok(meanChange <= (tier === 'int8' ? 0.002 : 0.004), `${meanChange}`);
      assert.is(
        failures.some((failure) => failure.startsWith('mean change')),
        meanChange > 0.002,
      );
      // 400 values of the gripper: one on the other side of the middle is more than the limit
      assert.ok(gripperFlips! <= 2 / 400, `${gripperFlips}`);
    });
  }
});

test.run();
