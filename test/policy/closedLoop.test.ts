/** Outcomes in a simulator, paired by scene: three kinds of files, the limit, and how the result joins the gate. */

import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { closedLoopFailures, mcNemar, readClosedLoop } from '../../lib/policy/closedLoop.ts';
import { comparePrecision } from '../../lib/policy/comparePrecision.ts';
import type { PrecisionGate } from '../../lib/policy/precisionGate.ts';
import { errorOf } from '../checkpoint/editCheckpoint.ts';
import { scratchFolder } from '../helpers/golden.ts';
import { libero } from '../helpers/trained.ts';

const test = suite('closed loop');
const folder = mkdtempSync(join(scratchFolder(), 'closedLoop-'));

let files = 0;
function written(lines: readonly object[], tail = ''): string {
  const file = join(folder, `${files++}.jsonl`);
  writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join('') + tail);
  return file;
}

const indices = Array.from({ length: 50 }, (_, i) => i);
const suiteLine = (policy: string, index: number, success: boolean, more = {}) => ({
  episode: { suite: 'libero_object', task: 0, scenes: 'named', index, policy, ...more },
  success,
});
/** Scene by scene: float32 does the first 30, the other all of them but those of `lost`, and those of `won`. */
function suiteFiles(lost: readonly number[], won: readonly number[]): [string, string] {
  const rounded = (i: number) => (i < 30 && !lost.includes(i)) || won.includes(i);
  return [
    written(indices.map((i) => suiteLine('first', i, i < 30))),
    written(indices.map((i) => suiteLine('int8', i, rounded(i))).reverse()),
  ];
}

test('pairs scenes whatever their order, and judges by the interval of float32', async () => {
  const figures = await readClosedLoop(suiteFiles([0, 1, 2], [40]));
  assert.is(figures.scenes, 'libero_object named');
  assert.equal(figures.policies, ['first', 'int8']);
  assert.equal([figures.pairs, figures.float32, figures.rounded], [50, 30, 28]);
  assert.equal([figures.onlyFloat32, figures.onlyRounded], [3, 1]);
  // of 4 different outcomes at most 1 in the smaller part: 2 (1 + 4) / 16
  assert.ok(Math.abs(figures.chance - 10 / 16) < 1e-12);
  assert.equal(closedLoopFailures(figures), []);
  // Wilson of 30 of 50 begins at 0.462: 24 pass, 23 do not
  const lost = (n: number) => readClosedLoop(suiteFiles(indices.slice(0, n), []));
  assert.equal(closedLoopFailures(await lost(6)), []);
  assert.equal(closedLoopFailures(await lost(7)), [
    'closed loop (libero_object named): 23 of 50, at least 24 expected (float32: 30)',
  ]);
});

test("McNemar's exact test, also of many", () => {
  assert.is(mcNemar(0, 0), 1);
  assert.ok(Math.abs(mcNemar(0, 6) - 2 / 64) < 1e-12);
  assert.is(mcNemar(2000, 2000), 1);
  assert.ok(mcNemar(1900, 2100) < 0.01 && mcNemar(1900, 2100) > 0.001);
});

test('files of evaluate.py and of closedLoop.ts', async () => {
  const head = { task: 'pick', family: 'direction', control: 'none', replan: 4, first: 0 };
  const evaluated = (url: string, count: number) =>
    written([
      { ...head, url },
      { seed: 7 },
      ...indices.map((i) => ({ seed: 10 + i, named: 'red', done: i < count ? 'red' : null })),
    ]);
  const figures = await readClosedLoop([evaluated('http://a', 20), evaluated('http://b', 21)]);
  assert.is(figures.scenes, 'pick direction');
  assert.equal([figures.pairs, figures.float32, figures.rounded, figures.onlyRounded], [50, 20, 21, 1]);
  const driven = (policy: string, count: number) =>
    written(
      indices.map((seed) => ({
        ...{ mode: 'open loop', latency: '0', family: 'next', policy, seed },
        ...{ named: 'red', lifted: seed < count ? 'red' : 'blue' },
      })),
    );
  const loop = await readClosedLoop([driven('a', 40), driven('b', 40)]);
  assert.equal([loop.scenes, loop.float32, loop.rounded, loop.chance], ['pick next', 40, 40, 1]);
});

test('what proves nothing, or is something else, is refused', async () => {
  const [exact, rounded] = suiteFiles([], []);
  const refused = async (a: string, b: string) => {
    const error = await errorOf(readClosedLoop([a, b]));
    assert.is(error.code, 'RESULTS_INVALID');
    return error.message;
  };
  const other = written(indices.map((i) => suiteLine('int8', i, true, { replan: 4 })));
  assert.match(await refused(exact, other), /at least 40 scenes.*found 0 \(50 and 50/s);
  const all = written(indices.map((i) => suiteLine('first', i, i < 46)));
  assert.match(await refused(all, rounded), /succeeds in 10 to 90 %.*found 46 of 50/s);
  const none = written(indices.map((i) => suiteLine('first', i, i < 4)));
  assert.match(await refused(none, rounded), /found 4 of 50/);
  const twice = written([...indices, 0].map((i) => suiteLine('int8', i, true)));
  assert.match(await refused(exact, twice), /line 51: expected each scene once/);
  assert.match(await refused(exact, written([{ key: 1 }])), /line 1: expected an episode/);
  assert.match(await refused(exact, written([], 'no JSON\n')), /line 1: expected an episode/);
  // what is being written does not count
  const growing = written(
    indices.slice(0, 45).map((i) => suiteLine('int8', i, true)),
    '{"epis',
  );
  assert.is((await readClosedLoop([exact, growing])).pairs, 45);
});

test('joins the comparison on observations, stays with it, and can fail it', async () => {
  const dir = await libero.checkpoint();
  const cacheDir = mkdtempSync(join(folder, 'cache-'));
  const options = { precision: 'int8-llm', cacheDir, threads: 1, onNotice: () => {} } as const;
  const sound = await readClosedLoop(suiteFiles([], []));
  const early = await errorOf(comparePrecision(dir, [], { ...options, closedLoop: sound }));
  assert.is(early.code, 'OPTION_REQUIRED');
  assert.match(early.message, /expected observations too/);
  const sample = libero.samples[20]!;
  const tasks = [{ observation: await libero.observation(sample), instruction: sample.instruction }];
  const alone = await comparePrecision(dir, tasks, options);
  assert.is(alone.closedLoop, undefined);
  const worse = await readClosedLoop(suiteFiles(indices.slice(0, 20), []));
  const failed = await comparePrecision(dir, [], { ...options, closedLoop: worse });
  assert.equal(failed.figures, alone.figures);
  assert.equal(failed.failures, [...alone.failures, ...closedLoopFailures(worse)]);
  assert.is(failed.failures.length, alone.failures.length + 1);
  // what loading and `inspect` read
  assert.equal((JSON.parse(readFileSync(failed.file, 'utf8')) as PrecisionGate).failures, failed.failures);
  assert.match(failed.failures.at(-1)!, /10 of 50/);
  // compared again on observations: what was driven is still known
  assert.equal((await comparePrecision(dir, tasks, options)).closedLoop, worse);
  assert.equal((await comparePrecision(dir, [], { ...options, closedLoop: sound })).failures, alone.failures);
});

test.run();
