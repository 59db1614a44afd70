import { getEventListeners } from 'node:events';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { orAborted, pause, whenAborted } from '../../lib/support/abort.ts';

const test = suite('abort');
const listeners = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length;
const settled = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    (value) => value,
    (reason: unknown) => reason,
  );

test('whenAborted: once, at once when it already is, never after it was stopped', () => {
  const controller = new AbortController();
  const heard: unknown[] = [];
  const stop = whenAborted(controller.signal, (reason) => heard.push(reason));
  whenAborted(controller.signal, () => heard.push('stopped'))();
  assert.is(listeners(controller.signal), 1);
  controller.abort('enough');
  controller.abort('again');
  assert.equal(heard, ['enough']);
  whenAborted(controller.signal, (reason) => heard.push(reason))();
  assert.equal(heard, ['enough', 'enough']);
  stop();
  whenAborted(undefined, () => heard.push('never'))();
  assert.is(heard.length, 2);
});

test('orAborted: what comes first, and no listener stays', async () => {
  for (const outcome of ['resolve', 'reject'] as const) {
    const { signal } = new AbortController();
    const promise = outcome === 'resolve' ? Promise.resolve('value') : Promise.reject('error');
    assert.is(await settled(orAborted(promise, signal)), outcome === 'resolve' ? 'value' : 'error');
    assert.is(listeners(signal), 0);
  }
  const controller = new AbortController();
  const dropped: string[] = [];
  let answer = (_: string): void => {};
  const promise = new Promise<string>((resolve) => {
    answer = resolve;
  });
  const pending = orAborted(promise, controller.signal, (value) => dropped.push(value));
  controller.abort('enough');
  assert.is(await settled(pending), 'enough');
  answer('late');
  await promise;
  await Promise.resolve();
  assert.equal(dropped, ['late'], 'given back');
  assert.is(await settled(orAborted(Promise.resolve('x'), AbortSignal.abort('before'))), 'before');
  // the work fails after all, but nobody is told and nothing is left unhandled
  assert.is(
    await settled(orAborted(Promise.reject(new Error('late')), AbortSignal.abort('before'))),
    'before',
  );
  assert.is(await orAborted(Promise.resolve('without'), undefined), 'without');
});

test('pause: ends when aborted, without an error', async () => {
  const controller = new AbortController();
  await pause(1, controller.signal);
  assert.is(listeners(controller.signal), 0);
  const long = pause(2 ** 30, controller.signal);
  controller.abort();
  await long;
  await pause(2 ** 30, controller.signal);
});

test.run();
