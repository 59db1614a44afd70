import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseCondition } from '../../../lib/profile/gate/condition.ts';
import { evidenceOf, pairedEvidence } from '../../../lib/profile/gate/evidence.ts';
import { type GateBaseline, judge } from '../../../lib/profile/gate/judge.ts';
import { summaryOf } from '../../../lib/profile/measure/benchPolicies.ts';
import {
  type Interval,
  intervalOf,
  pairedRatio,
  studentScale,
} from '../../../lib/profile/measure/bootstrap.ts';
import { summarize } from '../../../lib/profile/measure/percentiles.ts';
import type { SubjectResult } from '../../../lib/profile/types.ts';
import { median } from '../../../lib/support/median.ts';
import { Random } from '../../../lib/support/random.ts';
import { failure } from '../../observation/errorCode.ts';

const test = suite('profile/gate/judge');
const perRound = 5;

function result(name: string, times: readonly number[]): SubjectResult {
  const chunks = times.map((total, i) => ({
    startMs: i,
    round: Math.floor(i / perRound),
    stages: { total, policy: total / 2 },
  }));
  return { subject: { name }, chunks, summary: summaryOf(chunks, []) } as unknown as SubjectResult;
}

/** Noise whose neighbours resemble each other, about a level. */
function noise(random: Random, count: number, level: number, spread = 0.05): number[] {
  let state = 0;
  return Array.from({ length: count }, () => {
    state = 0.7 * state + random.normal() * Math.sqrt(1 - 0.49);
    return level * Math.exp(spread * state);
  });
}

const runs = (...results: SubjectResult[]): GateBaseline => ({ kind: 'runs', name: 'base.json', results });
const one = (subject: SubjectResult, baseline: GateBaseline | null, condition: string) =>
  judge([{ subject, baseline }], [parseCondition(condition)])[0]!;

test("numbers scaled as Student's have the quantiles of his tables", () => {
  const random = new Random(3);
  // two-sided 95 %, from any table; standard error of a 97.5 % quantile of 40,000 draws: 1 to 3 % for 19 to 4 degrees
  for (const [degrees, value] of [
    [4, 2.776],
    [9, 2.262],
    [19, 2.093],
  ] as const) {
    const draws = Float64Array.from(
      { length: 40_000 },
      () => random.normal() * studentScale(random, degrees),
    ).sort();
    for (const at of [draws[39_000]!, -draws[1000]!])
      assert.ok(Math.abs(at / value - 1) < 0.06, `${degrees}: ${at}`);
  }
});

test('the value is the plain statistic: percentile, mean, throughput, of a stage', () => {
  const random = new Random(5);
  const times = noise(random, 400, 12);
  const subject = result('a', times);
  const { p90, mean, median } = summarize(times);
  const close = (a: number, b: number): boolean => Math.abs(a / b - 1) < 1e-9;
  assert.ok(close(one(subject, null, 'p50 > 1ms').value, median));
  assert.ok(close(one(subject, null, 'p90 > 1ms').value, p90));
  assert.ok(close(one(subject, null, 'mean > 1ms').value, mean));
  assert.ok(close(one(subject, null, 'throughput < 1/s').value, 1000 / mean));
  assert.ok(close(one(subject, null, 'policy.p50 > 1ms').value, median / 2));
  const base = result('b', noise(random, 400, 10));
  const ratio = median / base.summary.total!.median;
  assert.ok(close(one(subject, runs(base), 'p50 > 1.5x').value, ratio));
  assert.ok(close(one(subject, { kind: 'paired', name: 'b', result: base }, 'p50 > 1.5x').value, ratio));
});

test('three outcomes, by the interval: beyond, within, and the limit inside', () => {
  const random = new Random(9);
  const base = result('b', noise(random, 400, 10));
  const same = result('a', noise(random, 400, 10));
  const slower = result('a', noise(random, 400, 12));
  const little = result('a', noise(random, 400, 10.5));
  assert.is(one(same, runs(base), 'p50 > 1.1x').outcome, 'pass');
  assert.is(one(slower, runs(base), 'p50 > 1.1x').outcome, 'fail');
  const close = one(little, runs(base), 'p50 > 1.05x');
  assert.is(close.outcome, 'noisy');
  assert.ok(close.low < 1.05 && close.high > 1.05);
  assert.match(
    close.because,
    /a against base\.json: 1\.0\d\dx, 95 % interval .* 1\.050x lies in it: measure more/,
  );
  assert.is(one(slower, runs(base), 'throughput < 0.95x').outcome, 'fail');
  assert.is(one(same, runs(base), 'throughput < 0.9x').outcome, 'pass');
  assert.is(one(same, null, 'p50 > 11ms').outcome, 'pass');
  assert.is(one(slower, null, 'p50 > 11ms').outcome, 'fail');
});

test('too little to tell is said as such', () => {
  const few = result('a', [1, 2, 3]);
  const verdict = one(few, null, 'p50 > 100ms');
  assert.is(verdict.outcome, 'noisy');
  assert.match(verdict.because, /3 chunks are too few/);
  const some = result('a', noise(new Random(1), 200, 10));
  assert.match(
    one(some, null, 'p99 > 100ms').because,
    /200 chunks are too few for p99, about 400 are needed/,
  );
  assert.is(one(some, null, 'p90 > 100ms').outcome, 'pass');
});

test('a disturbed run: its fail is not believed, nor a pass against a disturbed baseline', () => {
  const random = new Random(13);
  const subject = result('a', noise(random, 400, 10));
  const slower = result('a', noise(random, 400, 12));
  const condition = parseCondition('p50 > 1.1x');
  const outcomes = (subjectOf: SubjectResult, now: boolean, then: boolean): string => {
    const baseline = { ...runs(subject), ...(then ? { disturbed: 'the machine had other work' } : {}) };
    const pair = { subject: subjectOf, baseline, ...(now ? { disturbed: 'the machine was throttled' } : {}) };
    return judge([pair], [condition])[0]!.outcome;
  };
  assert.is(outcomes(slower, true, false), 'noisy');
  assert.is(outcomes(slower, false, true), 'fail', 'slower even than a slowed baseline');
  assert.is(outcomes(subject, false, true), 'noisy');
  assert.is(outcomes(subject, true, false), 'pass', 'fast enough even when slowed');
  const pair = { subject: slower, baseline: runs(subject), disturbed: 'the machine was throttled' };
  assert.match(judge([pair], [condition])[0]!.because, /above 1\.100x, but the machine was throttled/);
  const beside: GateBaseline = { kind: 'paired', name: 'b', result: subject };
  const paired = { subject: slower, baseline: beside, disturbed: 'the machine was throttled' };
  assert.is(judge([paired], [condition])[0]!.outcome, 'fail', 'it befell both');
});

test('what cannot be judged is an error', async () => {
  const subject = result('a', noise(new Random(1), 100, 10));
  const noBase = await failure(() => one(subject, null, 'p50 > 1.05x'));
  assert.is(noBase.code, 'OPTION_REQUIRED');
  assert.match(noBase.message, /expected --baseline for a ratio/);
  const noStage = await failure(() => one(subject, runs(subject), 'compute.p50 > 1.05x'));
  assert.is(noStage.code, 'OPTION_INVALID');
  assert.match(noStage.message, /expected a stage of a \(total, policy\), found compute/);
});

const width = ({ low, high }: Interval): number => Math.log(high / low);
const intervalIn = (evidence: ReturnType<typeof evidenceOf>): Interval => {
  assert.ok('log' in evidence);
  return intervalOf(evidence, 0.025);
};

test('property: neighbours that resemble each other widen the interval, and it covers the truth as often as it says', () => {
  const random = new Random(21);
  let covered = 0;
  let independent = 0;
  let dependent = 0;
  const trials = 150;
  const median = { statistic: 'percentile', percentile: 50 } as const;
  for (let i = 0; i < trials; i++) {
    const times = noise(random, 300, 10);
    const interval = intervalIn(evidenceOf(times, median, 1000));
    dependent += width(interval);
    if (interval.low <= 10 && 10 <= interval.high) covered += 1;
    const shuffled = times.map((ms) => [random.next(), ms] as const).sort((a, b) => a[0] - b[0]);
    independent += width(
      intervalIn(
        evidenceOf(
          shuffled.map(([, ms]) => ms),
          median,
          1000,
        ),
      ),
    );
  }
  // blocks of 15 with a correlation of 0.7 from chunk to chunk lose a few percent of 95; binomial of 150 trials: 2 % either way
  assert.ok(covered / trials >= 0.86 && covered / trials <= 0.99, `${covered / trials}`);
  assert.ok(dependent > 1.5 * independent, `${dependent / independent}`);
});

test('turns taken together: what befalls both alike does not widen the ratio', () => {
  const random = new Random(33);
  const rounds = 40;
  const moods = Array.from({ length: rounds }, () => Math.exp(0.3 * random.normal()));
  const turn = (level: number) =>
    moods.map((mood) =>
      Array.from({ length: perRound }, () => level * mood * Math.exp(0.01 * random.normal())),
    );
  const [a, b] = [turn(10), turn(10.5)];
  const mean = { statistic: 'mean', percentile: null } as const;
  const together = intervalIn(pairedEvidence(b, a, mean, 1000));
  assert.ok(Math.abs(Math.log(together.value / 1.05)) < width(together) + 1e-3);
  // an interval is about four standard errors wide
  assert.ok(width(together) < 4 * 0.005, `${width(together)}`);
  assert.ok(width(intervalIn(evidenceOf(b.flat(), mean, 1000))) > 5 * width(together));
  const interval = pairedRatio(b, a, 'mean');
  assert.ok(Math.abs(interval.value / 1.05 - 1) < 0.01 && interval.high - interval.low < 0.02);
  assert.ok(interval.low <= interval.value && interval.value <= interval.high);
});

test('several verdicts share the confidence; several baseline runs tell how far runs lie apart', () => {
  const random = new Random(41);
  const subject = result('a', noise(random, 300, 10));
  const base = result('b', noise(random, 300, 10));
  const condition = parseCondition('p50 > 1.05x');
  const pair = { subject, baseline: runs(base) };
  const [alone] = judge([pair], [condition]);
  const [ofFour] = judge([pair], [condition, condition, condition, condition]);
  assert.ok(width(ofFour!) > 1.2 * width(alone!));
  const scattered = [9, 9.5, 10, 10.5, 11].map((level) => result('b', noise(random, 300, level)));
  assert.ok(width(one(subject, runs(...scattered), 'p50 > 1.05x')) > 2 * width(alone!));
  const calm = [10, 10, 10, 10, 10, 10].map((level) => result('b', noise(random, 300, level)));
  const many = one(subject, runs(...calm), 'p50 > 1.05x');
  const logs = calm.map(({ summary }) => Math.log(summary.total!.median));
  const mean = logs.reduce((a, b) => a + b, 0) / logs.length;
  const now = Math.log(median(subject.chunks.map(({ stages }) => stages.total!)));
  assert.ok(Math.abs(Math.log(many.value) - (now - mean)) < 1e-9, 'against their geometric mean');
});

test.run();
