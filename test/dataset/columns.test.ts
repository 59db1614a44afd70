/** Which features are meant: told, or asked for with the names that there are. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type ColumnOptions, chooseColumns, type PolicyNeeds } from '../../lib/dataset/columns.ts';
import type { Dataset, Features } from '../../lib/dataset/dataset.ts';
import { chooseNumbers, parseNumbers } from '../../lib/dataset/episodeNumbers.ts';
import { joinRows } from '../../lib/dataset/numbers.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';

const test = suite('columns');

const features = {
  cameras: ['observation.images.top', 'observation.images.wrist'],
  vectors: { 'observation.state': 8, 'observation.joints': 6, 'observation.gripper': 2, action: 7 },
};
const needs: PolicyNeeds = { cameras: ['full_image', 'wrist'], stateSize: 8, actionSize: 7 };

const choose = (
  options: ColumnOptions = {},
  change: Partial<Features> = {},
  wanted: Partial<PolicyNeeds> = {},
) => {
  const dataset: Dataset = {
    format: 'made up',
    path: 'cups',
    name: 'cups',
    numbers: [0],
    features: { ...features, ...change },
    notes: [],
    open: () => Promise.reject(new Error('not opened')),
  };
  return chooseColumns(dataset, { ...needs, ...wanted }, options);
};

const refused = (work: () => unknown): SemanticVlaError => {
  try {
    work();
  } catch (error) {
    assert.instance(error, SemanticVlaError);
    return error as SemanticVlaError;
  }
  throw new Error('it was taken');
};

test('a name is taken whole or by its last part; what is not told is asked for', () => {
  const keys = { cameras: { full_image: 'top' } };
  assert.equal(choose({ keys }), {
    cameras: { full_image: 'observation.images.top', wrist: 'observation.images.wrist' },
    state: ['observation.state'],
    action: ['action'],
    turn: 0,
    gripper: 'same',
  });
  const joined = { ...keys, state: ['joints', 'observation.gripper'] };
  assert.equal(choose({ keys: joined }).state, ['observation.joints', 'observation.gripper']);
  assert.equal(choose({ keys }, {}, { stateSize: 0 }).state, []);
  const one = choose({}, { cameras: ['observation.image'] }, { cameras: ['full_image'] });
  assert.equal(one.cameras, { full_image: 'observation.image' });
});

test('each refusal names what there is', () => {
  const top = { cameras: { full_image: 'top' } };
  const { cameras: _, ...rest } = features;
  for (const [work, code, words] of [
    [
      () => choose(),
      'FEATURE_REQUIRED',
      /called full_image.*found observation\.images\.top, observation\.images\.wrist\. Pass the option keys\.cameras/,
    ],
    [
      () => choose({ keys: { cameras: { full_image: 'front' } } }),
      'FEATURE_REQUIRED',
      /the image front, found observation/,
    ],
    [() => choose({ keys: { cameras: { full_image: 'wrist' } } }), 'CAMERA_DUPLICATE', /wrist twice/],
    [
      () => choose({ keys: { cameras: { front: 'top' } } }),
      'CAMERA_UNKNOWN',
      /full_image, wrist\), found front/,
    ],
    [() => choose({}, { ...rest, cameras: [] }), 'FEATURE_REQUIRED', /found no images/],
    [
      () => choose({ keys: top }, {}, { stateSize: 14 }),
      'FEATURE_REQUIRED',
      /state of 14 numbers.*observation\.state \(8\), observation\.joints \(6\)/,
    ],
    [
      () => choose({ keys: { ...top, state: ['joints'] } }),
      'FEATURE_REQUIRED',
      /found 6 in observation\.joints/,
    ],
    [() => choose({ keys: { ...top, state: ['velocity'] } }), 'FEATURE_REQUIRED', /the numbers velocity/],
    [
      () => choose({ keys: top }, {}, { actionSize: 14 }),
      'EPISODE_INVALID',
      /actions of 14 dimensions.*found 7 in action/,
    ],
    [
      () => choose({ keys: top }, { vectors: { 'observation.state': 8 } }),
      'FEATURE_REQUIRED',
      /called action or actions/,
    ],
  ] as const) {
    const error = refused(work);
    assert.is(error.code, code, error.message);
    assert.match(error.message, words);
  }
});

test('numbers of episodes', () => {
  assert.equal(parseNumbers('0,3-5'), [
    { first: 0, last: 0 },
    { first: 3, last: 5 },
  ]);
  for (const text of ['', 'recorded/', '5-3', '1,', '-1', '1.5']) assert.is(parseNumbers(text), null, text);
  const numbers = [0, 1, 2, 3, 4, 7];
  assert.equal(chooseNumbers('cups', numbers, parseNumbers('3-5,0,7,3')!), [0, 3, 4, 7]);
  assert.equal(chooseNumbers('cups', numbers, undefined), numbers);
  const error = refused(() => chooseNumbers('cups', numbers, parseNumbers('0,5-6')!));
  assert.is(error.code, 'OPTION_INVALID');
  assert.match(error.message, /cups, which has 6 episodes \(0 to 7\), found 5-6/);
});

test('numbers that are none are refused with their step', () => {
  assert.equal(
    [
      ...joinRows(
        [
          { a: [1, 2], b: 3n },
          { a: [4, 5], b: 6n },
        ],
        ['b', 'a'],
        'x',
      ).values,
    ],
    [3, 1, 2, 6, 4, 5],
  );
  for (const [rows, words] of [
    [[{ a: [1] }, { a: [Number.NaN] }], /x, step 1: expected finite numbers in a, found NaN at 0/],
    [[{ a: [1] }, { a: [1, 2] }], /step 1: expected 1 numbers in a, as at step 0, found 2/],
    [[{ a: [null] }], /step 0, a: expected numbers, found nothing/],
    [[{ a: 'x' }], /expected numbers, found a string/],
  ] as const) {
    const error = refused(() => joinRows(rows, ['a'], 'x'));
    assert.is(error.code, 'EPISODE_INVALID');
    assert.match(error.message, words);
  }
});

test.run();
