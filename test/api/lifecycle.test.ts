import { rmSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadPolicy } from '../../lib/policy.ts';
import type { Policy } from '../../lib/types.ts';
import { goldenCopy } from '../helpers/golden.ts';
import {
  instructions,
  liberoObservation,
  numbers,
  openLibero,
  rejects,
  runProgram,
  unnormKey,
} from './libero.ts';

const test = suite('life of a policy');

test('close: twice is fine, later calls are CLOSED', async () => {
  const policy = await openLibero();
  const observation = await liberoObservation();
  await policy.predict(observation, { instruction: instructions[0] });
  await Promise.all([policy.close(), policy.close()]);
  await policy.close();
  await rejects(policy.predict(observation, { instruction: instructions[0] }), 'CLOSED', /loadPolicy/);
  await rejects(policy.stages(observation, { instruction: instructions[0] }), 'CLOSED');
});

test('close while predicting: everything settles, with an answer or CLOSED', async () => {
  for (const delay of [0, 1, 5, 20]) {
    const policy = await openLibero();
    const observation = await liberoObservation('obs1');
    const calls = Array.from({ length: 12 }, (_, i) =>
      policy.predict(observation, { instruction: instructions[i % 3]! }),
    );
    const settled = Promise.allSettled(calls);
    await new Promise((resolve) => setTimeout(resolve, delay));
    await policy.close();
    for (const result of await settled) {
      if (result.status === 'rejected') assert.is(result.reason.code, 'CLOSED', String(result.reason));
    }
  }
});

test('await using closes', async () => {
  let kept: Policy;
  {
    await using policy = await openLibero();
    kept = policy;
  }
  await rejects(kept.predict(await liberoObservation(), { instruction: instructions[0] }), 'CLOSED');
});

for (const weights of ['folded', 'mapped'] as const) {
  test(`the checkpoint is deleted after loading, weights ${weights}: still the same actions`, async () => {
    const observation = await liberoObservation();
    const task = { instruction: instructions[0] };
    const dir = goldenCopy('libero-tiny');
    await using policy = await loadPolicy(dir, { platform: 'libero', unnormKey, weights });
    const before = numbers(await policy.predict(observation, task));
    rmSync(dir, { recursive: true });
    assert.equal(numbers(await policy.predict(observation, task)), before);
    const other = await policy.predict(observation, { instruction: instructions[1] });
    assert.ok(other.actions.every(Number.isFinite));
    // a second reading of the files cannot work, and says so
    await policy.stages(observation, task).then(
      () => assert.unreachable('stages reads the files again'),
      (error) => assert.is(error.code, 'RUNTIME_FAILED', String(error)),
    );
    assert.equal(numbers(await policy.predict(observation, task)), before);
  });
}

test('a program ends by itself, closed or not', async () => {
  const predict =
    'const policy = await api.loadPolicy(checkpoint, options); await policy.predict(observation, task);';
  const programs = {
    'not closed': `${predict} console.log('done');`,
    closed: `${predict} await policy.close(); console.log('done');`,
    'only loaded': "await api.loadPolicy(checkpoint, options); console.log('done');",
    'thrown out of': `${predict} console.log('done'); throw new Error('of the program');`,
  };
  for (const [name, program] of Object.entries(programs)) {
    const { code, signal, stdout, stderr } = await runProgram(program);
    assert.is(signal, null, `${name} hangs or crashes: ${stderr}`);
    assert.is(code, name === 'thrown out of' ? 1 : 0, `${name}: ${stderr}`);
    assert.is(stdout, 'done\n', name);
    if (code === 0) assert.is(stderr, '', name);
  }
});

test('a program waits for a prediction that nobody awaits', async () => {
  const { code, stdout, stderr } = await runProgram(`
    const policy = await api.loadPolicy(checkpoint, options);
    policy.predict(observation, task).then(({ shape }) => console.log(shape.join('x')));`);
  assert.is(code, 0, stderr);
  assert.is(stdout, '8x7\n');
});

test('in a worker thread, beside the main one, and with the thread stopped in the middle', async () => {
  const { code, signal, stdout, stderr } = await runProgram(`
    import { Worker } from 'node:worker_threads';
    import { once } from 'node:events';
    const source = (body) => "import('" + ${JSON.stringify('')} + moduleUrl + "').then(async (api) => {" + body + "})";
    const moduleUrl = new URL('dist/index.js', 'file://' + process.cwd() + '/').href;
    const start = (body) => new Worker(
      "const { parentPort, workerData } = require('node:worker_threads');" + source(
        "const { checkpoint, options, observation, task } = workerData;" +
        "const policy = await api.loadPolicy(checkpoint, options);" + body),
      { eval: true, execArgv: [], workerData: { checkpoint, options, observation, task } });
    const policy = await api.loadPolicy(checkpoint, options);
    const mine = await policy.predict(observation, task);
    const worker = start("const { actions } = await policy.predict(observation, task); parentPort.postMessage(actions);");
    const [actions] = await once(worker, 'message');
    const [exit] = await once(worker, 'exit');
    console.log(exit, actions.every((value, i) => value === mine.actions[i]));
    const endless = start("parentPort.postMessage('ready'); for (;;) await policy.predict(observation, task);");
    await once(endless, 'message');
    await endless.terminate();
    const again = await policy.predict(observation, task);
    console.log(again.actions.every((value, i) => value === mine.actions[i]));`);
  assert.is(signal, null, stderr);
  assert.is(code, 0, stderr);
  assert.is(stdout, '0 true\ntrue\n');
});

test('100 times loaded, used and closed: memory and threads settle', async () => {
  const { code, stdout, stderr } = await runProgram(
    `
    import { readdirSync } from 'node:fs';
    const rss = [];
    const threads = [];
    for (let i = 0; i < 100; i++) {
      const policy = await api.loadPolicy(checkpoint, options);
      if (i % 10 === 0) await policy.predict(observation, task);
      await policy.close();
      gc();
      rss.push(process.memoryUsage.rss() / 2 ** 20);
      threads.push(readdirSync('/proc/self/task').length);
    }
    console.log(JSON.stringify({ rss, threads }));`,
    200_000,
  );
  assert.is(code, 0, stderr);
  const { rss, threads } = JSON.parse(stdout) as { rss: number[]; threads: number[] };
  // the allocator's own caches fill over the first loads
  const settled = Math.max(...rss.slice(20, 40));
  const last = Math.min(...rss.slice(-10));
  // a load holds 20 MB of weights, and its models 1 MB: 60 leaked loads would be 60 MB at the very least
  assert.ok(last - settled < 30, `resident memory went from ${settled} to ${last} MiB over 60 loads`);
  assert.ok(threads.at(-1)! <= Math.max(...threads.slice(0, 20)), `threads: ${threads.join(' ')}`);
});

test.run();
