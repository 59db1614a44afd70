/** Which instructions stay encoded, and when a dropped state is released. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { InstructionCache } from '../../lib/policy/instructionCache.ts';
import type { InstructionState } from '../../lib/runtime/session.ts';

const test = suite('instruction cache');

/** A cache whose states tell when they are made and given back. */
function recorded(max: number) {
  const cache = new InstructionCache(max);
  const encoded: string[] = [];
  const released: string[] = [];
  const state = (name: string) => ({ release: () => released.push(name) }) as unknown as InstructionState;
  const encode = (name: string) => async () => {
    encoded.push(name);
    return state(name);
  };
  const use = (name: string, body: () => Promise<void> = async () => {}) =>
    cache.use(name, encode(name), body);
  return { cache, encoded, released, use };
}

test('the one whose last use is longest ago goes first, and is given back', async () => {
  const { encoded, released, use } = recorded(2);
  for (const name of ['a', 'b', 'a', 'c', 'a', 'b']) await use(name);
  assert.equal(encoded, ['a', 'b', 'c', 'b']);
  assert.equal(released, ['b', 'c']);
});

test('one in use is given back when its last user is done, and not before', async () => {
  const { cache, released, use } = recorded(1);
  const ends: (() => void)[] = [];
  const long = () => new Promise<void>((resolve) => ends.push(resolve));
  const users = [use('a', long), use('a', long)];
  await use('b');
  assert.equal(released, []);
  ends[0]!();
  await users[0];
  assert.equal(released, []);
  ends[1]!();
  await users[1];
  await new Promise(setImmediate);
  assert.equal(released, ['a']);
  cache.clear();
  await new Promise(setImmediate);
  assert.equal(released, ['a', 'b']);
});

test('users at once share one encoding; one that fails is not kept', async () => {
  const { cache, encoded, released, use } = recorded(2);
  await Promise.all([use('a'), use('a'), use('a')]);
  assert.equal(encoded, ['a']);
  let attempts = 0;
  const failing = async (): Promise<InstructionState> => {
    attempts++;
    throw new Error('out of memory');
  };
  for (let i = 0; i < 2; i++) {
    const error = await cache.use('b', failing, async () => {}).catch((reason: Error) => reason);
    assert.is((error as Error).message, 'out of memory');
  }
  assert.is(attempts, 2);
  await use('c');
  await use('a');
  assert.equal(encoded, ['a', 'c'], 'the failed one took no place');
  assert.equal(released, []);
});

test.run();
