import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { EnergyMeter, energyPerChunk } from '../../../lib/profile/machine/energy.ts';
import { readSnapshot } from '../../../lib/profile/machine/readMachine.ts';
import { SampleAccumulator } from '../../../lib/profile/machine/sampleAccumulator.ts';
import { sampleMachine } from '../../../lib/profile/machine/sampleMachine.ts';
import { watchMachine } from '../../../lib/profile/machine/watchMachine.ts';
import { SemanticVlaError } from '../../../lib/support/errors.ts';
import { fakeOrin, fakeThor, probeOf } from './fakeMachines.ts';

const test = suite('machine sampling');

test('energy is the integral of power over time, not the mean of samples', () => {
  const meter = new EnergyMeter();
  // 10 W for a second, then 30 W for three, sampled unevenly; the step takes a millisecond
  for (const [at, watts] of [
    [0, 10],
    [1000, 10],
    [1001, 30],
    [1500, 30],
    [4000, 30],
  ] as const)
    meter.add(at, [{ name: 'VDD_IN', value: watts }]);
  const power = meter.result()!;
  assert.ok(Math.abs(power.joules - (10 + 0.02 + 89.97)) < 1e-9, String(power.joules));
  assert.is(power.samples, 5);
  assert.match(power.source, /^VDD_IN,/);
  const energy = energyPerChunk(power, 40)!;
  assert.ok(Math.abs(energy.joulesPerChunk - power.joules / 40) < 1e-12);
  assert.ok(Math.abs(energy.meanWatts - power.joules / 4) < 1e-12);
  assert.is(energyPerChunk(power, 0), null);
});

test('a rail that is missing once is not mixed into another sum; time does not run backwards', () => {
  const meter = new EnergyMeter();
  const whole = readSnapshot(probeOf(fakeThor)).power;
  const partly = whole.filter(({ name }) => name !== 'VIN' && name !== 'total');
  meter.add(0, whole);
  meter.add(500, partly);
  meter.add(1000, whole);
  meter.add(900, whole);
  const power = meter.result()!;
  assert.is(power.samples, 2);
  assert.ok(Math.abs(power.joules - 87.426) < 1e-9);
  const empty = new EnergyMeter();
  empty.add(0, []);
  assert.is(empty.result(), null);
  empty.add(0, whole);
  assert.is(empty.result(), null, 'one sample has no duration');
});

test('extremes of samples', () => {
  const kept = new SampleAccumulator(100);
  const snapshot = readSnapshot(probeOf(fakeOrin));
  kept.add(snapshot, 0, 1);
  kept.add({ ...snapshot, clocks: [{ name: 'gpu', value: 1300 }], throttling: ['sw_power_cap'] }, 100, 3);
  const { extremes } = kept.result();
  assert.is(extremes.samples, 2);
  assert.is(extremes.costMs, 2);
  assert.equal(
    extremes.clocks.find(({ name }) => name === 'gpu'),
    { name: 'gpu', min: 306, max: 1300 },
  );
  assert.equal(extremes.throttling, ['sw_power_cap']);
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
    assert.ok(run.extremes.costMs > 0);
    assert.is(await sampler.stop(), run, 'stopping twice is one end');
    if (run.extremes.samples >= 3) break;
    assert.ok(ms < 60_000, `${run.extremes.samples} samples in a minute`);
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
