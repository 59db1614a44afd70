import { getEventListeners } from 'node:events';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { OnnxThread } from '../../lib/runtime/onnxThread.ts';
import type { Observation, Policy, PredictOptions } from '../../lib/types.ts';
import { instructions, liberoObservation, numbers, openLibero, threadCount } from './libero.ts';

const test = suite('AbortSignal');

class Stopped extends Error {}

async function abortedWith(promise: Promise<unknown>, reason: unknown): Promise<void> {
  try {
    await promise;
  } catch (error) {
    assert.is(error, reason);
    return;
  }
  assert.unreachable('expected the abort reason');
}

/**
 * A prediction and a way to abort it, which returns whether it did so in time; then the prediction must have rejected with the
 * reason.
 */
function abortable(policy: Policy, observation: Observation, options: PredictOptions) {
  const controller = new AbortController();
  let answered = false;
  const settled = policy.predict(observation, { ...options, signal: controller.signal }).then(
    () => {
      answered = true;
      return null;
    },
    (error: unknown) => ({ error }),
  );
  return {
    async giveUp(name: string): Promise<boolean> {
      const inTime = !answered;
      const reason = new Stopped(name);
      controller.abort(reason);
      const outcome = await settled;
      if (inTime) assert.is(outcome?.error, reason);
      return inTime;
    },
  };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('before, in the queue, while running: the reason comes back, the next prediction is right', async () => {
  await using policy = await openLibero();
  const observation = await liberoObservation('obs1');
  const options = { instruction: instructions[0] };
  const expected = numbers(await policy.predict(observation, options));

  const before = new Stopped('before');
  await abortedWith(policy.predict(observation, { ...options, signal: AbortSignal.abort(before) }), before);

  // This thread may be delayed until a prediction has answered and nothing is left to abort: then try once more.
  const caught = { queued: 0, running: 0 };
  for (let tries = 0; tries < 100 && (caught.queued === 0 || caught.running === 0); tries++) {
    const running = abortable(policy, observation, options);
    const ahead = Array.from({ length: 4 }, () => policy.predict(observation, options));
    const queued = abortable(policy, observation, options);
    await turn();
    if (await queued.giveUp('queued')) caught.queued += 1;
    if (await running.giveUp('running')) caught.running += 1;
    for (const chunk of await Promise.all(ahead)) assert.equal(numbers(chunk), expected);
  }
  assert.ok(caught.queued > 0 && caught.running > 0, JSON.stringify(caught));
  assert.equal(numbers(await policy.predict(observation, options)), expected);
});

/** Counts the predictions passed to the inference threads of this process while `body` ran. */
async function countGiven(body: (given: () => number) => Promise<void>): Promise<void> {
  const { start } = OnnxThread.prototype;
  let given = 0;
  OnnxThread.prototype.start = function (request) {
    if (request.kind === 'run') given += 1;
    return start.call(this, request);
  };
  try {
    await body(() => given);
  } finally {
    OnnxThread.prototype.start = start;
  }
}

test('given up in the queue is not computed: no backlog', () =>
  countGiven(async (given) => {
    await using policy = await openLibero();
    const observation = await liberoObservation();
    const options = { instruction: instructions[0] };
    await policy.predict(observation, options);
    assert.is(given(), 1);
    const controller = new AbortController();
    const count = { answered: 0, abandoned: 0 };
    const first = policy.predict(observation, options);
    const abandoned = Array.from({ length: 200 }, () =>
      policy.predict(observation, { ...options, signal: controller.signal }).then(
        () => {
          count.answered += 1;
        },
        () => {
          count.abandoned += 1;
        },
      ),
    );
    // all are preprocessed and in the queue of the session when the first one answers
    await first;
    const answeredBefore = count.answered;
    const givenBefore = given();
    controller.abort();
    await Promise.all(abandoned);
    await policy.predict(observation, options);
    // the thread gets a request when it is about to be free: after the signal only the last one
    assert.is(given(), givenBefore + 1);
    assert.ok(givenBefore < 200, `${givenBefore} begun, ${answeredBefore} of 200 answered`);
    // whatever had not answered when the signal came is abandoned
    assert.equal(count, { answered: answeredBefore, abandoned: 200 - answeredBefore });
    assert.ok(answeredBefore < 200, 'some were given up');
  }));

test('one caller gives up while an instruction is encoded: the others still get it', async () => {
  await using policy = await openLibero();
  const observation = await liberoObservation();
  const instruction = instructions[2];
  const controller = new AbortController();
  const reason = new Stopped('first caller');
  const gone = policy.predict(observation, { instruction, signal: controller.signal });
  const stays = policy.predict(observation, { instruction });
  controller.abort(reason);
  await abortedWith(gone, reason);
  assert.is((await stays).instruction, instruction);
});

test('200 predictions given up at any moment leave nothing behind', async () => {
  await using policy = await openLibero();
  const observation = await liberoObservation();
  const options = { instruction: instructions[0] };
  const expected = numbers(await policy.predict(observation, options));
  const threads = threadCount();
  const resources = process.getActiveResourcesInfo().length;
  let aborted = 0;
  for (let i = 0; i < 200; i++) {
    const controller = new AbortController();
    const prediction = policy.predict(observation, { ...options, signal: controller.signal });
    for (let turns = 0; turns < i % 12; turns++) await turn();
    controller.abort(new Stopped(`${i}`));
    await prediction.catch((error) => {
      assert.instance(error, Stopped);
      aborted += 1;
    });
  }
  assert.ok(aborted > 20, `only ${aborted} of 200 were aborted in time`);
  assert.equal(numbers(await policy.predict(observation, options)), expected);
  assert.ok(threadCount() <= threads, 'no thread was added');
  assert.ok(process.getActiveResourcesInfo().length <= resources, 'no handle was added');
});

test('listeners on a long-lived signal are taken off again', async () => {
  await using policy = await openLibero();
  const observation = await liberoObservation();
  const { signal } = new AbortController();
  for (let i = 0; i < 10; i++) {
    const options = { instruction: instructions[i % 2]!, signal };
    await Promise.all(Array.from({ length: 10 }, () => policy.predict(observation, options)));
  }
  await turn();
  assert.equal(getEventListeners(signal, 'abort'), []);
});

test('while loading: the reason, no policy, no thread', async () => {
  await (await openLibero()).close();
  const threads = threadCount();
  let loaded = 0;
  for (let i = 0; i < 12; i++) {
    const controller = new AbortController();
    const reason = new Stopped(`load ${i}`);
    setTimeout(() => controller.abort(reason), i * 15);
    let policy: Policy | null = null;
    try {
      policy = await openLibero({ signal: controller.signal });
      loaded += 1;
    } catch (error) {
      assert.is(error, reason);
    }
    await policy?.close();
  }
  assert.ok(loaded < 12, 'some were aborted');
  const late = new Stopped('late');
  await abortedWith(openLibero({ signal: AbortSignal.abort(late) }), late);
  // a thread that was stopped while loading ends a little later
  for (let waits = 0; waits < 100 && threadCount() > threads; waits++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.ok(threadCount() <= threads, `${threadCount()} threads, ${threads} before`);
});

test.run();
