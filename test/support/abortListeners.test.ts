/** Many calls of every kind on a signal that outlives them: however they end, no listener is left. */

import { getEventListeners } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { NativeCpuWork } from '../../lib/addon/binding.ts';
import type { Reply, Request } from '../../lib/addon/onnxMessages.ts';
import { RequestQueue } from '../../lib/runtime/requestQueue.ts';
import { asynchronous } from '../../lib/schedule/asynchronous.ts';
import { startControlLoop } from '../../lib/schedule/controlLoop.ts';
import { parseLatency } from '../../lib/schedule/latency.ts';
import { simulatedPolicy } from '../../lib/schedule/simulatedPolicy.ts';
import { VirtualClock } from '../../lib/schedule/virtualClock.ts';
import { InferenceSlot } from '../../lib/serve/inferenceSlot.ts';
import type { Policy } from '../../lib/types.ts';

const test = suite('listeners on a signal');
const calls = 1000;

const listeners = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length;

/** How many were answered and how many refused. */
async function ends(promises: readonly Promise<unknown>[]): Promise<{ answered: number; refused: number }> {
  const all = await Promise.allSettled(promises);
  const answered = all.filter(({ status }) => status === 'fulfilled').length;
  return { answered, refused: all.length - answered };
}

function simulated(clock: VirtualClock, failing = 0): Policy {
  return simulatedPolicy({
    dimensions: ['p'],
    chunk: 4,
    latency: parseLatency('constant(1)'),
    failing,
    clock,
  });
}

test('the helper is the only one in lib/ that listens for an abort', () => {
  const lib = join(import.meta.dirname, '../../lib');
  const files = readdirSync(lib, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  assert.ok(files.length > 300, `${files.length} files`);
  const listening = files.filter((file) =>
    /addEventListener\(\s*['"`]abort|\bonabort\b|\baddAbortListener\b|\b(once|on)\([^()]*[sS]ignal,\s*['"`]abort/.test(
      readFileSync(join(lib, file), 'utf8'),
    ),
  );
  assert.equal(listening, ['support/abort.ts']);
});

test('simulated calls that are answered, that fail and that are given up', async () => {
  for (const failing of [0, 1]) {
    const clock = new VirtualClock();
    const { signal } = new AbortController();
    const policy = simulated(clock, failing);
    const asked = Array.from({ length: calls }, () =>
      policy.predict({ images: {} }, { instruction: 'go', signal }),
    );
    const ended = ends(asked);
    assert.is(listeners(signal), calls);
    await clock.runUntil(2 * calls);
    assert.equal(await ended, { answered: failing ? 0 : calls, refused: failing ? calls : 0 });
    assert.is(listeners(signal), 0);
  }
  const clock = new VirtualClock();
  const controller = new AbortController();
  const policy = simulated(clock);
  const asked = Array.from({ length: calls }, () =>
    policy.predict({ images: {} }, { instruction: 'go', signal: controller.signal }),
  );
  const ended = ends(asked);
  controller.abort();
  assert.equal(await ended, { answered: 0, refused: calls });
  assert.is(listeners(controller.signal), 0);
});

test('an observation that aborts its own call is refused and holds nothing up', async () => {
  const clock = new VirtualClock();
  const controller = new AbortController();
  const policy = simulatedPolicy({
    dimensions: ['p'],
    chunk: 1,
    latency: parseLatency('constant(1)'),
    clock,
    rows: ({ index }) => {
      if (index === 0) controller.abort(new Error('enough'));
      return new Float64Array(1);
    },
  });
  const { signal } = controller;
  const first = ends([policy.predict({ images: {} }, { instruction: 'go', signal })]);
  const second = policy.predict({ images: {} }, { instruction: 'go' });
  assert.equal(await first, { answered: 0, refused: 1 });
  await clock.runUntil(1);
  assert.is((await second).timings.total, 1);
});

test('control loops that are stopped, and one after the other on the same scheduler', async () => {
  const clock = new VirtualClock();
  const { signal } = new AbortController();
  const policy = simulated(clock);
  for (let i = 0; i < 50; i++) {
    const scheduler = asynchronous(policy, {
      space: { name: 'one', dimensions: [{ name: 'p', kind: 'position', unit: 'm' }] },
      clock,
    });
    const loop = startControlLoop({
      scheduler,
      rate: 20,
      maxAge: 1000,
      instruction: 'go',
      clock,
      signal,
      observe: () => ({ observation: { images: {} }, at: clock.now() }),
      act: () => {},
    });
    assert.is(listeners(signal), 1);
    await clock.runUntil(clock.now() + 200);
    await loop.stop();
    assert.ok(loop.counters.executed > 0);
    assert.is(listeners(signal), 0);
  }
});

test('requests of a server that run, are superseded and are drained', async () => {
  const slot = new InferenceSlot();
  const callers = Array.from({ length: calls }, () => new AbortController());
  const asker = { client: 'one' };
  let answer = (): void => {};
  const work = (): Promise<void> =>
    new Promise((resolve) => {
      answer = resolve;
    });
  const ended = ends(callers.map((caller) => slot.run(work, asker, caller)));
  const held = (): number => callers.reduce((sum, { signal }) => sum + listeners(signal), 0);
  // one runs, and the newest of the others waits
  assert.is(held(), 1);
  answer();
  await new Promise(setImmediate);
  answer();
  assert.equal(await ended, { answered: 2, refused: calls - 2 });
  assert.is(held(), 0);
  const running = slot.run(work, asker, callers[0]!);
  const waiting = ends([slot.run(work, asker, callers[1]!)]);
  assert.is(held(), 1);
  const drained = slot.drain();
  assert.equal(await waiting, { answered: 0, refused: 1 });
  assert.is(held(), 0);
  answer();
  await Promise.all([running, drained]);
});

test('requests to the inference thread', async () => {
  const controller = new AbortController();
  const { signal } = controller;
  const threads: (() => void)[] = [];
  const queue = new RequestQueue(
    (): NativeCpuWork => ({
      done: new Promise((resolve) => threads.push(() => resolve({} as Reply))),
      cancel: () => {},
    }),
  );
  const send = () => queue.send({} as Request, signal);
  const ended = ends(Array.from({ length: calls }, send));
  for (let i = 0; i < calls; i++) {
    while (threads.length === 0) await new Promise(setImmediate);
    threads.shift()!();
  }
  assert.equal(await ended, { answered: calls, refused: 0 });
  assert.is(listeners(signal), 0);
  const late = ends(Array.from({ length: calls }, send));
  assert.is(listeners(signal), calls);
  controller.abort();
  assert.equal(await late, { answered: 0, refused: calls });
  assert.is(listeners(signal), 0);
});

test.run();
