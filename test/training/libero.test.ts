/**
 * The scenes of training/libero are LIBERO's, and a seed decides an episode: training/libero/checkScenes.py. What is kept
 * from training is kept.
 */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../helpers/cli.ts';
import { scratchFolder } from '../helpers/golden.ts';
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

testWhen(
  runs,
  reason,
  test,
  "LIBERO-Spatial: the demonstrator takes the bowl out of the drawer, and the other one where a sentence names it, by LIBERO's check",
  async () => {
    const results = join(mkdtempSync(join(scratchFolder(), 'spatial-')), 'results.jsonl');
    const evaluate = (...args: string[]) =>
      runPython(python, [
        join(root, 'training/libero/evaluateSuite.py'),
        ...[results, '--suite', 'libero_spatial', '--policy', 'demonstrator', ...args],
      ]);
    await evaluate('--tasks', '4', '--episodes', '2');
    await evaluate('--tasks', '4', '--episodes', '1', '--scenes', 'others');
    await evaluate('--tasks', '0', '--episodes', '1', '--scenes', 'others');
    const ended = readFileSync(results, 'utf8')
      .trim()
      .split('\n')
      .map(
        (line) => JSON.parse(line) as { named: string; inside: string; success: boolean; skipped?: string },
      );
    assert.equal(
      ended.map(({ named }) => named),
      [
        ...Array<string>(2).fill('black bowl in the top drawer of the wooden cabinet'),
        'black bowl on the wooden cabinet',
        null, // both stand next to the ramekin, one of them between it and the plate
      ],
    );
    for (const { success, inside, named, skipped } of ended) {
      if (skipped === undefined) assert.ok(success && inside === named);
    }
  },
);

test.run();
