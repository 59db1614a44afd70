/** Normalization statistics: what supersedes what, defaults, and what is refused. */

import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { goldenCopy } from '../helpers/golden.ts';
import { editJson, errorOf, type Json } from './editCheckpoint.ts';

const test = suite('statistics');
const file = 'dataset_statistics.json';

/** Seven action and eight state dimensions, as the LIBERO head wants them. */
function dataset(action: Json = {}, proprio: Json | null = {}): Json {
  const bounds = (length: number) => ({
    q01: new Array(length).fill(-1),
    q99: new Array(length).fill(1),
    min: new Array(length).fill(-2),
    max: new Array(length).fill(2),
  });
  return {
    action: { ...bounds(7), ...action },
    ...(proprio === null ? {} : { proprio: { ...bounds(8), ...proprio } }),
  };
}

function withStatistics(statistics: unknown): string {
  const dir = goldenCopy('oft-tiny');
  const text = typeof statistics === 'string' ? statistics : JSON.stringify(statistics);
  writeFileSync(join(dir, file), text);
  return dir;
}

async function opened(statistics: unknown) {
  return (await openCheckpoint(withStatistics(statistics))).statistics;
}

test('a missing mask is all true, a missing proprio is null', async () => {
  const { action, proprio } = (await opened({ a: dataset({}, null) })).get('a')!;
  assert.equal(action.mask, new Array(7).fill(true));
  assert.is(proprio, null);
});

test('other keys of a dataset (counts, means) are left alone', async () => {
  const statistics = await opened({ a: { ...dataset(), num_transitions: 5, num_trajectories: 1 } });
  assert.equal([...statistics.keys()], ['a']);
});

test('dataset_statistics.json supersedes norm_stats; without it norm_stats are used', async () => {
  const dir = goldenCopy('oft-tiny');
  const own = await openCheckpoint(dir);
  rmSync(join(dir, file));
  const config = await openCheckpoint(dir);
  assert.match(own.sources.statistics, /dataset_statistics\.json$/);
  assert.match(config.sources.statistics, /config\.json$/);
  const key = 'libero_object_no_noops';
  assert.not.equal(own.statistics.get(key)!.action.q01, config.statistics.get(key)!.action.q01);
});

test('several robots in one file: one of them must fit the head', async () => {
  const two = { other: { action: { q01: [0], q99: [1], min: [0], max: [1] } }, a: dataset() };
  assert.is((await opened(two)).size, 2);
  const error = await errorOf(opened({ other: two.other }));
  assert.is(error.code, 'STATISTICS_INVALID');
  assert.match(error.message, /7 dimensions.*other \(1\)/);
});

test('constant dimensions: of a state, and of an action with mask false, are kept', async () => {
  const constant = {
    q01: new Array(8).fill(0),
    q99: new Array(8).fill(0),
    min: new Array(8).fill(0),
    max: new Array(8).fill(0),
  };
  assert.is((await opened({ a: dataset({}, constant) })).get('a')!.proprio!.q99[3], 0);
  const mask = [true, true, true, true, true, true, false];
  const gripper = { q01: [-1, -1, -1, -1, -1, -1, 1], min: [-2, -2, -2, -2, -2, -2, 2], mask };
  assert.is((await opened({ a: dataset(gripper) })).get('a')!.action.q01[6], 1);
});

const seven = (value: unknown, i = 3) => Array.from({ length: 7 }, (_, j) => (i === j ? value : 0));
const refusals: readonly [string, unknown, RegExp][] = [
  [
    'q01 above q99',
    { a: dataset({ q01: seven(3), q99: seven(2).map((x) => (x === 2 ? x : 1)) }) },
    /action: dimension 3: expected q01 < q99, found 3 and 2/,
  ],
  ['q01 equal to q99', { a: dataset({ q01: seven(1) }) }, /dimension 3: expected q01 < q99, found 1 and 1/],
  ['min equal to max', { a: dataset({ min: seven(2) }) }, /dimension 3: expected min < max/],
  [
    'inverted in a masked dimension',
    { a: dataset({ q01: seven(3, 6), mask: [true, true, true, true, true, true, false] }) },
    /dimension 6/,
  ],
  ['inverted state', { a: dataset({}, { q01: new Array(8).fill(2) }) }, /proprio: dimension 0/],
  ['in a second dataset', { a: dataset(), b: dataset({ q01: seven(1) }) }, /b\.action/],
  ['q99 of another length', { a: dataset({ q99: [1, 1] }) }, /q99: expected a list of 7 numbers/],
  ['mask of another length', { a: dataset({ mask: [true] }) }, /mask/],
  ['mask of numbers', { a: dataset({ mask: seven(1) }) }, /mask/],
  ['no q01', { a: dataset({ q01: null }) }, /q01/],
  ['empty bounds', { a: dataset({ q01: [] }) }, /q01/],
  ['text among numbers', { a: dataset({ q01: seven('0') }) }, /q01/],
  ['null among numbers', { a: dataset({ q01: seven(null) }) }, /q01/],
  ['no action', { a: {} }, /action/],
  ['no datasets', {}, /at least one dataset/],
  ['a dataset that is a number', { a: 1 }, /a: expected an object/],
  ['a list', '[]', /JSON object/],
  ['NaN', '{"a":{"action":{"q01":[NaN]}}}', /NaN/],
  ['1e999', JSON.stringify({ a: dataset() }).replace('-1', '-1e999'), /q01/],
  ['one key twice', `{"a":${JSON.stringify(dataset())},"a":${JSON.stringify(dataset())}}`, /second time/],
];

test(`${refusals.length} broken statistics are refused by name`, async () => {
  for (const [name, statistics, says] of refusals) {
    const dir = withStatistics(statistics);
    const error = await errorOf(openCheckpoint(dir));
    assert.is(error.code, 'STATISTICS_INVALID', `${name}: ${error.message}`);
    assert.match(error.message, says, name);
    assert.match(error.message, file, name);
    rmSync(dir, { recursive: true });
  }
});

test('no statistics anywhere', async () => {
  const dir = goldenCopy('oft-tiny');
  rmSync(join(dir, file));
  editJson(dir, 'config.json', ({ norm_stats: _, ...value }) => value);
  const error = await errorOf(openCheckpoint(dir));
  assert.is(error.code, 'STATISTICS_INVALID');
  assert.match(error.message, /found neither/);
  editJson(dir, 'config.json', (value) => ({ ...value, norm_stats: { a: dataset() } }));
  const { statistics } = await openCheckpoint(dir);
  assert.is(statistics.size, 1);
});

test.run();
