import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ActionChunk, Policy } from '../../lib/types.ts';
import { instructions, liberoObservation, numbers, openLibero } from './libero.ts';

const test = suite('many callers');

/** 2 observations x 4 instructions, one after the other. */
async function sequential(policy: Policy): Promise<ActionChunk[]> {
  const chunks: ActionChunk[] = [];
  for (const name of ['obs0', 'obs1'] as const) {
    const observation = await liberoObservation(name);
    for (const instruction of instructions.slice(0, 4)) {
      chunks.push(await policy.predict(observation, { instruction }));
    }
  }
  return chunks;
}

test('32 callers, 4 instructions, 2 observations: each gets what it would get alone', async () => {
  await using policy = await openLibero();
  const expected = (await sequential(policy)).map(numbers);
  const distinct = new Set(expected.map((value) => JSON.stringify(value)));
  assert.is(distinct.size, 8, 'a mix-up would show');
  // a separate policy, so that instructions are encoded concurrently too; the cache holds fewer than there are
  await using fresh = await openLibero({ instructionCache: 2 });
  const observations = [await liberoObservation('obs0'), await liberoObservation('obs1')] as const;
  const calls = Array.from({ length: 32 }, async (_, i) => {
    const pair = (i * 5) % 8;
    const chunk = await fresh.predict(observations[pair < 4 ? 0 : 1], {
      instruction: instructions[pair % 4]!,
    });
    assert.equal(numbers(chunk), expected[pair], `caller ${i}`);
    assert.is(chunk.instruction, instructions[pair % 4]);
  });
  await Promise.all(calls);
});

test('instructions that are named at load are encoded by then, and change nothing', async () => {
  const known = instructions.slice(0, 3);
  await using warm = await openLibero({ instructions: known, frameSize: [320, 200] });
  await using cold = await openLibero();
  const observation = await liberoObservation();
  for (const [i, instruction] of instructions.slice(0, 4).entries()) {
    const chunk = await warm.predict(observation, { instruction });
    assert.is(chunk.timings.instruction === 0, i < 3, instruction);
    assert.equal(numbers(chunk), numbers(await cold.predict(observation, { instruction })));
  }
});

test('two policies at once do not meet', async () => {
  await using first = await openLibero();
  await using second = await openLibero({ weights: 'mapped' });
  const observation = await liberoObservation();
  const [a, b] = await Promise.all([
    first.predict(observation, { instruction: instructions[0] }),
    second.predict(observation, { instruction: instructions[1] }),
  ]);
  await first.close();
  const after = await second.predict(observation, { instruction: instructions[1] });
  assert.equal(numbers(after), numbers(b));
  assert.not.equal(numbers(a), numbers(b));
});

test('the event loop turns while predictions run', async () => {
  await using policy = await openLibero();
  const observation = await liberoObservation('obs1');
  const options = { instruction: instructions[0] };
  await policy.predict(observation, options);
  let turns = 0;
  let running = true;
  const turn = () => {
    turns += 1;
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  const chunks = await Promise.all(Array.from({ length: 8 }, () => policy.predict(observation, options)));
  running = false;
  // If the model ran on this thread, the loop would turn only a few times per prediction. 100 turns take a few milliseconds;
  // the 8 predictions take tens of times as long on any machine.
  assert.ok(turns > 100, `${turns} turns in ${chunks[0]!.timings.total} ms`);
});

test('an instruction cache of 2 with 5 instructions: results stay, states go', async () => {
  await using policy = await openLibero({ instructionCache: 2 });
  await using roomy = await openLibero({ instructionCache: 5 });
  const observation = await liberoObservation();
  for (let round = 0; round < 3; round++) {
    for (const instruction of instructions) {
      const small = await policy.predict(observation, { instruction });
      const large = await roomy.predict(observation, { instruction });
      assert.equal(numbers(small), numbers(large), instruction);
      // evicted before its next turn, so it is encoded again each time
      assert.ok(small.timings.instruction! > 0);
      assert.is(large.timings.instruction! > 0, round === 0);
    }
  }
  const kept = await policy.predict(observation, { instruction: instructions.at(-1)! });
  assert.is(kept.timings.instruction, 0, 'the latest two are there');
});

test('a sentence that cannot be encoded fails each time and harms no other', async () => {
  await using policy = await openLibero({ instructionCache: 1 });
  const observation = await liberoObservation();
  const good = numbers(await policy.predict(observation, { instruction: instructions[0] }));
  const long = 'move '.repeat(80);
  for (let i = 0; i < 3; i++) {
    const failures = await Promise.allSettled([
      policy.predict(observation, { instruction: long }),
      policy.predict(observation, { instruction: long }),
    ]);
    for (const failure of failures) {
      assert.is(failure.status, 'rejected');
      assert.match(String((failure as PromiseRejectedResult).reason), /tokens/);
    }
    const again = await policy.predict(observation, { instruction: instructions[0] });
    assert.equal(numbers(again), good);
  }
});

test.run();
