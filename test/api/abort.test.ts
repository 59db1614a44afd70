import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Policy } from '../../lib/types.ts';
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

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('before, in the queue, while running: the reason comes back, the next prediction is right', async () => {
  await using policy = await openLibero();
  const observation = await liberoObservation('obs1');
  const options = { instruction: instructions[0] };
  const expected = numbers(await policy.predict(observation, options));

  const before = new Stopped('before');
  await abortedWith(policy.predict(observation, { ...options, signal: AbortSignal.abort(before) }), before);

  const controller = new AbortController();
  const queued = new AbortController();
  const running = policy.predict(observation, { ...options, signal: controller.signal });
  const ahead = Array.from({ length: 4 }, () => policy.predict(observation, options));
  const waiting = policy.predict(observation, { ...options, signal: queued.signal });
  const [first, second] = [new Stopped('queued'), new Stopped('running')];
  await turn();
  queued.abort(first);
  await abortedWith(waiting, first);
  controller.abort(second);
  await abortedWith(running, second);
  for (const chunk of await Promise.all(ahead)) assert.equal(numbers(chunk), expected);
  assert.equal(numbers(await policy.predict(observation, options)), expected);
});

test('given up in the queue is not computed: no backlog', async () => {
  await using policy = await openLibero();
  const observation = await liberoObservation();
  const options = { instruction: instructions[0] };
  await policy.predict(observation, options);
  const order: string[] = [];
  const controller = new AbortController();
  const first = policy.predict(observation, options).then(() => order.push('first'));
  const abandoned = Array.from({ length: 200 }, () =>
    policy.predict(observation, { ...options, signal: controller.signal }).catch(() => {
      order.push('abandoned');
    }),
  );
  // all are preprocessed and stand in the session's queue when the first answers
  await first;
  const start = performance.now();
  controller.abort();
  await Promise.all(abandoned);
  const { timings } = await policy.predict(observation, options);
  const waited = performance.now() - start;
  // 200 abandoned predictions would take 200 times one; up to a few that had begun are allowed, and a slow machine
  const one = timings.policy! + timings.preprocess!;
  assert.ok(waited < 60 * one + 250, `the next answer took ${waited} ms, one prediction takes ${one} ms`);
  assert.ok(order.filter((what) => what === 'abandoned').length > 150);
});

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
  let listeners = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    listeners += 1;
    add(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners -= 1;
    remove(...args);
  };
  for (let i = 0; i < 5; i++) await policy.predict(observation, { instruction: instructions[0], signal });
  await turn();
  assert.is(listeners, 0);
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
  // a thread that was stopped while it loaded ends a little later
  for (let waits = 0; waits < 100 && threadCount() > threads; waits++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.ok(threadCount() <= threads, `${threadCount()} threads, ${threads} before`);
});

test.run();
