/** In virtual time: the delays of a busy machine are simulated, not waited for. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { VirtualClock } from '../../lib/schedule/virtualClock.ts';
import { defaultBackoff, restartDelay } from '../../lib/supervise/backoff.ts';
import { Watchdog } from '../../lib/supervise/watchdog.ts';

const test = suite('watchdog and back-off');

/** Timers and `performance.now` follow the clock; `setImmediate` stays as it is. */
async function inVirtualTime(body: (clock: VirtualClock) => Promise<void>): Promise<void> {
  const real = { setTimeout, clearTimeout, now: performance.now };
  const clock = new VirtualClock(1000);
  const cancels = new Map<object, () => void>();
  const start = (callback: () => void, ms: number): object => {
    const timer = { unref: () => timer };
    cancels.set(timer, clock.at(clock.now() + ms, callback));
    return timer;
  };
  Object.assign(globalThis, { setTimeout: start, clearTimeout: (timer: object) => cancels.get(timer)?.() });
  performance.now = () => clock.now();
  try {
    await body(clock);
  } finally {
    Object.assign(globalThis, { setTimeout: real.setTimeout, clearTimeout: real.clearTimeout });
    performance.now = real.now;
  }
}

test('expires once, and not before its time', () =>
  inVirtualTime(async (clock) => {
    const expired: number[] = [];
    new Watchdog(30, () => expired.push(clock.now()));
    await clock.runUntil(1029.9);
    assert.equal(expired, []);
    await clock.runUntil(2000);
    assert.equal(expired, [1030]);
  }));

test('a reset sets the whole limit anew, and what is reset for ever never expires', () =>
  inVirtualTime(async (clock) => {
    const expired: number[] = [];
    const watchdog = new Watchdog(30, () => expired.push(clock.now()));
    for (let at = 1010; at <= 2000; at += 10) {
      await clock.runUntil(at);
      watchdog.reset();
    }
    assert.equal(expired, []);
    await clock.runUntil(3000);
    assert.equal(expired, [2030]);
  }));

test('a reset from what waited in the input counts, although the timer was due first', () =>
  inVirtualTime(async (clock) => {
    // busy past the limit, a little or for so long that the other side gets a moment more; then it reads its input
    for (const [ms, expiresAfter] of [
      [40, 20],
      [5000, 50],
    ] as const) {
      const expired: number[] = [];
      const watchdog = new Watchdog(20, () => expired.push(clock.now()));
      clock.stall(ms);
      const now = clock.now();
      setImmediate(() => watchdog.reset());
      await clock.runUntil(now);
      assert.equal(expired, [], `busy for ${ms} ms`);
      await clock.runUntil(now + 1000);
      assert.equal(expired, [now + expiresAfter], `busy for ${ms} ms`);
    }
  }));

test('after a long pause of this process the other side gets a moment more; after a short one it does not', () =>
  inVirtualTime(async (clock) => {
    for (const [ms, expiresAfter] of [
      [40, 0],
      [5000, 50],
    ] as const) {
      const expired: number[] = [];
      new Watchdog(20, () => expired.push(clock.now()));
      clock.stall(ms);
      const now = clock.now();
      await clock.runUntil(now + 1000);
      assert.equal(expired, [now + expiresAfter], `busy for ${ms} ms`);
    }
  }));

test('a stopped watchdog says nothing', () =>
  inVirtualTime(async (clock) => {
    let expired = 0;
    const watchdog = new Watchdog(5, () => expired++);
    watchdog.stop();
    await clock.runUntil(2000);
    assert.is(expired, 0);
  }));

test('waits double up to the longest', () => {
  const waits = [1, 2, 3, 4, 5, 6, 7, 8].map((losses) => restartDelay(defaultBackoff, losses));
  assert.equal(waits, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
});

test.run();
