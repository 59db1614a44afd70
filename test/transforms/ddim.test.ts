import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { cumulativeAlphas, ddimSchedule, drawnNoise } from '../../lib/transforms/ddim.ts';
import { goldenRoot } from '../helpers/golden.ts';
import { maxAbsDifference } from '../helpers/goldenCase.ts';
import { readTensors } from '../helpers/readSafetensors.ts';

const test = suite('DDIM schedule against diffusers');
const root = join(goldenRoot, 'oft-diffusion-tiny');
const golden = readTensors(join(root, 'schedule.safetensors'));
const { sets } = JSON.parse(readFileSync(join(root, 'case.json'), 'utf8')) as {
  readonly sets: Readonly<
    Record<
      string,
      {
        num_diffusion_steps_train: number;
        num_diffusion_steps_inference: number;
        timesteps: readonly number[];
      }
    >
  >;
};

for (const [
  set,
  { num_diffusion_steps_train: train, num_diffusion_steps_inference: inference, timesteps },
] of Object.entries(sets)) {
  test(set, () => {
    const width = golden.get(`${set}.time_embedding`)!.length / inference;
    const schedule = ddimSchedule({ train, inference }, width);
    assert.equal(schedule.timesteps, timesteps);
    // float32 products in another order
    assert.ok(maxAbsDifference(cumulativeAlphas(train), golden.get(`${set}.alphas_cumprod`)!) <= 1e-6);
    assert.ok(maxAbsDifference(schedule.timeEmbeddings, golden.get(`${set}.time_embedding`)!) <= 1e-5);
    const square = (at: number) =>
      Float32Array.from({ length: inference }, (_, i) => schedule.factors[4 * i + at]! ** 2);
    const before = Float32Array.from(golden.get(`${set}.alpha_prev`)!);
    assert.ok(maxAbsDifference(square(0), golden.get(`${set}.alpha`)!) <= 1e-6);
    assert.ok(maxAbsDifference(square(2), before) <= 1e-6);
    assert.ok(
      maxAbsDifference(
        square(3),
        before.map((alpha) => 1 - alpha),
      ) <= 1e-6,
    );
  });
}

test('spacing is leading, and its start is not adapted', () => {
  const times = (inference: number) => ddimSchedule({ train: 50, inference }, 8).timesteps;
  assert.equal(times(20).slice(0, 2), [38, 36]);
  assert.equal(
    times(30),
    Array.from({ length: 30 }, (_, i) => 29 - i),
  );
});

test('noise of a seed is normal and its own', () => {
  const values = drawnNoise(5, 10_000);
  assert.equal(drawnNoise(5, 10_000), values);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  // five standard errors
  assert.ok(Math.abs(mean) < 0.05 && Math.abs(variance - 1) < 0.071, `${mean}, ${variance}`);
});

test.run();
