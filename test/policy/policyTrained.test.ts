/**
 * Trained policies against the PyTorch twin, which shares no code, on observations they were not trained on. Trained weights
 * have what random ones lack: a gripper that switches, scores with a clear best patch, activations of very different sizes.
 */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { patchScores } from '../../lib/view/patchScores.ts';
import { maxAbsDifference } from '../helpers/goldenCase.ts';
import { cubes, libero, type Place, placeInGrid } from '../helpers/trained.ts';

const test = suite('trained policies');

/** As for the goldens of the authors' code (policy.test.ts); seen 6.6e-6. */
const tolerance = 5e-5;

/**
 * Images of the golden in which the best patch is elsewhere, and in which the named object's patch is not kept: as seen, and one
 * more, since equal scores may fall the other way on another processor.
 */
const amiss = { libero: { elsewhere: 1 + 1, unkept: 2 + 1 }, cubes: { elsewhere: 0, unkept: 0 } };

for (const [name, trained] of Object.entries({ libero, cubes })) {
  const { samples } = trained;
  for (const weights of ['folded', 'mapped'] as const) {
    test(`${name}, weights ${weights}: actions and kept patches of the twin, on ${samples.length} observations`, async () => {
      await using policy = await trained.open({ weights });
      for (const sample of samples) {
        const chunk = await policy.predict(await trained.observation(sample), {
          instruction: sample.instruction,
        });
        const difference = maxAbsDifference(chunk.normalized, sample.normalized.flat());
        assert.ok(
          difference <= tolerance,
          `scene ${sample.seed}: normalized actions differ by ${difference}`,
        );
        const kept = Object.entries(chunk.keptPatches).map(([camera, list]) => [camera, [...list]]);
        assert.equal(Object.fromEntries(kept), sample.kept, `scene ${sample.seed}`);
      }
      assert.is(samples.length, 50);
    });
  }

  test(`${name}: the best patch lies on what the sentence names or where it goes, and what it names is kept`, async () => {
    await using policy = await trained.open();
    const grid = policy.patchGrid;
    const elsewhere: string[] = [];
    const unkept: string[] = [];
    for (const sample of samples) {
      const { goal, instruction, seed, target } = sample;
      const observation = await trained.observation(sample);
      const { similarity, keptPatches } = await policy.predict(observation, { instruction });
      for (const [camera, place] of Object.entries(target)) {
        const scores = patchScores(similarity[camera]!, grid ** 2);
        const top = scores.indexOf(Math.max(...scores));
        // an object is as large as a patch, so its middle may lie in the next one; the basket is three wide
        const isOn = (at: Place | undefined, reach: number): boolean => {
          if (!at) return false;
          const [x, y] = placeInGrid(at, grid);
          return (
            Math.max(Math.abs((top % grid) + 0.5 - x), Math.abs(Math.floor(top / grid) + 0.5 - y)) <= reach
          );
        };
        if (!isOn(place, 1) && !isOn(goal?.[camera], 1.5)) elsewhere.push(`${seed} ${camera}`);
        if (place === null) continue;
        const [column, row] = placeInGrid(place, grid).map(Math.floor) as [number, number];
        const isSeen = Math.min(column, row) >= 0 && Math.max(column, row) < grid;
        if (isSeen && !keptPatches[camera]!.includes(row * grid + column)) unkept.push(`${seed} ${camera}`);
      }
    }
    assert.ok(elsewhere.length <= amiss[name as keyof typeof amiss].elsewhere, elsewhere.join(', '));
    assert.ok(unkept.length <= amiss[name as keyof typeof amiss].unkept, unkept.join(', '));
  });
}

test.run();
