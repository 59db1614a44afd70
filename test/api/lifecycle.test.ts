import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import type { Policy } from '../../lib/types.ts';
import { root } from '../helpers/cli.ts';
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
/** How often to try what depends on timing: more often with SEMANTICVLA_LONG_TESTS=1. */
const isLong = process.env.SEMANTICVLA_LONG_TESTS === '1';
const workers = isLong ? 8 : 3;
const endsAfterMs = isLong ? [3, 7, 12] : [7];

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
      (error) => assert.is(error.code, 'CHECKPOINT_FILE_MISSING', String(error)),
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

test('ended while it predicts, by an exit or an exception: with its own code, at once', async () => {
  const endless = `
    const policy = await api.loadPolicy(checkpoint, options);
    await policy.predict(observation, task);
    console.log('runs');`;
  const forever = 'for (;;) await policy.predict(observation, task);';
  // the end comes at a different moment of a prediction each time
  for (const ms of endsAfterMs) {
    const exit = await runProgram(`${endless} setTimeout(() => process.exit(7), ${ms}); ${forever}`);
    assert.equal([exit.code, exit.signal, exit.stdout, exit.stderr], [7, null, 'runs\n', '']);
    const thrown = await runProgram(
      `${endless} setTimeout(() => { throw new Error('of the program'); }, ${ms}); ${forever}`,
    );
    assert.equal([thrown.code, thrown.signal, thrown.stdout], [1, null, 'runs\n'], thrown.stderr);
    assert.match(thrown.stderr, /of the program/);
  }
});

test('a worker that is ended while it predicts, again and again, harms nobody', async () => {
  const { code, signal, stdout, stderr } = await runProgram(`
    import { Worker } from 'node:worker_threads';
    import { once } from 'node:events';
    const url = ${JSON.stringify(pathToFileURL(join(root, 'dist/index.js')).href)};
    const body = "const { parentPort, workerData } = require('node:worker_threads');" +
      "import(workerData.url).then(async (api) => {" +
      "  const policy = await api.loadPolicy(workerData.checkpoint, workerData.options);" +
      "  for (let n = 0; ; n++) { await policy.predict(workerData.observation, workerData.task); if (n === 0) parentPort.postMessage('runs'); }" +
      "});";
    const policy = await api.loadPolicy(checkpoint, options);
    const mine = await policy.predict(observation, task);
    for (let i = 0; i < ${workers}; i++) {
      const worker = new Worker(body, { eval: true, execArgv: [], workerData: { url, checkpoint, options, observation, task } });
      await once(worker, 'message');
      await new Promise((resolve) => setTimeout(resolve, i));
      await worker.terminate();
    }
    const again = await policy.predict(observation, task);
    console.log(again.actions.every((value, i) => value === mine.actions[i]));`);
  assert.equal([code, signal, stdout], [0, null, 'true\n'], stderr);
});

test.run();
