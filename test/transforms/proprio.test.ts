import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Bounds } from '../../lib/checkpoint/checkpoint.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { normalizeProprio } from '../../lib/transforms/proprio.ts';
import { goldenBounds, goldenCase, goldenState, goldenTensor, policies } from './goldenCase.ts';

const test = suite('proprio');

const bounds: Bounds = { q01: [-1, 0], q99: [1, 4], min: [-2, -1], max: [2, 5], mask: [true, true] };

test('equal to the reference on every golden', () => {
  let compared = 0;
  for (const policy of policies) {
    const { samples, normalization } = goldenCase(policy);
    for (const sample of samples) {
      const golden = goldenSafely(policy, sample.golden);
      if (golden === null) continue;
      const state = goldenState(policy, sample.observation);
      const actual = normalizeProprio(
        state,
        goldenBounds(policy, sample.unnorm_key, 'proprio'),
        normalization,
      );
      // The same float64 operations, rounded once: equal to the bit.
      assert.equal(actual, golden, `${policy} ${sample.golden}`);
      compared++;
    }
  }
  assert.ok(compared >= policies.length, `${compared} compared`);
});

/** Only the samples with all stages contain it. */
function goldenSafely(policy: (typeof policies)[number], file: string): Float32Array | null {
  try {
    return goldenTensor(policy, file, 'proprio.normalized');
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}

test('by quantiles or by extremes, clipped, unmasked dimensions only clipped', () => {
  const close = (actual: Float32Array, expected: number[]) => {
    // 1e-8 in the denominator moves values by 1e-8 at most; float32 by 6e-8.
    for (const [i, value] of expected.entries()) assert.ok(Math.abs((actual[i] as number) - value) < 1e-7);
    assert.is(actual.length, expected.length);
  };
  close(normalizeProprio([0.5, 1], bounds, 'q99'), [0.5, -0.5]);
  close(normalizeProprio([0.5, 2], bounds, 'minmax'), [0.25, 0]);
  close(normalizeProprio([9, -9], bounds, 'q99'), [1, -1]);
  close(normalizeProprio([0.5, 9], { ...bounds, mask: [false, false] }, 'q99'), [0.5, 1]);
});

test('a dimension that never moved does not divide by zero', () => {
  const still: Bounds = { ...bounds, q01: [3, 0], q99: [3, 4] };
  assert.equal(normalizeProprio([3, 0], still, 'q99'), new Float32Array([-1, -1]));
  // Half of the 1e-8 in the denominator above low: 0, but for the float64 spacing at 3 (4e-16) over 1e-8.
  assert.ok(Math.abs(normalizeProprio([3 + 5e-9, 0], still, 'q99')[0] as number) < 1e-6);
});

test('the state is not modified; typed arrays serve', () => {
  const state = Object.freeze([0.25, 3]) as readonly number[];
  const fromList = normalizeProprio(state, bounds, 'q99');
  const typed = new Float64Array([0.25, 3]);
  assert.equal(normalizeProprio(typed, bounds, 'q99'), fromList);
  assert.equal(typed, new Float64Array([0.25, 3]));
});

function refused(state: unknown, message: RegExp): void {
  assert.throws(
    () => normalizeProprio(state as number[], bounds, 'q99'),
    (error: unknown) => {
      assert.instance(error, SemanticVlaError);
      assert.is((error as SemanticVlaError).code, 'STATE_INVALID');
      assert.match((error as SemanticVlaError).message, message);
      return true;
    },
  );
}

test('what is no state is refused', () => {
  refused(undefined, /Expected 2 numbers for state but received undefined/);
  refused(null, /received null of type null/);
  refused('ab', /received "ab" of type string/);
  refused({ 0: 1, 1: 2, length: 2 }, /of type Object/);
  refused(new DataView(new ArrayBuffer(16)), /of type DataView/);
  refused([1], /Expected 2 numbers for state but received 1\./);
  refused([1, 2, 3], /but received 3\./);
  refused([1, Number.NaN], /a finite number for state\[1\] but received NaN/);
  refused([Number.POSITIVE_INFINITY, 1], /state\[0\] but received Infinity/);
  refused([1, '2'], /state\[1\] but received "2" of type string/);
  refused([1, undefined], /state\[1\] but received undefined/);
  refused([1, null], /state\[1\] but received null/);
  refused(new BigInt64Array(2), /state\[0\] but received 0n of type bigint/);
  // biome-ignore lint/suspicious/noSparseArray: a hole is what is tested
  refused([1, ,], /state\[1\] but received undefined/);
});

test('property: any state gives values in [-1, 1] or a typed error', () => {
  const value = fc.oneof(fc.double(), fc.anything());
  fc.assert(
    fc.property(
      fc.oneof(fc.array(value, { maxLength: 3 }), fc.tuple(fc.double(), fc.double()), fc.anything()),
      (state) => {
        try {
          const out = normalizeProprio(state as number[], bounds, 'q99');
          assert.ok(out.every((x) => x >= -1 && x <= 1));
        } catch (error) {
          assert.instance(error, SemanticVlaError);
        }
      },
    ),
    { numRuns: 500 },
  );
});

test.run();
