/** Energy by subject: signals whose integral is known, sampled on a clock of the test's own. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  energyText,
  integratePower,
  subjectEnergy,
  type Turn,
  turnsOf,
} from '../../lib/machine/subjectEnergy.ts';
import type { MachineSeries, SubjectEnergy } from '../../lib/machine/types.ts';
import type { ChunkRecord } from '../../lib/profile/types.ts';

const test = suite('energy by subject');

interface Sampled {
  readonly atMs: readonly number[];
  readonly values: readonly (number | null)[];
  readonly periodMs?: number | null;
}

function seriesOf({ atMs, values, periodMs = null }: Sampled): MachineSeries {
  return {
    atMs,
    startMonotonicMs: 0,
    sensors: [{ kind: 'power', name: 'total', unit: 'W', values }],
    energyFrom: { sensor: 'total', words: 'VDD_IN', periodMs },
    throttling: [],
  };
}

/** Samples of a signal, unevenly: what a timer of a busy machine does. Numbers in [0, 1), a 32-bit linear congruence. */
function sampled(
  watts: (ms: number) => number,
  fromMs: number,
  toMs: number,
  everyMs: number,
  seed = 7,
): Sampled {
  let state = seed;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const atMs: number[] = [];
  for (let at = fromMs - everyMs * random(); at < toMs + 2 * everyMs; at += everyMs * (0.8 + 0.5 * random()))
    atMs.push(at);
  return { atMs, values: atMs.map(watts) };
}

test('a straight line has its exact integral, edges between samples included', () => {
  const atMs = [0, 130, 190, 420, 900, 1000];
  const watts = atMs.map((ms) => 5 + ms / 50);
  const integral = integratePower(atMs, watts, { fromMs: 77, toMs: 843 }, 1000)!;
  // mean power at the middle of the stretch, times its length
  const exact = ((5 + 460 / 50) * 766) / 1000;
  assert.ok(Math.abs(integral.joules - exact) < 1e-9, String(integral.joules));
  assert.is(integral.samples, 3);
});

test('a sine: as near as trapezoids of 20 ms come to it', () => {
  const watts = (ms: number): number => 20 + 10 * Math.sin((2 * Math.PI * ms) / 1000);
  const { atMs, values } = sampled(watts, 0, 3000, 20);
  const integral = integratePower(atMs, values, { fromMs: 250, toMs: 2250 }, 1000)!;
  // two whole periods; h^2/12 * f'' over 2 s is 0.03 J at 26 ms
  assert.ok(Math.abs(integral.joules - 40) < 0.03, String(integral.joules));
});

test('gaps and what is not covered give no energy', () => {
  const atMs = [0, 100, 200, 300, 400, 500];
  const gap = (fromMs: number, toMs: number, longestGapMs = 1000) =>
    integratePower(atMs, [10, 10, null, null, 10, 10], { fromMs, toMs }, longestGapMs);
  assert.is(gap(50, 450, 250), null);
  assert.ok(gap(50, 450, 300) !== null);
  assert.ok(gap(10, 90, 250) !== null);
  assert.is(gap(-1, 90), null);
  assert.is(gap(450, 501), null);
  assert.is(gap(90, 90), null);
});

/** Chunks of `ms` one after the other, a turn of `perTurn`, subjects in an order that changes as in the runner. */
function alternating(ms: readonly number[], perTurn: readonly number[], rounds: number): ChunkRecord[][] {
  const chunks: ChunkRecord[][] = ms.map(() => []);
  let at = 0;
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < ms.length; turn++) {
      const subject = (turn + round) % ms.length;
      // the one that is not counted, where another ran before
      if (ms.length > 1) at += ms[subject]!;
      for (let i = 0; i < perTurn[subject]!; i++) {
        chunks[subject]!.push({ startMs: at, round, stages: { total: ms[subject]! } });
        at += ms[subject]!;
      }
    }
  }
  return chunks;
}

function powerOf(
  subjects: readonly (readonly ChunkRecord[])[],
  watts: readonly number[],
): (ms: number) => number {
  const turns = turnsOf(subjects);
  return (ms) => {
    const subject = turns.findIndex((list) => list.some(({ fromMs, toMs }) => ms >= fromMs && ms < toMs));
    // between turns: the mean of all
    return subject < 0 ? watts.reduce((a, b) => a + b, 0) / watts.length : watts[subject]!;
  };
}

const told = (energy: SubjectEnergy): number => {
  assert.is(energy.because, null);
  return energy.joulesPerChunk!;
};

test('two subjects that take turns: each gets its own joules, to a tenth of what they differ by', () => {
  const subjects = alternating([20, 50], [100, 40], 12);
  const watts = powerOf(subjects, [10, 34]);
  const turns = turnsOf(subjects);
  assert.equal(
    turns.map((list) => list.length),
    [12, 12],
  );
  for (let seed = 1; seed <= 40; seed++) {
    const series = seriesOf(sampled(watts, 0, 60_000, 100, seed));
    for (const [i, exact] of [10 * 0.02, 34 * 0.05].entries()) {
      const energy = subjectEnergy(series, turns[i]!);
      const off = Math.abs(told(energy) - exact);
      // a turn has 20 samples: two edges cannot hide more than a tenth of what the subjects differ by
      assert.ok(off <= 0.1 * 24 * [0.02, 0.05][i]!, `seed ${seed}: ${off}`);
      assert.is(energy.turns, 12);
      assert.is(energy.chunks, [1200, 480][i]);
    }
  }
});

test('a sensor that is late by its own period: off by less than a fifth of what the subjects differ by', () => {
  const subjects = alternating([20, 50], [300, 120], 6);
  const watts = powerOf(subjects, [10, 34]);
  // mean over the second before, as power.draw of nvidia-smi
  const late = (ms: number): number => {
    let sum = 0;
    for (let i = 0; i < 50; i++) sum += watts(ms - 20 * i);
    return sum / 50;
  };
  const series = seriesOf({ ...sampled(late, 0, 80_000, 100), periodMs: 1000 });
  const turns = turnsOf(subjects);
  for (const [i, exact] of [10 * 0.02, 34 * 0.05].entries()) {
    const energy = subjectEnergy(series, turns[i]!);
    const off = Math.abs(told(energy) - exact);
    assert.ok(off > 0.02 * exact, 'the lag is seen');
    // both edges of a turn of six seconds, by half a second each
    assert.ok(off <= 0.2 * 24 * [0.02, 0.05][i]!, String(off));
  }
});

test('turns shorter than a few periods: no number, and what would give one', () => {
  const subjects = alternating([5, 5], [20, 20], 30);
  const series = seriesOf(sampled(() => 20, 0, 7000, 100));
  const energy = subjectEnergy(series, turnsOf(subjects)[0]!);
  assert.is(energy.joulesPerChunk, null);
  assert.match(energy.because!, /its turns last 0\.10 s at most and the sensor is read every 0\.1\d s/);
  const wanted = Number(/--turn (\d+)/.exec(energy.because!)![1]);
  assert.ok(wanted >= 600 && wanted < 900, String(wanted));
  // what it says is enough
  const longer = alternating([5, 5], [wanted / 5, wanted / 5], 10).map((list) => list);
  const enough = subjectEnergy(seriesOf(sampled(() => 20, 0, 20_000, 100)), turnsOf(longer)[0]!);
  assert.ok(Math.abs(told(enough) - 0.1) < 1e-9);
  // the sensor's own period counts, not how often it is asked
  const slow = subjectEnergy(
    seriesOf({ ...sampled(() => 20, 0, 20_000, 100), periodMs: 1000 }),
    turnsOf(longer)[0]!,
  );
  assert.match(slow.because!, /a new value every 1\.00 s: .*--turn 6000 /);
});

test('one subject alone is one stretch, however short its chunks are', () => {
  const [chunks] = alternating([2], [25], 60);
  const turns = turnsOf([chunks!]);
  assert.is(turns[0]!.length, 1);
  const energy = subjectEnergy(seriesOf(sampled(() => 12, 0, 3200, 100)), turns[0]!);
  assert.is(energy.chunks, 1500);
  assert.ok(Math.abs(told(energy) - 12 * 0.002) < 1e-9);
});

test('a long run of one subject: a sensor that fails for a second costs one stretch, not the run', () => {
  const [chunks] = alternating([20], [25], 80);
  const turns = turnsOf([chunks!])[0]!;
  // 40 s in stretches of six, the rest with the last
  assert.equal(
    turns.map(({ fromMs, toMs }) => [fromMs, toMs]),
    [0, 6, 12, 18, 24, 30].map((second, i) => [1000 * second, i === 5 ? 40_000 : 1000 * second + 6000]),
  );
  assert.is(
    turns.reduce((sum, turn) => sum + turn.chunks, 0),
    2000,
  );
  const { atMs, values } = sampled(() => 12, 0, 41_000, 100);
  const failed = values.map((value, i) => (atMs[i]! > 13_000 && atMs[i]! < 14_000 ? null : value));
  const energy = subjectEnergy(seriesOf({ atMs, values: failed }), turns);
  assert.is(energy.turns, 5);
  assert.is(energy.chunks, 1700);
  assert.ok(Math.abs(told(energy) - 0.24) < 1e-9);
});

test('no sensor, a sensor that vanishes, one with holes, one that was read once', () => {
  const turns: Turn[] = [
    { fromMs: 1000, toMs: 3000, chunks: 10 },
    { fromMs: 5000, toMs: 7000, chunks: 10 },
  ];
  assert.match(subjectEnergy(null, turns).because!, /no power sensor/);
  assert.match(
    subjectEnergy({ ...seriesOf({ atMs: [0, 1], values: [1, 1] }), energyFrom: null }, turns).because!,
    /no power sensor/,
  );
  const atMs = Array.from({ length: 90 }, (_, i) => 100 * i);
  const vanished = subjectEnergy(seriesOf({ atMs, values: atMs.map((at) => (at > 4000 ? null : 8)) }), turns);
  assert.is(vanished.turns, 1, 'the turn before it vanished is whole');
  assert.is(vanished.ofTurns, 2);
  assert.is(vanished.chunks, 10);
  assert.ok(Math.abs(told(vanished) - 1.6) < 1e-9);
  const never = subjectEnergy(seriesOf({ atMs, values: atMs.map((at) => (at > 1500 ? null : 8)) }), turns);
  assert.match(never.because!, /not there, or had gaps, in all of its 2 turns/);
  const holes = subjectEnergy(
    seriesOf({ atMs, values: atMs.map((_, i) => (i % 4 === 0 ? 8 : null)) }),
    turns,
  );
  assert.match(holes.because!, /gaps/);
  assert.match(subjectEnergy(seriesOf({ atMs: [0], values: [8] }), turns).because!, /read once/);
});

test('a sensor that the series does not have gives no energy', () => {
  const atMs = Array.from({ length: 60 }, (_, i) => 100 * i);
  const series = seriesOf({ atMs, values: atMs.map(() => 100) });
  const turn = { fromMs: 1000, toMs: 3000, chunks: 4 };
  assert.ok(Math.abs(told(subjectEnergy(series, [turn])) - 50) < 1e-9);
  assert.is(subjectEnergy(series, [turn]).samples, 21);
  const lost = subjectEnergy({ ...series, sensors: [] }, [turn]);
  assert.is(lost.joulesPerChunk, null);
  assert.match(lost.because!, /its power sensor told nothing: VDD_IN/);
});

test('in words: what it rests on, or why there is none', () => {
  const atMs = Array.from({ length: 60 }, (_, i) => 100 * i);
  const series = seriesOf({ atMs, values: atMs.map(() => 20), periodMs: 7 });
  assert.is(
    energyText(subjectEnergy(series, [{ fromMs: 1000, toMs: 3000, chunks: 20 }])),
    '2.000 J a chunk; 20.0 W over 2.0 s in 1 of 1 turns, 21 samples; VDD_IN; read every 100 ms, its own period 7 ms',
  );
  assert.match(energyText(subjectEnergy(null, [])), /^not told: this machine has no power sensor/);
});

test.run();
