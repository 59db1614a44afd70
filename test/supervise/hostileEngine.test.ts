/** No message of an engine makes a call hang, is returned as a chunk unchecked, or ends supervision. */

import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readMessage } from '../../lib/supervise/engineReply.ts';
import type { SupervisedPolicy } from '../../lib/supervise/supervisedPolicy.ts';
import { type SuperviseOptions, superviseEngine } from '../../lib/supervise/superviseEngine.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { testWhen } from '../helpers/skip.ts';
import { brokenChunks } from '../support/chunks.ts';
import { type HostileOptions, nonsense } from './hostileEngine.ts';

const test = suite('hostile engines');
const module = fileURLToPath(new URL('./hostileEngine.ts', import.meta.url));

function supervise(
  engine: HostileOptions = {},
  options: Partial<SuperviseOptions> = {},
): Promise<SupervisedPolicy> {
  return superviseEngine({
    engine: { module, options: { ...engine } },
    // a call that hangs would end with another code, much later
    deadlineMs: 120_000,
    silenceMs: 60_000,
    backoff: { firstMs: 1, factor: 1, giveUpAfter: 1e9 },
    ...options,
  });
}

const seen = (joint: number, call = 0) => ({ images: {}, state: [joint, call] });

async function errorOf(promise: Promise<unknown>): Promise<SemanticVlaError> {
  try {
    await promise;
  } catch (error) {
    assert.instance(error, SemanticVlaError, String(error));
    return error as SemanticVlaError;
  }
  throw new Error('was answered');
}

/** One after the other: nonsense, ENGINE_LOST, an answer of the next engine. */
async function survives(kinds: readonly string[], transport: 'shared' | 'pipe'): Promise<void> {
  await using policy = await supervise({}, { transport });
  for (const [i, kind] of kinds.entries()) {
    const { code, message } = await errorOf(policy.predict(seen(5, 2 * i + 1), { instruction: kind }));
    assert.is(code, 'ENGINE_LOST', `${kind}: ${message}`);
    await policy.whenReady();
    const { actions } = await policy.predict(seen(i), { instruction: 'go' });
    assert.equal([...actions], [i, 1 / 8, 2 / 8], kind);
  }
  assert.is(policy.counters.losses.protocol, kinds.length);
  assert.is(policy.counters.restarts, kinds.length);
}

test('well-framed nonsense is ENGINE_LOST, and the next engine answers', () =>
  survives(['error null', 'chunk without arrays', 'stages in the place of a chunk'], 'shared'));

const long = process.env.SEMANTICVLA_LONG_TESTS === '1';
for (const transport of ['shared', 'pipe'] as const) {
  testWhen(long, 'SEMANTICVLA_LONG_TESTS=1', test, `${transport}: every kind of nonsense`, () =>
    survives(Object.keys(nonsense), transport),
  );
}

test('nonsense at the start is said at once, and promises no other engine', async () => {
  const starts = ['ready null', 'ready without dimensions', 'an answer', 'exit'] as const;
  await Promise.all(
    starts.map(async (start) => {
      const { code, message } = await errorOf(supervise({ start }));
      assert.is(code, 'ENGINE_LOST', start);
      assert.match(message, /no other is started/, start);
    }),
  );
});

test('a module that gives no policy is refused by name', async () => {
  for (const gives of [null, 5, {}, { platform: {}, dimensions: [] }]) {
    const { code, message } = await errorOf(supervise({ gives }));
    assert.is(code, 'OPTION_INVALID', message);
  }
});

test('a broken chunk of a user’s own policy has its code, and costs no engine', async () => {
  await using policy = await supervise();
  for (const [name, { code }] of Object.entries(brokenChunks)) {
    const error = await errorOf(policy.predict(seen(5), { instruction: `module ${name}` }));
    assert.is(error.code, code, `${name}: ${error.message}`);
  }
  assert.is((await errorOf(policy.stages(seen(5), { instruction: 'bad' }))).code, 'STAGES_INVALID');
  assert.is((await policy.stages(seen(5), { instruction: 'good' })).size, 1);
  assert.is((await policy.predict(seen(7), { instruction: 'go' })).actions[0], 7);
  assert.is(policy.counters.restarts, 0);
});

const facts = {
  platform: { name: 'custom' as const, cameras: [], chunk: 1 },
  dimensions: ['x'],
  variant: 'v',
  imageSize: 0,
  patchGrid: 0,
} as unknown as NonNullable<Parameters<typeof readMessage>[2]['facts']>;
const chunk = {
  actions: 0,
  normalized: 1,
  shape: [1, 1],
  dimensions: ['x'],
  keptPatches: {},
  similarity: {},
  timings: {},
  instruction: 'go',
  unnormKey: 'k',
};
const arrays = [Float64Array.of(1), Float32Array.of(1)];

test('an answer is taken in its own call alone', () => {
  const message = { kind: 'chunk', id: 3, ms: 1, chunk };
  const call = { id: 3, kind: 'predict' as const };
  assert.is(readMessage(message, arrays, { facts, call }).kind, 'chunk');
  for (const wrong of [
    { facts, call: null },
    { facts: null, call },
    { facts, call: { ...call, id: 4 } },
    { facts, call: { ...call, kind: 'stages' as const } },
  ]) {
    assert.throws(() => readMessage(message, arrays, wrong), Error);
  }
});

test('whatever it says, it is read or refused', () => {
  const values = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom('chunk', 'error', 'stages', 'ready', 'beat', 3, chunk),
  );
  const messages = fc.oneof(
    { weight: 1, arbitrary: fc.jsonValue() },
    {
      weight: 4,
      arbitrary: fc.record(
        {
          kind: fc.constantFrom('chunk', 'error', 'stages', 'ready', 'refused', 'beat', 'other'),
          id: fc.oneof(fc.constant(3), values),
          ms: fc.oneof(fc.constant(1), values),
          chunk: fc.oneof(
            fc.constant(chunk),
            values,
            fc
              .dictionary(fc.constantFrom(...Object.keys(chunk)), values)
              .map((change) => ({ ...chunk, ...change })),
          ),
          error: fc.oneof(fc.constant({ code: 'CLOSED', message: 'x' }), values),
          stages: fc.oneof(fc.constant([{ name: 'a', dtype: 'F32', shape: [1], data: 1 }]), values),
          facts: fc.oneof(fc.constant(facts), values),
        },
        { requiredKeys: [] },
      ),
    },
  );
  const heard: Record<string, number> = {};
  fc.assert(
    fc.property(messages, fc.boolean(), fc.constantFrom('predict', 'stages'), (message, ready, kind) => {
      let found = 'refused as nonsense';
      try {
        const call = { id: 3, kind: kind as 'predict' | 'stages' };
        const read = readMessage(message, arrays, { facts: ready ? facts : null, call });
        found = read.kind;
        if (read.kind === 'chunk') assert.equal([...read.chunk.actions], [1]);
        if (read.kind === 'error') assert.instance(read.error, SemanticVlaError);
      } catch (error) {
        assert.instance(error, Error);
        assert.not.instance(error, assert.Assertion);
      }
      heard[found] = (heard[found] ?? 0) + 1;
    }),
    { numRuns: 4000 },
  );
  for (const kind of ['chunk', 'stages', 'error', 'ready', 'refused', 'beat', 'refused as nonsense'])
    assert.ok(heard[kind]! > 0, `${kind}: ${JSON.stringify(heard)}`);
});

test.run();
