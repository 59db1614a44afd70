import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Bounds } from '../../lib/checkpoint/checkpoint.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import {
  actionDimensions,
  discreteActions,
  liberoGripper,
  unnormalizeActions,
} from '../../lib/transforms/actions.ts';
import { goldenBounds, goldenCase, policies } from './goldenCase.ts';

const test = suite('actions');

const bounds: Bounds = { q01: [-1, 0], q99: [1, 4], min: [-2, -1], max: [2, 5], mask: [true, false] };

for (const policy of policies) {
  test(`${policy}: equal to the reference on every sample`, () => {
    const { samples, normalization } = goldenCase(policy);
    assert.ok(samples.length > 0);
    for (const sample of samples) {
      const normalized = Float32Array.from(sample.normalized_fp32.flat());
      const actual = unnormalizeActions(
        normalized,
        goldenBounds(policy, sample.unnorm_key, 'action'),
        normalization,
      );
      // The same operations in the same precisions: equal to the bit.
      assert.equal([...actual], sample.actions_fp32.flat());
    }
  });
}

test('the other kind of normalization gives other actions', () => {
  const a = new Float32Array([0.5, 0.5]);
  const byQuantiles = unnormalizeActions(a, bounds, 'q99');
  const byExtremes = unnormalizeActions(a, bounds, 'minmax');
  // 1e-8 times at most 1 is added by the formula.
  assert.ok(Math.abs((byQuantiles[0] as number) - 0.5) < 1.1e-8);
  assert.ok(Math.abs((byExtremes[0] as number) - 1) < 1.1e-8);
  assert.is(byQuantiles[1], 0.5);
  assert.equal(a, new Float32Array([0.5, 0.5]));
});

function refused(run: () => unknown, code: string, message: RegExp): void {
  assert.throws(run, (error: unknown) => {
    assert.instance(error, SemanticVlaError);
    assert.is((error as SemanticVlaError).code, code);
    assert.match((error as SemanticVlaError).message, message);
    return true;
  });
}

test('no non-finite action leaves', () => {
  for (const [bad, shown] of [
    [Number.NaN, 'NaN'],
    [Number.POSITIVE_INFINITY, 'Infinity'],
    [Number.NEGATIVE_INFINITY, '-Infinity'],
  ] as const) {
    refused(
      () => unnormalizeActions(new Float32Array([0, 0, 0, bad]), bounds, 'q99'),
      'ACTION_NOT_FINITE',
      new RegExp(`Action 1, dimension 1: .*found ${shown}`),
    );
  }
});

test('property: fuzzed heads give finite actions or the typed error', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.float(), fc.float()), { minLength: 1, maxLength: 40 }), (rows) => {
      try {
        const out = unnormalizeActions(Float32Array.from(rows.flat()), bounds, 'minmax');
        assert.ok(out.every(Number.isFinite));
      } catch (error) {
        assert.is((error as SemanticVlaError).code, 'ACTION_NOT_FINITE');
        assert.ok(rows.flat().some((value) => !Number.isFinite(value)));
      }
    }),
    { numRuns: 500 },
  );
});

test('a chunk of another width than the statistics is refused', () => {
  refused(
    () => unnormalizeActions(new Float32Array(3), bounds, 'q99'),
    'STATISTICS_INVALID',
    /rows of 2 values .*found 3/,
  );
  refused(() => unnormalizeActions(new Float32Array(0), bounds, 'q99'), 'STATISTICS_INVALID', /found 0/);
});

test('discrete tokens: the last 255 ids before the padding, reversed, clipped', () => {
  const head = { bins: 256, tokenVocab: 32000 };
  const values = discreteActions([31999, 31998, 31745, 31744, 0, 32063], head);
  // Centres of numpy.linspace(-1, 1, 256): -1 + (bin + 0.5) * 2/255; float64, so 1e-15 is rounding.
  const centre = (bin: number) => -1 + (bin + 0.5) * (2 / 255);
  for (const [i, bin] of [0, 1, 254, 254, 254, 0].entries()) {
    assert.ok(Math.abs((values[i] as number) - centre(bin)) < 1e-15, `value ${i}`);
  }
  const coarse = discreteActions([9, 8, 7], { bins: 3, tokenVocab: 10 });
  assert.equal([...coarse], [-0.5, 0.5, 0.5]);
});

test('LIBERO gripper: open 1 -> -1, closed 0 -> 1', () => {
  assert.equal([1, 0.7, 0.3, 0].map(liberoGripper), [-1, -1, 1, 1]);
  assert.ok(liberoGripper(0.5) === 0);
});

test('dimension names', () => {
  assert.is(actionDimensions('libero', 7).join(' '), 'x y z roll pitch yaw gripper');
  assert.equal(actionDimensions('bridge', 7), actionDimensions('libero', 7));
  const aloha = actionDimensions('aloha', 14);
  assert.equal(
    [aloha.length, aloha[0], aloha[6], aloha[7], aloha[13]],
    [14, 'left_waist', 'left_gripper', 'right_waist', 'right_gripper'],
  );
  assert.is(new Set(aloha).size, 14);
  assert.equal(actionDimensions('custom', 2), ['action_0', 'action_1']);
  assert.equal(actionDimensions('libero', 1), ['action_0']);
});

test.run();
