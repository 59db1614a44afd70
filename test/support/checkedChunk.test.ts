import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { checkedChunk, mostRows } from '../../lib/support/checkedChunk.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import type { ActionChunk } from '../../lib/types.ts';
import { brokenChunks, goodChunk } from './chunks.ts';

const test = suite('the door for chunks');
const policy = { dimensions: ['x', 'y', 'z'], patchGrid: 16 };

function codeOf(chunk: unknown, facts: Parameters<typeof checkedChunk>[1] = policy): string {
  try {
    checkedChunk(chunk, facts);
  } catch (error) {
    assert.instance(error, SemanticVlaError, String(error));
    return (error as SemanticVlaError).code;
  }
  return 'taken';
}

test('a chunk as a policy promises it comes out equal', () => {
  const chunk = goodChunk(4);
  assert.equal({ ...checkedChunk(chunk, policy) }, { ...chunk });
  const bare = { ...chunk, normalized: new Float32Array(0), keptPatches: {}, similarity: {}, timings: {} };
  assert.equal({ ...checkedChunk(bare, { dimensions: policy.dimensions }) }, bare);
});

test('every kind of nonsense has a code', () => {
  for (const [name, { code, make }] of Object.entries(brokenChunks)) {
    assert.is(codeOf(make(goodChunk(4))), code, name);
  }
});

test('a chunk has at most so many rows', () => {
  const rows = (n: number): ActionChunk => goodChunk(n);
  assert.is(codeOf(rows(mostRows)), 'taken');
  assert.is(codeOf(rows(mostRows + 1)), 'CHUNK_INVALID');
});

test('the sender may use its memory again', () => {
  const sent = goodChunk(2);
  const taken = checkedChunk(sent, policy);
  const before = [...taken.actions];
  sent.actions.fill(Number.NaN);
  sent.normalized.fill(Number.NaN);
  (sent.shape as [number, number])[0] = 9;
  (sent.timings as Record<string, number>).total = Number.NaN;
  (sent.keptPatches as Record<string, unknown>).full_image = null;
  assert.equal([...taken.actions], before);
  assert.equal(taken.shape, [2, 3]);
  assert.is(taken.timings.total, 1);
  assert.instance(taken.keptPatches.full_image, Int32Array);
  assert.throws(() => {
    (taken as { actions: unknown }).actions = null;
  });
});

test('memory that another thread writes is read once', () => {
  const shared = new Float64Array(new SharedArrayBuffer(6 * 8));
  const taken = checkedChunk({ ...goodChunk(2), actions: shared }, policy);
  shared.fill(Number.NaN);
  assert.ok(taken.actions.every((value) => value === 0));
});

test('a field that changes between two looks is looked at once', () => {
  const chunk = goodChunk(2);
  let looks = 0;
  const taken = checkedChunk(
    Object.defineProperty({ ...chunk }, 'actions', {
      get: () => (looks++ === 0 ? chunk.actions : new Float64Array([Number.NaN])),
    }),
    policy,
  );
  assert.equal([...taken.actions], [...chunk.actions]);
});

test('whatever it is given, nothing but a code comes out', () => {
  const parts = fc.oneof(
    fc.anything({ withTypedArray: true, withNullPrototype: true, withBigInt: true, withSet: true }),
    fc.constantFrom(...Object.values(goodChunk(2))),
  );
  const chunks = fc.record(
    Object.fromEntries(
      Object.entries(goodChunk(2)).map(([name, value]) => [
        name,
        fc.oneof({ weight: 6, arbitrary: fc.constant(value) }, { weight: 1, arbitrary: parts }),
      ]),
    ),
    { requiredKeys: [] },
  );
  const codes = new Set<string>();
  fc.assert(
    fc.property(fc.oneof(fc.anything(), chunks), (chunk) => {
      codes.add(codeOf(chunk));
    }),
    { numRuns: 3000 },
  );
  assert.ok(codes.has('taken') && codes.has('CHUNK_INVALID'), [...codes].join());
});

test('one value that is not finite, anywhere, and none is used', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('actions' as const, 'normalized' as const),
      fc.integer({ min: 0, max: 11 }),
      fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY),
      (field, at, value) => {
        const chunk = goodChunk(4);
        chunk[field][at] = value;
        assert.throws(
          () => checkedChunk(chunk, policy, 'chunk of a test'),
          (error: SemanticVlaError) =>
            error.code === 'ACTION_NOT_FINITE' &&
            error.message.includes(
              `chunk of a test.${field}, found ${value} in row ${Math.floor(at / 3)}, dimension ${'xyz'[at % 3]}`,
            ),
        );
      },
    ),
  );
});

test.run();
