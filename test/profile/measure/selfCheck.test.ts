import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { checkRecorder, selfCheckWarnings } from '../../../lib/profile/measure/selfCheck.ts';
import { EventLoopWatch } from '../../../lib/profile/trace/eventLoopWatch.ts';

const test = suite('profile/measure/selfCheck');

test('on this machine: the known wait is timed, and what recording costs is told', async () => {
  const check = await checkRecorder();
  // a busy machine may interrupt every wait, so nothing is asked of the figures but that they fit together
  assert.ok(check.expectedMs >= 2);
  assert.ok(check.measuredMs >= check.expectedMs * 0.99);
  assert.ok(check.trials! >= 1);
  assert.ok(check.overheadUs > 0);
  const error = 100 * (check.measuredMs / check.expectedMs - 1);
  assert.ok(Math.abs(check.errorPercent - error) < 1e-9);
  assert.match(check.clock!, /CLOCK_MONOTONIC_RAW|processor's counter at \d+ MHz/);
  assert.is(check.passed, Math.abs(check.errorPercent) <= 1 && check.overheadPercent < 1);
});

/** A world in which waiting moves a clock, exactly. */
function world(rate: number): Required<NonNullable<Parameters<typeof checkRecorder>[0]>> {
  let time = 0;
  return {
    now: () => time * rate,
    wait: (microseconds) => {
      time += microseconds / 1000;
      return { ms: microseconds / 1000, clock: 'hardware', frequencyMHz: 1000 };
    },
  };
}

test('a clock that is right passes; one that runs 2 % fast or slow fails, loudly', async () => {
  const right = await checkRecorder(world(1));
  assert.ok(right.passed);
  assert.equal(selfCheckWarnings(right), []);
  for (const rate of [1.02, 0.98]) {
    const wrong = await checkRecorder(world(rate));
    assert.is(wrong.passed, false);
    assert.ok(Math.abs(wrong.errorPercent - 100 * (rate - 1)) < 1e-6);
    const warning = selfCheckWarnings(wrong)[0]!;
    assert.is(warning.code, 'self-check-failed');
    assert.match(warning.text, /2\.000 ms \(the processor's counter at 1000 MHz\) was timed as .* % off/);
  }
});

test('a wait that was interrupted is not held against the recorder', async () => {
  let time = 0;
  let call = 0;
  const check = await checkRecorder({
    now: () => time,
    wait: (microseconds) => {
      const isCalm = call++ % 3 === 0;
      const ms = (microseconds / 1000) * (isCalm ? 1 : 4);
      // the thread comes back late after an interruption
      time += ms + (isCalm ? 0 : 1);
      return { ms, clock: 'system', frequencyMHz: 0 };
    },
  });
  assert.ok(check.passed);
  assert.is(check.trials, 11);
  assert.ok(Math.abs(check.errorPercent) < 1e-9);
});

test('a recorder that costs too much fails', async () => {
  const parts = world(1);
  const slow = (): number => {
    const end = performance.now() + 0.06;
    while (performance.now() < end);
    return parts.now();
  };
  const check = await checkRecorder({ ...parts, now: slow });
  assert.ok(check.overheadUs > 100, `${check.overheadUs}`);
  assert.is(check.passed, false);
});

test('event-loop delay: a blocked loop shows', async () => {
  const delay = new EventLoopWatch();
  delay.start();
  await new Promise((resolve) => setTimeout(resolve, 60));
  const end = performance.now() + 80;
  while (performance.now() < end);
  await new Promise((resolve) => setTimeout(resolve, 60));
  const summary = delay.finish();
  assert.ok(summary.count >= 2);
  assert.ok(summary.max >= 60, `${summary.max}`);
  assert.ok(summary.median <= summary.p99 && summary.p99 <= summary.max * 1.01);
});

test.run();
