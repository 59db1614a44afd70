/** Action spaces: presets fit the platforms' dimensions, user-defined ones are checked by name. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type ActionSpace,
  actionSpaces,
  resolveActionSpace,
  wrapped,
} from '../../lib/schedule/actionSpace.ts';
import type { SemanticVlaError } from '../../lib/support/errors.ts';
import { actionDimensions } from '../../lib/transforms/actions.ts';

const test = suite('actionSpace');

test('presets name the dimensions that policies of the platform have', () => {
  for (const [name, dim, state] of [
    ['libero', 7, 8],
    ['bridge', 7, 7],
    ['aloha', 14, 14],
  ] as const) {
    const policy = { platform: { name }, dimensions: actionDimensions(name, dim) };
    const space = resolveActionSpace(policy);
    assert.is(space, actionSpaces[name]);
    const places = space.dimensions.flatMap((dimension) => dimension.state?.index ?? []);
    assert.is(new Set(places).size, places.length);
    assert.ok(places.every((index) => index < state));
  }
});

test('a custom platform must say what its numbers mean', () => {
  const policy = { platform: { name: 'custom' as const }, dimensions: ['a'] };
  assert.throws(
    () => resolveActionSpace(policy),
    (error: SemanticVlaError) => error.code === 'OPTION_REQUIRED',
  );
  const space: ActionSpace = {
    name: 'mine',
    dimensions: [{ name: 'a', kind: 'angle', unit: 'deg', period: 360 }],
  };
  assert.is(resolveActionSpace(policy, space), space);
});

test('malformed spaces are refused', () => {
  const policy = { platform: { name: 'custom' as const }, dimensions: ['a'] };
  const wrong: unknown[] = [
    { name: 'a', kind: 'binaryGripper', unit: '1' },
    { name: 'a', kind: 'torque', unit: 'Nm' },
    { name: 'b', kind: 'delta', unit: 'm' },
    { name: 'a', kind: 'delta', unit: 'm', range: [1, 1] },
    { name: 'a', kind: 'delta', unit: 'm', period: 3 },
    { name: 'a', kind: 'delta', unit: 'm', state: { index: -1, scale: 1 } },
    { name: 'a', kind: 'binaryGripper', unit: '1', range: [0, 1], decides: 'oldest' },
    { name: 'a', kind: 'delta', unit: 'm', rnage: [0, 1] },
  ];
  for (const dimension of wrong) {
    const space = { name: 'mine', dimensions: [dimension] } as ActionSpace;
    assert.throws(
      () => resolveActionSpace(policy, space),
      /Expected|expected|Misspelled/,
      JSON.stringify(dimension),
    );
  }
  assert.throws(() => resolveActionSpace(policy, { name: 'none', dimensions: [] }), /a list of dimensions/);
});

test('differences of angles', () => {
  for (const [difference, expected] of [
    [0, 0],
    [190, -170],
    [-190, 170],
    [180, -180],
    [725, 5],
  ] as const) {
    assert.is(wrapped(difference, 360), expected);
  }
});

test.run();
