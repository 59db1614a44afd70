/**
 * One random episode, in which every tick of the library is compared with the oracle: value, row, ages, HOLD and its reason,
 * what is asked and when. Frames come late, twice and out of order, questions fail, chunks are invalid or of other lengths,
 * resets and new instructions fall on any instant, and clocks are coarse or show the time since 1970.
 */

import type { ActionSpace } from '../../lib/schedule/actionSpace.ts';
import { asynchronous } from '../../lib/schedule/asynchronous.ts';
import { startControlLoop } from '../../lib/schedule/controlLoop.ts';
import { futureState } from '../../lib/schedule/futureState.ts';
import type { SentAction } from '../../lib/schedule/loopEvents.ts';
import { openLoop } from '../../lib/schedule/openLoop.ts';
import { blendRules, overlapBlend } from '../../lib/schedule/overlapBlend.ts';
import type { ActionScheduler } from '../../lib/schedule/scheduler.ts';
import { temporalEnsemble } from '../../lib/schedule/temporalEnsemble.ts';
import { VirtualClock } from '../../lib/schedule/virtualClock.ts';
import { Random } from '../../lib/support/random.ts';
import type { ActionChunk, Observation, Policy } from '../../lib/types.ts';
import { type Expected, type Kind, type Mode, Oracle, type Question, type Seen } from './oracle.ts';
import { testPolicy } from './testPolicy.ts';

const kinds: readonly Kind[] = ['position', 'delta', 'angle', 'gripper', 'binaryGripper'];
const dimensions = ['p', 'd', 'a', 'g', 'b'];
const space: ActionSpace = {
  name: 'five',
  dimensions: kinds.map((kind, d) => ({
    name: dimensions[d]!,
    kind,
    unit: '1',
    state: { index: d, scale: 1 },
    ...(kind === 'binaryGripper' ? { range: [0, 1] as const } : {}),
  })),
};

export const modeNames: readonly Mode['name'][] = [
  'openLoop',
  'asynchronous',
  'overlapBlend',
  'temporalEnsemble',
  'futureState',
];

export interface OracleReport {
  readonly problems: readonly string[];
  readonly executed: number;
  readonly held: number;
  readonly questions: number;
}

/** Rounding of sums of a few hundred numbers of size 10 in another order. */
const rounding = 1e-9;

export async function runOracleEpisode(name: Mode['name'], seed: number): Promise<OracleReport> {
  const random = new Random(seed * 40503 + modeNames.indexOf(name));
  const problems: string[] = [];
  const report = (problem: string): void => {
    if (problems.length < 3) problems.push(`at ${clock.now()}: ${problem}`);
  };
  const start = random.pick([0, -12345.678, random.between(0, 1e6), 1.7e12]);
  const clock = new VirtualClock(start);
  const grain = random.pick([0, 0, 5, 20]);
  /** Times of this episode fall on its grain, so that instants coincide. */
  const grained = (ms: number): number => (grain === 0 ? ms : Math.round(ms / grain) * grain);
  const period = random.pick([20, 25, 50]);
  const longest = random.integer(1, 12);
  const maxAge = random.pick([120, 300, 800]);
  const mode = randomMode(name, random, longest);
  const oracle = new Oracle(mode, kinds, maxAge);
  const latency = random.pick([5, 40, 150]);
  const [failing, broken, odd] = [random.pick([0, 0.15]), random.pick([0, 0.1]), random.pick([0, 0.3])];
  let asked: Question | null = null;
  let key: object = {};
  let questions = 0;

  const policy: Policy = testPolicy(
    dimensions,
    (observation, { instruction }) => {
      questions++;
      const mine = key;
      checkQuestion(observation);
      const rows = randomRows(random, random.chance(odd) ? random.integer(1, longest) : longest);
      const fate = random.next();
      const wait = grained(latency * random.between(0.3, 2.5));
      return new Promise((resolve, reject) => {
        clock.at(clock.now() + wait, () => {
          if (fate < failing) {
            oracle.answer(mine, null, true);
            reject(new Error('lost'));
          } else if (fate < failing + broken) {
            oracle.answer(mine, null, false);
            resolve(
              random.pick([
                undefined,
                {},
                rows,
                { ...chunkOf(rows, instruction), shape: [1, 1] },
              ]) as ActionChunk,
            );
          } else {
            oracle.answer(mine, rows, true);
            resolve(chunkOf(rows, instruction));
          }
        });
      });
    },
    longest,
  );
  function checkQuestion(observation: Observation): void {
    if (asked === null) report('asked, and was not to ask');
    else if (!isNear(observation.state!, asked.state))
      report(`asked about ${Array.from(observation.state!)}, not ${asked.state}`);
    asked = null;
  }

  let expected: Expected | null = null;
  let isDue = false;
  /** What was to happen by now has happened. */
  const checkDue = (): void => {
    if (asked !== null) report('did not ask');
    if (isDue && expected !== null) report(`sent nothing, not ${expected.held ?? expected.values}`);
    asked = null;
    expected = null;
    isDue = false;
  };
  const frames = randomCamera(random, grained);
  let instruction = 'task 0';
  let ended = false;
  const sent = { executed: 0, held: 0 };
  const loop = startControlLoop({
    scheduler: schedulerOf(policy, mode, clock),
    rate: 1000 / period,
    maxAge,
    instruction,
    clock,
    observe: () => {
      checkDue();
      const seen = frames(clock.now());
      key = {};
      const { asks, sends } = oracle.tick(clock.now(), seen, instruction, key);
      asked = asks;
      expected = sends;
      isDue = true;
      return seen as { observation: Observation & Seen['observation']; at: number } | null;
    },
    act: (action) => {
      if (action.held === null) sent.executed++;
      else sent.held++;
      if (ended) expected = oracle.hold('stopped');
      compare(action, expected, report);
      expected = null;
      if (random.chance(0.01)) clock.stall(grained(random.between(0, 150)));
    },
  });
  const length = random.integer(20, 60) * period;
  for (let n = random.integer(0, 3); n > 0; n--) {
    clock.at(start + grained(random.between(0, length)), () => {
      loop.reset();
      oracle.reset(clock.now());
    });
  }
  for (let n = random.integer(0, 3); n > 0; n--) {
    clock.at(start + grained(random.between(0, length)), () => {
      instruction = `task ${random.integer(0, 2)}`;
      loop.setInstruction(instruction);
    });
  }
  await clock.runUntil(start + length);
  checkDue();
  ended = true;
  const last = oracle.hold('stopped');
  const before = sent.held;
  await loop.stop();
  if (sent.held - before !== Number(last !== null)) report('the end is no HOLD');
  return { problems, ...sent, questions };
}

function compare(action: SentAction, expected: Expected | null, report: (problem: string) => void): void {
  const { values, held, observedAt, newestObservedAt } = action;
  if (expected === null) {
    report(`sent ${held ?? [...values]}, and was to send nothing`);
    return;
  }
  if (held !== expected.held) report(`${held ?? 'executed'}, not ${expected.held ?? 'executed'}`);
  if (!isNear(values, expected.values)) report(`sent ${[...values]}, not ${expected.values}`);
  const rests = expected.rests ?? [null, null];
  if (observedAt !== rests[0] || newestObservedAt !== rests[1])
    report(`rests on ${observedAt}..${newestObservedAt}, not ${rests.join('..')}`);
}

/** Angles are the same a turn on. */
function isNear(found: ArrayLike<number>, wanted: readonly number[]): boolean {
  return wanted.every((value, d) => {
    const off = Math.abs(found[d]! - value);
    return off < rounding || (kinds[d] === 'angle' && Math.abs(off - 2 * Math.PI) < rounding);
  });
}

function randomMode(name: Mode['name'], random: Random, longest: number): Mode {
  const threshold = random.next();
  switch (name) {
    case 'openLoop':
      return random.chance(0.5) ? { name } : { name, horizon: random.integer(1, longest) };
    case 'asynchronous':
      return { name, threshold };
    case 'overlapBlend':
      return { name, threshold, rule: random.pick(blendRules), frozen: random.integer(0, 3) };
    case 'temporalEnsemble':
      return { name, m: random.pick([0.01, 0.1, 0, -0.05, 3]) };
    case 'futureState':
      return { name, threshold, ahead: random.integer(0, 5) };
  }
}

function schedulerOf(policy: Policy, mode: Mode, clock: VirtualClock): ActionScheduler {
  const common = { space, clock };
  const threshold = mode.threshold ?? 0.5;
  switch (mode.name) {
    case 'openLoop':
      return openLoop(
        policy,
        mode.horizon === undefined ? common : { ...common, executeHorizon: mode.horizon },
      );
    case 'asynchronous':
      return asynchronous(policy, { ...common, threshold });
    case 'overlapBlend': {
      const rule = blendRules.find((known) => known === mode.rule)!;
      return overlapBlend(policy, { ...common, threshold, rule, frozen: mode.frozen! });
    }
    case 'temporalEnsemble':
      return temporalEnsemble(policy, { ...common, m: mode.m! });
    case 'futureState':
      return futureState(policy, { ...common, threshold, ahead: mode.ahead! });
  }
}

function randomRows(random: Random, rows: number): number[][] {
  return Array.from({ length: rows }, () => [
    random.between(-10, 10),
    random.between(-1, 1),
    random.between(-Math.PI, Math.PI),
    random.next(),
    random.next(),
  ]);
}

function chunkOf(rows: readonly (readonly number[])[], instruction: string): ActionChunk {
  const actions = Float64Array.from(rows.flat());
  return {
    actions,
    normalized: Float32Array.from(actions),
    shape: [rows.length, dimensions.length],
    dimensions,
    keptPatches: {},
    similarity: {},
    timings: { total: 1 },
    instruction,
    unnormKey: 'oracle',
  };
}

/** Frames: of now, or late, the same again, older than one before, of the future, or none. */
function randomCamera(random: Random, grained: (ms: number) => number): (now: number) => Seen | null {
  const wild = random.pick([0, 0.2, 0.5]);
  let newest: Seen | null = null;
  return (now) => {
    const drawn = random.next();
    if (random.chance(wild)) {
      if (drawn < 0.2) return null;
      if (drawn < 0.4) return newest;
      if (drawn < 0.5) return seenAt(now + grained(random.between(0, 100)));
      return seenAt(now - grained(random.between(0, 400)));
    }
    newest = seenAt(now - grained(random.between(0, 10)));
    return newest;
  };
  function seenAt(at: number): Seen {
    return { observation: { state: kinds.map(() => random.between(-1, 1)) }, at };
  }
}
