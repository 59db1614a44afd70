import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { rangesOf, throttlingOf } from '../../lib/machine/machineRows.ts';
import { readMachine, readSnapshot } from '../../lib/machine/readMachine.ts';
import { sampleMachine } from '../../lib/machine/sampleMachine.ts';
import { fromStart, SeriesBuilder } from '../../lib/machine/seriesBuilder.ts';
import { watchMachine } from '../../lib/machine/watchMachine.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import { fakeOrin, probeOf } from './fakeMachines.ts';

const test = suite('machine sampling');

test('what the samples of a run showed: how far each sensor went, and why it was slowed', () => {
  const builder = new SeriesBuilder({ cores: 12, powerPeriodMs: null });
  const snapshot = readSnapshot(probeOf(fakeOrin));
  builder.add(snapshot, 0);
  builder.add({ ...snapshot, clocks: [{ name: 'gpu', value: 1300 }], throttling: ['sw_power_cap'] }, 100);
  const machine = { ...readMachine({ probe: probeOf(fakeOrin) }), series: fromStart(builder.result()!, 0) };
  assert.equal(
    rangesOf(machine, 'clock').find(({ name }) => name === 'gpu'),
    { name: 'gpu', min: 306, max: 1300 },
  );
  assert.equal(
    rangesOf(machine, 'temperature').find(({ name }) => name === 'tj'),
    { name: 'tj', min: 52.562, max: 52.562 },
  );
  assert.equal(throttlingOf(machine), ['sw_power_cap']);
  assert.equal(rangesOf({ ...machine, series: null }, 'clock'), []);
});

test('this machine is sampled on a thread of its own, which ends', async () => {
  // one sample at the start, one at the end, and one between: the thread tells at the end, so a busy machine is asked again
  for (let ms = 150; ; ms *= 2) {
    const called = performance.now();
    const sampler = await sampleMachine(20);
    const started = performance.now();
    await sleep(ms);
    const stopped = performance.now();
    const run = await sampler.stop();
    const ended = performance.now();
    assert.ok(1000 * run.seconds >= stopped - started && 1000 * run.seconds <= ended - called);
    assert.ok(run.costMs > 0);
    assert.is(await sampler.stop(), run, 'stopping twice is one end');
    if (run.samples >= 3) break;
    assert.ok(ms < 60_000, `${run.samples} samples in a minute`);
  }
});

test('watching: before, during and after in one', async () => {
  const watch = await watchMachine({ intervalMs: 20, probe: probeOf(fakeOrin) });
  const { machine, warnings } = await watch.finish(5);
  assert.is(machine.board, 'NVIDIA Jetson AGX Orin Developer Kit');
  assert.ok(machine.end !== null && machine.sampling!.samples >= 2);
  assert.ok(warnings.some(({ code }) => code === 'clocks-unlocked'));
  await watch[Symbol.asyncDispose]();
});

test('an interval that cannot be kept is refused', async () => {
  for (const interval of [0, 9, Number.NaN, Number.POSITIVE_INFINITY]) {
    const error = await sampleMachine(interval).catch((caught: unknown) => caught);
    assert.ok(error instanceof SemanticVlaError && error.code === 'OPTION_INVALID', String(interval));
  }
});

test.run();
