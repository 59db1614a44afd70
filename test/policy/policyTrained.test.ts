/**
 * The trained policy against the PyTorch twin, which shares no code, on observations it was not trained on. Trained weights
 * have what random ones lack: a gripper that switches, scores with a clear best patch, activations of very different sizes.
 */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { patchScores } from '../../lib/view/patchScores.ts';
import { cubesObservation, cubesSamples, openCubes, placeInGrid } from '../helpers/cubes.ts';
import { maxAbsDifference } from '../helpers/goldenCase.ts';

const test = suite('the trained policy');

/** As for the goldens of the authors' code (policy.test.ts); seen 6.6e-6. */
const tolerance = 5e-5;
const samples = cubesSamples();

for (const weights of ['folded', 'mapped'] as const) {
  test(`weights ${weights}: actions and kept patches of the twin, on ${samples.length} observations`, async () => {
    await using policy = await openCubes({ weights });
    for (const sample of samples) {
      const chunk = await policy.predict(await cubesObservation(sample), { instruction: sample.instruction });
      const difference = maxAbsDifference(chunk.normalized, sample.normalized.flat());
      assert.ok(difference <= tolerance, `scene ${sample.seed}: normalized actions differ by ${difference}`);
      const kept = Object.entries(chunk.keptPatches).map(([camera, list]) => [camera, [...list]]);
      assert.equal(Object.fromEntries(kept), sample.kept, `scene ${sample.seed}`);
    }
    assert.is(samples.length, 50);
  });
}

test('the patch that is nearest to the sentence lies on the cube that it names', async () => {
  await using policy = await openCubes();
  const grid = policy.patchGrid;
  let looked = 0;
  for (const sample of samples) {
    const chunk = await policy.predict(await cubesObservation(sample), { instruction: sample.instruction });
    for (const [camera, target] of Object.entries(sample.target)) {
      assert.ok(target !== null, `scene ${sample.seed}: the ${camera} sees the cube`);
      const [x, y] = placeInGrid(target, grid);
      const scores = patchScores(chunk.similarity[camera]!, grid ** 2);
      const top = scores.indexOf(Math.max(...scores));
      // the cube is as large as a patch or larger, so its middle may lie in the next one
      const away = Math.max(Math.abs((top % grid) + 0.5 - x), Math.abs(Math.floor(top / grid) + 0.5 - y));
      assert.ok(away <= 1, `scene ${sample.seed}, ${camera}: ${away} patches away`);
      looked++;
    }
  }
  assert.is(looked, 100);
});

test.run();
