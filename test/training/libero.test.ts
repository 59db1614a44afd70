/**
 * The scenes of training/libero are LIBERO's, and a seed decides an episode: training/libero/checkScenes.py. The suites are
 * driven as their sentences say: training/libero/checkSuites.py. What is kept from training is kept.
 */

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../helpers/cli.ts';
import { testWhen } from '../helpers/skip.ts';
import { runPython } from '../serve/pythonPeers.ts';
import { python, reason, runs } from './liberoVenv.ts';

const test = suite('training/libero');

interface OfTask {
  readonly steps: readonly [number, number];
  readonly success: boolean;
  readonly arm: number;
  readonly objects: number;
  readonly frames: number;
  readonly repeatable: boolean;
  readonly arena: boolean;
}

interface Checked {
  readonly tasks: Readonly<Record<string, OfTask>>;
  readonly named: readonly [number, number];
}

interface Words {
  readonly train: readonly string[];
  readonly test: readonly string[];
  readonly official: readonly string[];
  readonly heldOut: readonly string[];
  readonly names: readonly string[];
  readonly whole: boolean;
}

function wordsOf(module: string): Words {
  const program = `
import json, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import ${module} as said
words = said.WORDS
def others(split): return [one for name in words.names for one in words.naming(name, split)["other"]]
every = {*others("train"), *others("test"), *map(words.say, words.names)}
print(json.dumps({"train": others("train"), "test": others("test"), "official": [*map(words.say, words.names)],
    "heldOut": said.HELD_OUT, "names": words.names, "whole": set(said.sentences()) == every}))`;
  const { status, stdout, stderr } = spawnSync('python3', ['-c', program, join(root, 'training/libero')], {
    encoding: 'utf8',
  });
  assert.is(status, 0, stderr);
  return JSON.parse(stdout) as Words;
}

const wordsIn = (sentences: readonly string[]): Set<string> =>
  new Set(sentences.flatMap((sentence) => sentence.split(' ')));

for (const module of ['sentences', 'spatialSentences']) {
  test(`${module}: sentences to test with are new, of words that were trained`, () => {
    const said = wordsOf(module);
    const trained = new Set([...said.train, ...said.official]);
    assert.ok(said.whole);
    assert.is(said.official.length, 10);
    assert.ok(said.test.length >= 30);
    assert.equal(
      said.test.filter((sentence) => trained.has(sentence)),
      [],
    );
    const known = wordsIn([...trained]);
    assert.equal(
      [...wordsIn(said.test)].filter((word) => !known.has(word)),
      [],
    );
    assert.is(new Set(said.heldOut).size, 10, 'each is held out once');
  });
}

test('relations that are kept apart in training are kept apart both ways, and have a sentence each', () => {
  const { names, heldOut } = wordsOf('spatialSentences');
  const relations = names.map((name) => name.replace('black bowl ', ''));
  for (const [task, other] of heldOut.entries())
    assert.is(heldOut[relations.indexOf(other)], relations[task]);
});

testWhen(
  runs,
  reason,
  test,
  "both suites: an episode against LIBERO's own environment, a seed twice, the arena; Spatial's bowls are named as in its sentences",
  async () => {
    const output = await runPython(python, [join(root, 'training/libero/checkScenes.py')]);
    const checked = JSON.parse(/^RESULT (.*)$/m.exec(output)![1]!) as Checked;
    assert.equal(Object.keys(checked.tasks), ['libero', 'libero-spatial']);
    for (const task of Object.values(checked.tasks)) {
      assert.ok(task.success);
      assert.is(task.steps[0], task.steps[1]);
      // Metres and radians, after 100 steps of a solver that starts from elsewhere in each of 2500 substeps.
      assert.ok(task.arm < 0.002 && task.objects < 0.0005, output);
      // Grey levels; an edge may fall on another pixel.
      assert.ok(task.frames < 0.1, output);
      assert.ok(task.repeatable);
      assert.ok(task.arena);
    }
    assert.equal(checked.named, [20, 20]);
  },
);

interface Ended {
  readonly named: string | null;
  readonly sentence?: string;
  readonly success?: boolean;
  readonly steps?: number;
  readonly inside?: string | null;
  readonly skipped?: string;
}

testWhen(
  runs,
  reason,
  test,
  "LIBERO-Spatial and LIBERO-PRO's suites: the named bowl or object arrives by LIBERO's check, with the suite's sentence; what there is not is refused",
  async () => {
    const output = await runPython(python, [join(root, 'training/libero/checkSuites.py')]);
    const { driven, refused } = JSON.parse(/^RESULT (.*)$/m.exec(output)![1]!) as {
      driven: Record<string, Ended[]>;
      refused: string[];
    };
    assert.match(refused[0]!, /--suite: expected one of .*libero_spatial_swap.*, found libero_goal$/);
    for (const [index, suite] of ['swap', 'lan'].entries())
      assert.match(refused[index + 1]!, new RegExp(`expected --suite libero_spatial, found .*_${suite}$`));

    const place = (bowl: string) => `pick up the black bowl ${bowl} and place it on the plate`;
    const arrived = (named: string, sentence: string) => ({ named, sentence, success: true, inside: named });
    const [drawer, cabinet] = ['in the top drawer of the wooden cabinet', 'on the wooden cabinet'];
    const nobody = { named: null, skipped: 'no sentence names another object alone' };
    const expected: Record<string, Partial<Ended>[]> = {
      'libero_spatial 4': [
        ...Array<Partial<Ended>>(2).fill(arrived(`black bowl ${drawer}`, place(drawer))),
        arrived(`black bowl ${cabinet}`, place(cabinet)),
      ],
      // its plate and cookie box have changed places, and the sentence is no longer true
      'libero_spatial_swap 0': [
        arrived('black bowl next to the cookie box', place('between the plate and the ramekin')),
      ],
      'libero_spatial_task 0': [
        // no relation tells it from the other bowl, so that its name is the file's; played blindly, it may not arrive
        {
          named: 'akita_black_bowl_2',
          sentence:
            'pick the akita black bowl not between the plate and the ramekin and place it on the plate',
        },
        {
          named: 'black bowl between the plate and the ramekin',
          sentence: place('between the plate and the ramekin'),
        },
      ],
      'libero_spatial_lan 0': [
        arrived(
          'black bowl between the plate and the ramekin',
          'lift the black bowl between the plate and ramekin and set it on the plate',
        ),
        nobody, // both stand next to the ramekin, one of them between it and the plate
      ],
      'libero_object_task 1': [
        arrived('alphabet soup', 'pick the alphabet soup and place it in the basket'),
        arrived('alphabet soup', 'pick the alphabet soup and place it in the basket'),
      ],
    };
    assert.equal(Object.keys(driven), Object.keys(expected));
    for (const [where, episodes] of Object.entries(expected)) {
      const found = driven[where]!;
      assert.is(found.length, episodes.length, where);
      for (const [index, told] of episodes.entries())
        assert.equal({ ...found[index], ...told }, found[index], `${where}, ${index}`);
    }
  },
);

test.run();
