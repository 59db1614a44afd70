/**
 * How often the gate cries wolf, and how often it finds what is there, in virtual time: thousands of measurements whose chunks
 * take as long as recorded ones did. noise.json holds what `bench/falseAlarms.ts record` saw of the tiny policy on two cores
 * of a virtual machine that others were using: each run a process of its own, with the same policy twice and one that is 10 %
 * slower. It is a machine on which comparing values alone is wrong every seventh time.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseCondition } from '../../../lib/profile/gate/condition.ts';
import { type GateBaseline, judge } from '../../../lib/profile/gate/judge.ts';
import { type Runner, runInTurns } from '../../../lib/profile/measure/runner.ts';
import type { GateVerdict, SubjectResult } from '../../../lib/profile/types.ts';
import { Random } from '../../../lib/support/random.ts';

const test = suite('profile/gate/falseAlarms');

interface RecordedRun {
  readonly same: readonly number[];
  readonly again: readonly number[];
  readonly slower: readonly number[];
  readonly perRound: number;
}

const recorded = JSON.parse(readFileSync(join(import.meta.dirname, 'noise.json'), 'utf8')) as RecordedRun[];
const condition = parseCondition('p50 > 1.05x');
const chunks = 120;

/** Values of a recorded run in a new order: stretches of four rounds, from anywhere, as the recording has them. */
function stretches(random: Random, { same, perRound }: RecordedRun): number[] {
  const length = 4 * perRound;
  const starts: number[] = [];
  for (let rounds = 0; rounds * length < 3 * chunks; rounds++) {
    starts.push(perRound * random.integer(0, Math.floor((same.length - length) / perRound)));
  }
  return starts.flatMap((start) => Array.from({ length }, (_, i) => start + i));
}

/** Measures in virtual time what takes `ms(call)` milliseconds a chunk. */
async function measure(subjects: readonly ((call: number) => number)[]): Promise<SubjectResult[]> {
  let time = 0;
  const runners = subjects.map((ms, i): Runner => {
    let call = 0;
    return {
      name: String(i),
      chunk: async () => {
        time += ms(call++);
        return {};
      },
    };
  });
  const results = await runInTurns(runners, {
    warmUpMs: 0,
    warmUpChunks: 10,
    warmUpLimitMs: 200,
    iterations: chunks,
    durationMs: 0,
    limitMs: 1e9,
    newInstructions: 0,
    now: () => time,
  });
  return results.map((result, i) => asResult(String(i), result.chunks));
}

/** What the gate reads of a subject. */
function asResult(name: string, records: SubjectResult['chunks']): SubjectResult {
  return { subject: { name }, chunks: records, summary: { total: {} } } as unknown as SubjectResult;
}

/** One subject alone takes no turns: its chunks follow each other, and no clock is needed. */
function alone(milliseconds: (call: number) => number): SubjectResult {
  return asResult(
    'alone',
    Array.from({ length: chunks }, (_, i) => ({
      startMs: i,
      round: i,
      stages: { total: milliseconds(i) },
    })),
  );
}

class Tally {
  fail = 0;
  noisy = 0;
  pass = 0;
  byValue = 0;
  count = 0;

  add({ outcome, value, limit }: GateVerdict): void {
    this[outcome] += 1;
    this.count += 1;
    if (value > limit) this.byValue += 1;
  }

  share(what: 'fail' | 'noisy' | 'pass' | 'byValue'): number {
    return this[what] / this.count;
  }
}

const verdictOf = (subject: SubjectResult, baseline: GateBaseline): GateVerdict =>
  judge([{ subject, baseline }], [condition])[0]!;

/** A run against `reports` of other processes. */
function otherProcesses(trials: number, which: 'same' | 'slower', reports: number): Tally {
  const random = new Random(reports + 1);
  const tally = new Tally();
  const one = (run: RecordedRun, values: readonly number[]): SubjectResult => {
    const order = stretches(random, run);
    return alone((call) => values[order[call % order.length]!]! / 1000);
  };
  for (let i = 0; i < trials; i++) {
    const [now, ...then] = shuffled(random, recorded).slice(0, reports + 1);
    const subject = one(now!, now![which]);
    const results = then.map((run) => one(run, run.same));
    tally.add(verdictOf(subject, { kind: 'runs', name: 'reports', results }));
  }
  return tally;
}

/** Both in one run, in turns: what befell one befell the other. */
async function sameRun(trials: number, which: 'again' | 'slower'): Promise<Tally> {
  const random = new Random(which === 'again' ? 11 : 12);
  const tally = new Tally();
  for (let i = 0; i < trials; i++) {
    const run = random.pick(recorded);
    const order = stretches(random, run);
    // which of the two is the baseline makes no difference when they are the same
    const swap = which === 'again' && random.chance(0.5);
    const series = [run.same, run[which]].map(
      (values) => (call: number) => values[order[call % order.length]!]! / 1000,
    );
    const results = await measure(swap ? series.toReversed() : series);
    tally.add(verdictOf(results[1]!, { kind: 'paired', name: 'beside', result: results[0]! }));
  }
  return tally;
}

function shuffled<T>(random: Random, items: readonly T[]): T[] {
  return items
    .map((item) => [random.next(), item] as const)
    .sort((a, b) => a[0] - b[0])
    .map(([, item]) => item);
}

test('beside a baseline in the same run: no false alarm, and 10 % slower is found', async () => {
  const same = await sameRun(500, 'again');
  const slower = await sameRun(200, 'slower');
  console.log(`same run: ${show(same)}; 10 % slower: ${show(slower)}`);
  assert.ok(same.share('fail') <= 0.005, show(same));
  assert.ok(slower.share('fail') >= 0.6, show(slower));
  assert.is(slower.pass, 0);
});

test('against a report of another process, on this restless machine: a third of the false alarms of values alone', () => {
  const same = otherProcesses(1000, 'same', 1);
  const slower = otherProcesses(300, 'slower', 1);
  console.log(`one report: ${show(same)}; 10 % slower: ${show(slower)}`);
  assert.ok(same.share('byValue') > 0.1, show(same));
  assert.ok(same.share('fail') < 0.5 * same.share('byValue'), show(same));
  assert.ok(slower.share('fail') > 0.4, show(slower));
});

test('against six reports, which tell how far runs lie apart: hardly any false alarm', () => {
  const same = otherProcesses(300, 'same', 6);
  const slower = otherProcesses(100, 'slower', 6);
  console.log(`six reports: ${show(same)}; 10 % slower: ${show(slower)}`);
  assert.ok(same.share('fail') < 0.06, show(same));
  assert.ok(slower.share('pass') < 0.1, show(slower));
});

test('on a quiet machine (1 % noise, 0.5 % from run to run, hiccups): no false alarm, all found, nearly all told', () => {
  const random = new Random(5);
  const run = (level: number): SubjectResult => {
    const mood = level * Math.exp(0.005 * random.normal());
    let state = 0;
    return alone(() => {
      state = 0.8 * state + 0.6 * random.normal();
      return mood * Math.exp(0.01 * state) + (random.chance(0.01) ? 30 : 0);
    });
  };
  const [same, slower] = [new Tally(), new Tally()];
  for (let i = 0; i < 500; i++) {
    const baseline: GateBaseline = { kind: 'runs', name: 'report', results: [run(10)] };
    same.add(verdictOf(run(10), baseline));
    slower.add(verdictOf(run(11), baseline));
  }
  console.log(`quiet: ${show(same)}; 10 % slower: ${show(slower)}`);
  assert.is(same.fail, 0, show(same));
  assert.ok(same.share('pass') > 0.9, show(same));
  assert.ok(slower.share('fail') > 0.9, show(slower));
  assert.is(slower.pass, 0);
});

function show(tally: Tally): string {
  const percent = (what: 'fail' | 'noisy' | 'pass' | 'byValue'): string =>
    `${(100 * tally.share(what)).toFixed(1)} %`;
  return `fail ${percent('fail')}, noisy ${percent('noisy')}, pass ${percent('pass')}, by value alone ${percent('byValue')} of ${tally.count}`;
}

test.run();
