/** The scenes of training/libero are LIBERO's, and a seed decides an episode: training/libero/checkScenes.py. */

import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../helpers/cli.ts';
import { testWhen } from '../helpers/skip.ts';
import { runPython } from '../serve/pythonPeers.ts';
import { python, reason, runs } from './liberoVenv.ts';

const test = suite('training/libero');

interface Checked {
  readonly steps: readonly [number, number];
  readonly success: boolean;
  readonly arm: number;
  readonly objects: number;
  readonly frames: number;
  readonly repeatable: boolean;
  readonly arena: boolean;
}

testWhen(
  runs,
  reason,
  test,
  "an episode against LIBERO's own environment, a seed twice, the arena",
  async () => {
    const output = await runPython(python, [join(root, 'training/libero/checkScenes.py')]);
    const checked = JSON.parse(/^RESULT (.*)$/m.exec(output)![1]!) as Checked;
    assert.ok(checked.success);
    assert.is(checked.steps[0], checked.steps[1]);
    // Metres and radians, after 100 steps of a solver that starts from elsewhere in each of 2500 substeps.
    assert.ok(checked.arm < 0.002 && checked.objects < 0.0005, output);
    // Grey levels; an edge may fall on another pixel.
    assert.ok(checked.frames < 0.1, output);
    assert.ok(checked.repeatable);
    assert.ok(checked.arena);
  },
);

test.run();
