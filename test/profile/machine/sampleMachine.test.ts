import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readMachine, readSnapshot } from '../../../lib/profile/machine/readMachine.ts';
import { sampleMachine } from '../../../lib/profile/machine/sampleMachine.ts';
import { rangesOf, throttlingOf } from '../../../lib/profile/machine/seenInRun.ts';
import { fromStart, SeriesBuilder } from '../../../lib/profile/machine/seriesBuilder.ts';
import { watchMachine } from '../../../lib/profile/machine/watchMachine.ts';
import { SemanticVlaError } from '../../../lib/support/errors.ts';
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
  const sampler = await sampleMachine(20);
  await new Promise((resolve) => setTimeout(resolve, 150));
  const run = await sampler.stop();
  // one at the start, one at the end, and at least one between, however busy the machine is
  assert.ok(run.samples >= 3, String(run.samples));
  assert.ok(run.costMs > 0 && run.seconds >= 0.149);
  assert.is(await sampler.stop(), run, 'stopping twice is one end');
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
