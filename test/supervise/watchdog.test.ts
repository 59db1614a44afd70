import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { defaultBackoff, restartDelay } from '../../lib/supervise/backoff.ts';
import { Watchdog } from '../../lib/supervise/watchdog.ts';

const test = suite('watchdog and back-off');

/** The timer of a watchdog does not keep a process alive; a test does. */
async function until(happened: () => boolean): Promise<void> {
  while (!happened()) await sleep(2);
}

test('expires once, and not before its time', async () => {
  let expired = 0;
  const start = performance.now();
  new Watchdog(30, () => expired++);
  await until(() => expired > 0);
  // a timer counts whole milliseconds and may be up to one early
  assert.ok(performance.now() - start >= 29);
  await sleep(60);
  assert.is(expired, 1);
});

test('a reset from what waited in the input counts, although the timer was due first', async () => {
  let expired = 0;
  const watchdog = new Watchdog(20, () => expired++);
  await sleep(1);
  // this process is busy past the limit, then reads its input
  const busyUntil = performance.now() + 40;
  while (performance.now() < busyUntil);
  setImmediate(() => watchdog.reset());
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  assert.is(expired, 0);
  await until(() => expired > 0);
});

test('a stopped watchdog says nothing', async () => {
  let expired = 0;
  const watchdog = new Watchdog(5, () => expired++);
  watchdog.stop();
  await sleep(60);
  assert.is(expired, 0);
});

test('waits double up to the longest', () => {
  const waits = [1, 2, 3, 4, 5, 6, 7, 8].map((losses) => restartDelay(defaultBackoff, losses));
  assert.equal(waits, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
});

test.run();
