/** Whole datasets against an invented policy: figures by row, pairs of policies, results that go on where they stopped. */

import { appendFileSync, cpSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openDataset } from '../../lib/dataset/openDataset.ts';
import { actionErrors } from '../../lib/evaluate/actionErrors.ts';
import {
  type EvaluateDatasetOptions,
  evaluateDataset,
  type Source,
} from '../../lib/evaluate/evaluateDataset.ts';
import type { Evaluation } from '../../lib/evaluate/evaluation.ts';
import { evaluationPage } from '../../lib/evaluate/page/evaluationPage.ts';
import { pairedChanges } from '../../lib/evaluate/pairedChanges.ts';
import { ResultsFile } from '../../lib/evaluate/resultsFile.ts';
import type { SemanticVlaError } from '../../lib/support/errors.ts';
import type { ActionChunk, Policy } from '../../lib/types.ts';
import { recorded, reference } from '../dataset/recorded.ts';
import { goldenRoot, scratchFolder } from '../helpers/golden.ts';

const test = suite('evaluate datasets');
const dimensions = ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper'];
const images = join(recorded, 'lerobot-v3.0-images');

/** Three rows: `off` beside the state's first seven numbers; the third row twice as far; keeps one patch, or another. */
function madeUp(off: number, patch = 3) {
  const asked: number[] = [];
  const policy = {
    platform: {
      name: 'libero',
      cameras: ['full_image', 'wrist_image'],
      proprio: true,
      centerCrop: true,
      jpeg: true,
      chunk: 3,
      normalization: 'q99',
    },
    variant: 'SemanticVLA',
    imageSize: 56,
    patchGrid: 4,
    dimensions,
    stateSize: 8,
    notices: [],
    predict: async ({ state }, { instruction, signal }): Promise<ActionChunk> => {
      signal?.throwIfAborted();
      asked.push(state![0]!);
      const rows = [1, 1, 2].flatMap((times) => dimensions.map((_, d) => state![d]! + times * off));
      return {
        actions: Float64Array.from(rows),
        normalized: Float32Array.from(rows),
        shape: [3, 7],
        dimensions,
        keptPatches: { full_image: Int32Array.of(patch, 9), wrist_image: Int32Array.of(5) },
        similarity: { full_image: new Float32Array(1e6) },
        timings: { total: 5 },
        instruction,
        unnormKey: 'k',
      };
    },
  } as Partial<Policy> as Policy;
  return { policy, asked };
}

const everything = async (policy: Policy, options: EvaluateDatasetOptions = {}, path = images) => {
  const dataset = await openDataset(path);
  return evaluateDataset(policy, { dataset, numbers: dataset.numbers }, options);
};

const refusal = async (work: Promise<unknown>): Promise<SemanticVlaError> =>
  work.then(
    () => assert.unreachable() as never,
    (error: unknown) => error as SemanticVlaError,
  );

test('errors by row, in both units; similarities are not kept', async () => {
  const { policy, asked } = madeUp(0);
  const results = await everything(policy);
  assert.is(asked.length, 11);
  assert.not.ok('similarity' in results[0]!.predictions[0]!.chunk);
  // what the invented policy does, computed from the reference
  const rows: number[][] = [[], [], []];
  for (const { states, actions } of reference['lerobot-v3.0-images']!) {
    for (const [step, state] of states.entries()) {
      for (let row = 0; row < 3 && step + row < actions.length; row++)
        for (let d = 0; d < 7; d++) rows[row]!.push(Math.abs(state[d]! - actions[step + row]![d]!));
    }
  }
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  const near = (a: number, b: number): void => assert.ok(Math.abs(a - b) < 1e-12, `${a} is not ${b}`);
  const perUnit = dimensions.map(() => 2);
  const { horizon, mean: all, normalized, compared } = actionErrors(results, perUnit)!;
  assert.is(compared, 11 + 9 + 7);
  assert.equal(
    horizon.map((one) => one.compared),
    [11, 9, 7],
  );
  for (const [row, one] of horizon.entries()) {
    near(one.mean, mean(rows[row]!));
    near(one.normalized!, 2 * mean(rows[row]!));
  }
  near(all, mean(rows.flat()));
  near(normalized!, 2 * all);
  assert.is(actionErrors(results)!.normalized, null);
});

test('two policies on the same observations', async () => {
  const one = madeUp(0);
  const two = madeUp(-0.02, 4);
  const { variant, platform, imageSize, patchGrid } = one.policy;
  const facts = { variant, platform, imageSize, patchGrid, dimensions };
  const evaluations: Evaluation[] = [
    { name: 'one', policy: facts, results: await everything(one.policy) },
    { name: 'two', policy: facts, results: await everything(two.policy) },
    { name: 'again', policy: facts, results: await everything(one.policy) },
  ];
  const [changed, same] = pairedChanges(evaluations);
  assert.is(changed!.chunks, 11);
  // 0.02, 0.02 and 0.04 by row; float32 of the actions' size, up to 3, is within 2e-7 of that
  assert.ok(Math.abs(changed!.mean - 0.08 / 3) < 1e-6);
  assert.ok(Math.abs(changed!.max - 0.04) < 1e-6);
  assert.equal(changed!.sameKept, { count: 11, of: 22 });
  assert.equal(changed!.sharedPatches, { count: 22, of: 33 });
  // the demonstrator's gripper is -1 or 1; state[6] is 0.0193 to 0.0394, twice below 0.02, never above 0.04
  assert.equal(changed!.gripperFlips, { count: 2 + 2 + 11, of: 33 });
  assert.equal([same!.mean, same!.max, same!.gripperFlips!.count, same!.sameKept!.count], [0, 0, 0, 22]);
  assert.equal(pairedChanges(evaluations.slice(0, 1)), []);
  const html = await evaluationPage(evaluations, { title: 'three' });
  assert.match(html, /Change from one, on the same observations/);
  assert.match(html, /11 of 22 \(50.%\)/);
  assert.match(html, /id="horizon"/);
  assert.not.match(html, /<script|NaN/);
});

test('results go on where they stopped', async () => {
  const path = join(mkdtempSync(join(scratchFolder(), 'results-')), 'results.jsonl');
  const whole = await everything(madeUp(0.5).policy);
  const run = async (signal?: AbortSignal, stop?: (count: number) => void, facts = { policy: 'a' }) => {
    const { policy, asked } = madeUp(0.5);
    const file = await ResultsFile.open(path);
    const key = file.key(facts);
    try {
      const results = await everything(policy, {
        ...(signal === undefined ? {} : { signal }),
        known: (number) => file.known(key, number, dimensions),
        onPrediction: (number, prediction) => {
          file.add(key, number, prediction);
          stop?.(asked.length);
        },
        afterEpisode: () => file.flush(),
      });
      return { results, asked: asked.length };
    } finally {
      await file.close();
    }
  };
  const controller = new AbortController();
  const stopped = await run(controller.signal, (count) => count === 7 && controller.abort()).catch(
    (error: unknown) => error,
  );
  assert.is((stopped as Error).name, 'AbortError');
  // as after a power cut
  appendFileSync(path, '{"key":"a","episo');
  const later = await run();
  assert.is(later.asked, 4);
  const bare = (results: typeof whole) =>
    results.map(({ instruction, predictions }) => ({ instruction, predictions }));
  assert.equal(bare(later.results), bare(whole));
  assert.is((await run()).asked, 0);
  // the head, what the key stands for, 11 predictions; then another policy's
  assert.is(readFileSync(path, 'utf8').trimEnd().split('\n').length, 13);
  assert.is((await run(undefined, undefined, { policy: 'b' })).asked, 11);

  appendFileSync(path, 'something else\n');
  const damaged = await refusal(ResultsFile.open(path));
  assert.is(damaged.code, 'RESULTS_INVALID');
  assert.match(damaged.message, /results\.jsonl, line 26: expected a prediction/);
  const other = join(path, '../notes.txt');
  writeFileSync(other, 'my notes\n');
  assert.is((await refusal(ResultsFile.open(other))).code, 'RESULTS_INVALID');
  assert.is(readFileSync(other, 'utf8'), 'my notes\n');
  assert.is((await refusal(ResultsFile.open('/nowhere/results.jsonl'))).code, 'OUTPUT_UNWRITABLE');
});

test('a gripper counted in another way is asked about', async () => {
  const { policy, asked } = madeUp(0);
  const units = { perUnit: dimensions.map(() => 1), low: [-1, -1, -1, -1, -1, -1, 0] };
  // as LIBERO's simulator counts, in a dataset that does not say so
  const path = join(recorded, 'cubes_no_noops');
  const dataset = { ...(await openDataset(path)), usual: undefined as never };
  const source = { dataset, numbers: [0] };
  const error = await refusal(evaluateDataset(policy, source, { units }));
  assert.is(error.code, 'OPTION_REQUIRED');
  assert.match(error.message, /gripper of 0 or more.*found -1\. Pass the option gripper: libero/);
  assert.is(asked.length, 0);
  const grippers = async (told: Source, options: EvaluateDatasetOptions) => {
    const [result] = await evaluateDataset(policy, told, options);
    return Array.from({ length: 6 }, (_, step) => result!.episode.actions[7 * step + 6]);
  };
  const simulator = [-1, -1, -1, -1, 1, 1];
  const training = [1, 1, 1, 1, 0, 0];
  assert.equal(await grippers(source, { units, gripper: 'libero' }), training);
  assert.equal(await grippers(source, { units, gripper: 'same' }), simulator);
  // LIBERO's layout says how it counts; a policy may count as the simulator does
  const known = { ...source, dataset: await openDataset(path) };
  assert.equal(await grippers(known, { units }), training);
  assert.equal(await grippers(known, {}), training);
  assert.equal(await grippers(known, { units: { ...units, low: units.perUnit.map(() => -1) } }), simulator);
});

test('observations that nobody demonstrated anything for', async () => {
  const path = mkdtempSync(join(scratchFolder(), 'observations-'));
  for (const name of ['a', 'b'])
    cpSync(join(goldenRoot, 'libero-tiny/obs0'), join(path, name), { recursive: true });
  const dataset = await openDataset(path);
  assert.equal([dataset.format, dataset.numbers.length, dataset.notes.length], ['observation folders', 1, 1]);
  const { policy } = madeUp(0);
  const results = await everything(policy, { instruction: 'go' }, path);
  assert.equal(
    results[0]!.predictions.map(({ step, rows }) => [step, rows]),
    [
      [0, 0],
      [1, 0],
    ],
  );
  assert.is(actionErrors(results), null);
  const evaluation = { name: 'one', policy, results };
  const [change] = pairedChanges([evaluation, { ...evaluation, name: 'two' }]);
  assert.equal([change!.chunks, change!.mean], [2, 0]);
  const html = await evaluationPage([evaluation], { title: 'no demonstrator' });
  assert.is(html.match(/href="data:image\/jpeg/g)?.length, 4);
  assert.not.match(html, /NaN|Infinity|How far from the demonstrator/);
});

test('of many episodes the page draws those with the largest error, and says so', async () => {
  const { policy } = madeUp(0);
  const [first] = await everything(policy, { every: 6 });
  const { name: _, ...facts } = first!.episode;
  // the later the worse
  const results = Array.from({ length: 14 }, (_, i) => ({
    ...first!,
    episode: { ...facts, name: `episode ${i}`, actions: first!.episode.actions.map((value) => value - i) },
  }));
  const html = await evaluationPage([{ name: 'one', policy, results }], { title: 'many' });
  assert.match(html, /the 12 of 14 episodes with the largest error of one/);
  assert.is(html.match(/Episode episode \d+,/g)?.length, 12);
  assert.not.match(html, /Episode episode [01],/);
});

test.run();
