/** Recorded episodes against an invented policy, so that every figure is known beforehand. */

import { cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeNpy } from '../../lib/cli/npyWriter.ts';
import { openDataset } from '../../lib/dataset/openDataset.ts';
import { readEpisode } from '../../lib/dataset/readEpisode.ts';
import { actionErrors } from '../../lib/evaluate/actionErrors.ts';
import { evaluateEpisode } from '../../lib/evaluate/evaluateEpisode.ts';
import type { Evaluation } from '../../lib/evaluate/evaluation.ts';
import { predictionErrors, stageMedians } from '../../lib/evaluate/evaluation.ts';
import { evaluationPage } from '../../lib/evaluate/page/evaluationPage.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import type { ActionChunk, Observation, PredictOptions } from '../../lib/types.ts';
import { goldenRoot, scratchFolder } from '../helpers/golden.ts';

const test = suite('evaluate');

const dimensions = ['x', 'y', 'gripper'];
/** Five steps: x rises by 1, y stays, the gripper closes at step 3. */
const actions = [0, 1, 2, 3, 4].flatMap((step) => [step, 7, step < 3 ? -1 : 1]);

/** A folder of one episode with observations at steps 0, 2 and 4. */
function recorded(change: Readonly<Record<string, unknown>> = {}, shape = [5, 3]): string {
  const folder = mkdtempSync(join(scratchFolder(), 'episode-'));
  const names = ['000', '002', '004'];
  for (const name of names)
    cpSync(join(goldenRoot, 'libero-tiny/obs0'), join(folder, name), { recursive: true });
  writeFileSync(join(folder, 'actions.npy'), encodeNpy(Float64Array.from(actions), shape));
  const head = {
    instruction: 'lift <it> & "hold"',
    rate: 10,
    actions: 'actions.npy',
    observations: names.map((name) => ({ step: Number(name), folder: name })),
    ...change,
  };
  writeFileSync(join(folder, 'episode.json'), JSON.stringify(head));
  return folder;
}

/** Chunks of three rows: x is off by `off`, y is right, the gripper is always open. Told sentences are kept. */
function madeUp(off: number, heard: string[] = []) {
  let calls = 0;
  const predict = async (observation: Observation, options: PredictOptions): Promise<ActionChunk> => {
    heard.push(options.instruction);
    const step = 2 * calls++;
    assert.equal(Object.keys(observation.images), ['full_image', 'wrist_image']);
    const rows = [0, 1, 2].flatMap((row) => [step + row + off, 7, -1]);
    return {
      actions: Float64Array.from(rows),
      normalized: Float32Array.from(rows),
      shape: [3, 3],
      dimensions,
      keptPatches: { full_image: Int32Array.of(0, 5), wrist_image: Int32Array.of(15) },
      similarity: {},
      timings: { instruction: calls === 1 ? 9 : 0, total: 10 * calls },
      instruction: options.instruction,
      unnormKey: 'k',
    };
  };
  return { predict, dimensions };
}

const refusal = async (folder: string): Promise<SemanticVlaError> => {
  try {
    await readEpisode(folder);
  } catch (error) {
    assert.instance(error, SemanticVlaError);
    return error as SemanticVlaError;
  }
  throw new Error('it was read');
};

test('figures: each chunk against the steps that the recording has', async () => {
  const episode = await readEpisode(recorded());
  const heard: string[] = [];
  const result = await evaluateEpisode(madeUp(0.5, heard), episode);
  assert.equal(heard, Array(3).fill('lift <it> & "hold"'));
  assert.equal(
    result.predictions.map(({ step, rows }) => [step, rows]),
    [
      [0, 3],
      [2, 3],
      [4, 1],
    ],
  );
  const errors = actionErrors([result])!;
  assert.is(errors.compared, 7);
  const [x, y, gripper] = errors.dimensions;
  // x of the compared steps: 0 1 2 2 3 4 4, mean 16/7
  const mean = 16 / 7;
  const constant = [0, 1, 2, 2, 3, 4, 4].reduce((sum, value) => sum + Math.abs(value - mean), 0) / 7;
  assert.is(x!.mean, 0.5);
  assert.is(x!.max, 0.5);
  assert.ok(Math.abs(x!.constant - constant) < 1e-12);
  assert.is(x!.range, 4);
  assert.equal(y, { name: 'y', mean: 0, max: 0, constant: 0, range: 0, normalized: null });
  // closed at 3, 4 and 4 of the seven
  assert.ok(Math.abs(gripper!.mean - (3 * 2) / 7) < 1e-12);
  assert.is(errors.gripper, 4 / 7);
  assert.ok(Math.abs(errors.mean - (0.5 + 0 + 6 / 7) / 3) < 1e-12);
  assert.is(
    predictionErrors(result, result.predictions[0]!)!.gripper,
    1,
    'open at steps 0 to 2, as the policy',
  );
  assert.equal(stageMedians([result]), [
    { stage: 'instruction', ms: 9, chunks: 1 },
    { stage: 'total', ms: 20, chunks: 3 },
  ]);
});

test('fewer observations, another sentence; a policy of another robot is refused', async () => {
  const episode = await readEpisode(recorded());
  const heard: string[] = [];
  const result = await evaluateEpisode(madeUp(0, heard), episode, { every: 3, instruction: 'drop it' });
  assert.equal(
    result.predictions.map(({ step }) => step),
    [0, 4],
  );
  assert.equal(heard, ['drop it', 'drop it']);
  const two = { ...madeUp(0), dimensions: ['x', 'y'] };
  const error = await evaluateEpisode(two, episode).catch((cause: unknown) => cause);
  assert.is((error as SemanticVlaError).code, 'EPISODE_INVALID');
  assert.match((error as Error).message, /2 dimensions \(x y\).* found 3/);
});

test('an instruction may come from the observation, and is asked for where there is none', async () => {
  const folder = recorded({ instruction: undefined });
  const error = await evaluateEpisode(madeUp(0), await readEpisode(folder)).catch((cause: unknown) => cause);
  assert.is((error as SemanticVlaError).code, 'OPTION_REQUIRED');
  for (const name of ['000', '002', '004']) {
    const file = join(folder, name, 'observation.json');
    writeFileSync(
      file,
      JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), instruction: `go ${name}` }),
    );
  }
  const heard: string[] = [];
  await evaluateEpisode(madeUp(0, heard), await readEpisode(folder));
  assert.equal(heard, ['go 000', 'go 002', 'go 004']);
});

test('what is no episode is refused, by name', async () => {
  const cases: readonly (readonly [change: Readonly<Record<string, unknown>>, found: RegExp])[] = [
    [{ rate: 0 }, /episode\.json: rate: expected a positive number, found 0/],
    [{ rate: undefined }, /rate: .*found nothing/],
    [{ observations: [] }, /observations: expected at least one/],
    [{ observations: [{ step: 5, folder: '000' }] }, /step: expected an integer from 0 to 4, found 5/],
    [
      {
        observations: [
          { step: 2, folder: '002' },
          { step: 2, folder: '004' },
        ],
      },
      /in the order of their steps/,
    ],
    [
      { observations: [{ step: 0, folder: '../000' }] },
      /folder: expected the name of something in the folder/,
    ],
    [{ actions: '/etc/passwd' }, /actions: expected the name/],
    [{ actions: 'none.npy' }, /none\.npy: expected a readable file/],
  ];
  for (const [change, found] of cases) {
    const error = await refusal(recorded(change));
    assert.is(error.code, 'EPISODE_INVALID');
    assert.match(error.message, found);
  }
  assert.match((await refusal(recorded({}, [15]))).message, /shape \(steps, dimensions\), found \(15\)/);
  const folder = recorded();
  writeFileSync(join(folder, 'actions.npy'), encodeNpy(Float64Array.from([Number.NaN]), [1, 1]));
  assert.match((await refusal(folder)).message, /not finite/);
});

test('what docs/evaluate.md prints is an episode', async () => {
  const page = readFileSync(join(goldenRoot, '../../docs/evaluate.md'), 'utf8');
  const head = JSON.parse(/```json\n([^`]+)```/.exec(page)![1]!) as { observations: { folder: string }[] };
  const folder = recorded();
  writeFileSync(join(folder, 'actions.npy'), encodeNpy(new Float64Array(9 * 3), [9, 3]));
  writeFileSync(join(folder, 'episode.json'), JSON.stringify(head));
  const { steps, rate } = await readEpisode(folder);
  assert.is(rate, 20);
  assert.equal(steps, [0, 8]);
});

test('episodes are found one by one and by the folder that holds them', async () => {
  const holder = mkdtempSync(join(scratchFolder(), 'episodes-'));
  for (const name of ['b', 'a']) cpSync(recorded(), join(holder, name), { recursive: true });
  mkdirSync(join(holder, 'notes'));
  const columns = { cameras: {}, state: [], action: [], turn: 0, gripper: 'same' } as const;
  const namesIn = async (path: string) => {
    const dataset = await openDataset(path);
    assert.is(dataset.format, 'episode folders');
    return Promise.all(dataset.numbers.map(async (number) => (await dataset.open(number, columns)).source));
  };
  assert.equal(await namesIn(holder), [join(holder, 'a'), join(holder, 'b')]);
  assert.equal(await namesIn(join(holder, 'b')), [join(holder, 'b')]);
  for (const none of [join(holder, 'notes'), join(holder, 'nowhere')]) {
    const error = await openDataset(none).catch((cause: unknown) => cause);
    assert.is((error as SemanticVlaError).code, 'EPISODE_INVALID');
  }
});

test('the page holds everything itself, says what was measured, and takes names for text', async () => {
  const episode = await readEpisode(recorded());
  const platform = {
    name: 'libero',
    cameras: ['full_image', 'wrist_image'],
    proprio: true,
    centerCrop: true,
    jpeg: true,
    chunk: 3,
    normalization: 'q99',
  } as const;
  const policy = { variant: 'SemanticVLA', platform, imageSize: 56, patchGrid: 4, dimensions };
  const evaluations: Evaluation[] = [];
  for (const [name, off] of [
    ['<b>one</b>', 0.5],
    ['two', 0.25],
  ] as const) {
    evaluations.push({ name, policy, results: [await evaluateEpisode(madeUp(off), episode)] });
  }
  for (const some of [evaluations.slice(0, 1), evaluations]) {
    const html = await evaluationPage(some, { title: 'A & B', notes: ['a <note>'] });
    assert.match(html, /<title>A &amp; B<\/title>/);
    assert.not.match(html, /<script|<b>one|<it>|<note>/);
    // three moments of two cameras, for each policy
    assert.is(html.match(/href="data:image\/jpeg;base64,/g)?.length, 6 * some.length);
    const outside = [...html.matchAll(/(?:href|src)="([^"]*)"/g)].filter(
      ([, target]) => !target!.startsWith('data:'),
    );
    assert.equal(outside, []);
    assert.not.match(html, /url\(/);
    // the demonstrator once, and three chunks a policy, in each of three dimensions
    assert.is(html.match(/stroke-width="5" stroke-linejoin/g)?.length, 3);
    assert.is(html.match(/stroke-width="2" stroke-linejoin/g)?.length, 9 * some.length);
    assert.match(html, /57\.1.%/);
    assert.match(html, /1, 2 of 16|2, 1 of 16/);
  }
});

test.run();
