/** Normalization statistics: what supersedes what, defaults, and what is refused. */

import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { requireStatistics, type StatisticsUse } from '../../lib/checkpoint/agreement.ts';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { checkBounds } from '../../lib/checkpoint/statistics.ts';
import { inspectCheckpoint } from '../../lib/inspect/inspectCheckpoint.ts';
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

test('constant dimensions are kept: of a state, of an action, with either mask', async () => {
  const constant = (length: number) => {
    const zeros = new Array(length).fill(0);
    return { q01: zeros, q99: zeros, min: zeros, max: zeros };
  };
  const statistics = await opened({ a: dataset(constant(7), constant(8)) });
  assert.is(statistics.get('a')!.proprio!.q99[3], 0);
  for (const normalization of ['q99', 'minmax'] as const) {
    assert.is(checkBounds(statistics.get('a')!.action, normalization), 7);
    assert.is(checkBounds(statistics.get('a')!.proprio!, normalization), 8);
  }
});

const seven = (value: unknown, i = 3) => Array.from({ length: 7 }, (_, j) => (i === j ? value : 0));
const passThrough = [true, true, true, true, true, true, false];
/** JSON has no NaN, Python's json writes it all the same. */
const python = (statistics: unknown) =>
  JSON.stringify(statistics).replace(/"(NaN|-?Infinity)"/g, (_, word: string) => word);

const use = { proprio: true, normalization: 'q99' } as const;
/** What predictions with key `a` read of it. */
const readAs = async (statistics: unknown, how: Partial<StatisticsUse> = {}) =>
  requireStatistics(await openCheckpoint(withStatistics(statistics)), 'a', { ...use, ...how });

test('what nobody reads may be what it is', async () => {
  const nan = seven('NaN');
  const unread: readonly [string, unknown, Partial<StatisticsUse>?][] = [
    ['deviations', { a: dataset({ std: nan, mean: ['x'] }) }],
    ['the other bounds', { a: dataset({ min: nan, max: null }) }],
    ['the other bounds, min/max', { a: dataset({ q01: undefined, q99: nan }) }, { normalization: 'minmax' }],
    ['the other bounds, inverted', { a: dataset({ min: seven(9), max: seven(-9) }) }],
    [
      'where the mask is false',
      { a: dataset({ q01: seven('-Infinity', 6), q99: seven('NaN', 6), mask: passThrough }) },
    ],
    ['inverted where the mask is false', { a: dataset({ q01: seven(3, 6), mask: passThrough }) }],
    ['another data set, constant', { a: dataset(), b: dataset({ q01: seven(1), q99: seven(1) }) }],
    ['another data set, damaged', { a: dataset(), b: dataset({ q01: seven(5), q99: nan, mask: 7 }) }],
    ['another data set, of another kind', { a: dataset(), b: 1, c: {}, d: null, e: { action: [] } }],
    ['counts', { a: { ...dataset(), num_transitions: 'NaN' } }],
    ['the joint state, unused', { a: dataset({}, { q01: 'gone', q99: seven(1) }) }, { proprio: false }],
  ];
  for (const [name, statistics, how] of unread) {
    const dir = withStatistics(python(statistics));
    const checkpoint = await openCheckpoint(dir);
    assert.not.throws(() => requireStatistics(checkpoint, 'a', { ...use, ...how }), name);
    rmSync(dir, { recursive: true });
  }
});

test('NaN in norm_stats of config.json, which dataset_statistics.json supersedes', async () => {
  const dir = goldenCopy('oft-tiny');
  const config = join(dir, 'config.json');
  const text = readFileSync(config, 'utf8');
  writeFileSync(config, text.replace(/"std":\s*\[\s*[-\d.e]+/, '"std": [NaN'));
  assert.not.equal(readFileSync(config, 'utf8'), text);
  const checkpoint = await openCheckpoint(dir);
  assert.match(checkpoint.sources.statistics, /dataset_statistics\.json$/);
  assert.ok(
    (await inspectCheckpoint(checkpoint)).ignored.some((entry) => entry.file === 'config.json, norm_stats'),
  );
  // what is read of config.json is still refused, by name
  writeFileSync(config, text.replace(/"image_sizes":\s*\[\s*\d+/, '"image_sizes": [NaN'));
  const error = await errorOf(openCheckpoint(dir));
  assert.is(error.code, 'CONFIG_INVALID');
  assert.match(error.message, /image_sizes: expected a list of 2 numbers, found \[NaN,/);
});

const refusals: readonly [string, unknown, RegExp, Partial<StatisticsUse>?][] = [
  [
    'q01 above q99',
    { a: dataset({ q01: seven(3), q99: seven(2) }) },
    /a\.action, dimension 3: expected q01 <= q99, found 3 and 2/,
  ],
  [
    'min above max',
    { a: dataset({ min: seven(3) }) },
    /dimension 3: expected min <= max, found 3 and 2/,
    { normalization: 'minmax' },
  ],
  ['inverted state', { a: dataset({}, { q01: new Array(8).fill(2) }) }, /a\.proprio, dimension 0/],
  ['q99 of another length', { a: dataset({ q99: [1, 1] }) }, /q99: expected a list of 7 numbers/],
  ['mask of another length', { a: dataset({ mask: [true] }) }, /mask/],
  ['mask of numbers', { a: dataset({ mask: seven(1) }) }, /mask/],
  ['mask that is null', { a: dataset({ mask: null }) }, /mask: expected a list, found nothing/],
  ['no q01', { a: dataset({ q01: null }) }, /q01/],
  ['no min', { a: dataset({ min: null }) }, /min/, { normalization: 'minmax' }],
  [
    'text among numbers',
    { a: dataset({ q01: seven('0') }) },
    /q01, dimension 3: expected a finite number, found "0"/,
  ],
  [
    'null among numbers',
    { a: dataset({ q01: seven(null) }) },
    /q01, dimension 3: expected a finite number, found null/,
  ],
  [
    'NaN',
    { a: dataset({ q99: seven('NaN') }) },
    /a\.action\.q99, dimension 3: expected a finite number, found NaN/,
  ],
  [
    'Infinity',
    { a: dataset({}, { q99: [...new Array(7).fill(1), 'Infinity'] }) },
    /a\.proprio\.q99, dimension 7: .*found Infinity/,
  ],
  ['1e999', JSON.stringify({ a: dataset() }).replace('-1', '-1e999'), /q01, dimension 0: .*found -Infinity/],
  [
    'an infinite range',
    { a: dataset({ q01: seven(-1e308), q99: seven(1e308) }) },
    /dimension 3: expected a finite range, found q01 -1e\+308 and q99 1e\+308/,
  ],
  ['no joint state', { a: dataset({}, null) }, /a: expected statistics of the joint state/],
  [
    'a joint state of 7',
    { a: { ...dataset(), proprio: dataset().action } },
    /joint state \(proprio\) of 8 dimensions, as the proprio projector .*--150000_checkpoint\.pt has, found 7/,
  ],
  [
    'actions of 6',
    { a: { ...dataset(), action: { q01: [0, 0, 0, 0, 0, 0], q99: [1, 1, 1, 1, 1, 1] } }, b: dataset() },
    /a: expected actions of 7 dimensions, as the action head .* has, found 6\. .*choose a data set of that size: b/,
  ],
  ['no datasets', {}, /at least one dataset/],
  ['one without its name', dataset(), /expected data sets by name, found .*\(action, proprio\)/],
  ['a dataset that is a number', { a: 1, b: dataset() }, /a: expected an object/],
  ['a list', '[]', /JSON object/],
  ['one key twice', `{"a":${JSON.stringify(dataset())},"a":${JSON.stringify(dataset())}}`, /second time/],
];

test(`${refusals.length} broken statistics are refused by name when they are read`, async () => {
  for (const [name, statistics, says, how] of refusals) {
    const error = await errorOf(
      readAs(typeof statistics === 'string' ? statistics : python(statistics), how),
    );
    assert.is(error.code, 'STATISTICS_INVALID', `${name}: ${error.message}`);
    assert.match(error.message, says, name);
    assert.match(error.message, file, name);
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
