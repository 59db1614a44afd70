import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type RunLimits, type Runner, runInTurns } from '../../../lib/profile/measure/runner.ts';
import { steadyState } from '../../../lib/profile/measure/steadyState.ts';
import { Random } from '../../../lib/support/random.ts';

const test = suite('profile/measure/runner');

const limits: RunLimits = {
  warmUpMs: 100,
  warmUpChunks: 30,
  warmUpLimitMs: 5000,
  iterations: 200,
  durationMs: 0,
  limitMs: 1e6,
  newInstructions: 5,
};

/** Runners on a clock of their own: a chunk takes as long as `ms` says, and no real time. */
class World {
  time = 0;
  readonly log: string[] = [];
  readonly now = (): number => this.time;

  runner(name: string, ms: (call: number) => number): Runner {
    let call = 0;
    return {
      name,
      chunk: async () => {
        this.log.push(name);
        const takes = ms(call++);
        this.time += takes;
        return { policy: takes / 2 };
      },
      newInstruction: async () => {
        this.log.push(`${name} new`);
        this.time += 3;
        return { tokenize: 1 };
      },
    };
  }
}

test('every counted chunk is recorded once, in order, with its round; outliers stay', async () => {
  const world = new World();
  const takes = (call: number): number => (call % 50 === 49 ? 400 : 4);
  const [result] = await runInTurns([world.runner('a', takes)], { ...limits, now: world.now });
  const { chunks, warmUp, ranMs, rounds, uncounted, newInstruction } = result!;
  assert.ok(chunks.length >= 200);
  assert.is(uncounted, 0, 'one subject alone has the caches to itself');
  assert.is(chunks.length + warmUp.chunks, world.log.filter((name) => name === 'a').length);
  const expected = chunks.map((_, i) => takes(warmUp.chunks + i));
  const totals = chunks.map(({ stages }) => stages.total);
  assert.equal(totals, expected);
  assert.ok(expected.includes(400));
  const policies = chunks.map(({ stages }) => stages.policy);
  assert.equal(
    policies,
    expected.map((ms) => ms / 2),
  );
  const sum = expected.reduce((a, b) => a + b, 0);
  assert.is(ranMs, sum);
  const starts = chunks.map(({ startMs }) => startMs);
  assert.equal(
    starts,
    starts.toSorted((a, b) => a - b),
  );
  assert.is(chunks.at(-1)!.round, rounds - 1);
  assert.is(newInstruction.length, 5, 'the first new instruction is not counted');
});

test('subjects take turns: rounds hold both, who begins alternates, each turn has one chunk that is not counted', async () => {
  const world = new World();
  const runners = [world.runner('a', () => 5), world.runner('b', () => 10)];
  const results = await runInTurns(runners, { ...limits, now: world.now });
  const { rounds } = results[0]!;
  assert.ok(rounds >= 20, `${rounds}`);
  for (const { chunks, uncounted } of results) {
    assert.is(uncounted, rounds);
    for (let round = 0; round < rounds; round++) assert.ok(chunks.some((chunk) => chunk.round === round));
  }
  for (let round = 0; round < rounds; round++) {
    const [a, b] = results.map(({ chunks }) => chunks.find((chunk) => chunk.round === round)!.startMs);
    assert.is(a! < b!, round % 2 === 0);
  }
});

test('at a rate: chunks begin at the ticks, and ticks that pass meanwhile are missed, each of its own subject', async () => {
  const world = new World();
  const wait = async (ms: number): Promise<void> => {
    world.time += ms;
  };
  // every fifth chunk of a takes two periods and a half: two ticks pass
  const runners = [world.runner('a', (call) => (call % 5 === 0 ? 250 : 20)), world.runner('b', () => 100)];
  const options = { ...limits, iterations: 100, rateHz: 10, now: world.now, wait };
  const [a, b] = await runInTurns(runners, options);
  const start = a!.chunks[0]!.startMs;
  for (const { chunks } of [a!, b!])
    for (const { startMs } of chunks) assert.ok(Math.abs((startMs - start) % 100) < 1e-6, `${startMs}`);
  const slow = a!.chunks.filter(({ stages }) => stages.total! > 100).length;
  assert.ok(slow >= 15);
  assert.is(a!.missed, 2 * slow);
  assert.is(b!.missed, 0, 'a chunk that takes just the period misses nothing');
  for (const { chunks, missed, ranMs } of [a!, b!]) assert.is(ranMs, 100 * (chunks.length + missed));
});

test('warm-up lasts until the medians agree, and says so', async () => {
  const world = new World();
  // caches fill: each chunk is faster than the one before, until the 200th
  const takes = (call: number): number => Math.max(10, 30 - call / 10);
  const [result] = await runInTurns([world.runner('a', takes)], { ...limits, now: world.now });
  const { stable, chunks, because } = result!.warmUp;
  assert.ok(stable);
  assert.ok(chunks > 200, `${chunks}`);
  assert.match(because, /medians of the last 3 windows of \d+ chunks lie within \d+\.\d %, at most 3 %/);
});

test('what never gets steady is measured all the same, and reported as not steady', async () => {
  const world = new World();
  const [result] = await runInTurns([world.runner('a', (call) => 10 * 1.01 ** (call / 10))], {
    ...limits,
    iterations: 20,
    warmUpLimitMs: 3000,
    now: world.now,
  });
  const { stable, because, ms } = result!.warmUp;
  assert.is(stable, false);
  assert.match(because, /more than 3 %/);
  assert.ok(ms >= 3000);
});

test('the limit ends what is slow; at least one chunk is measured', async () => {
  const world = new World();
  const [result] = await runInTurns([world.runner('slow', () => 9000)], {
    ...limits,
    warmUpLimitMs: 1000,
    limitMs: 20_000,
    now: world.now,
  });
  assert.is(result!.chunks.length, 3);
  assert.is(result!.warmUp.chunks, 1);
  assert.match(result!.warmUp.because, /too few to tell/);
});

test('duration: as long as asked, even when the chunks are there', async () => {
  const world = new World();
  const [result] = await runInTurns([world.runner('a', () => 5)], {
    ...limits,
    iterations: 10,
    durationMs: 2000,
    now: world.now,
  });
  assert.ok(result!.ranMs >= 2000 && result!.ranMs < 2100);
});

test('an aborted run rejects with the reason, at once', async () => {
  const world = new World();
  const controller = new AbortController();
  const reason = new Error('enough');
  const runner = world.runner('a', (call) => {
    if (call === 40) controller.abort(reason);
    return 5;
  });
  const options = { ...limits, now: world.now, signal: controller.signal };
  const outcome = await runInTurns([runner], options).catch((error: unknown) => error);
  assert.is(outcome, reason);
  assert.is(world.log.length, 41);
});

test('steady state: noise about one level is steady, a step is not', () => {
  const random = new Random(3);
  const level = Array.from({ length: 200 }, () => 10 * (1 + 0.02 * random.normal()));
  assert.ok(steadyState(level).stable);
  const step = level.map((ms, i) => (i < 160 ? ms : 1.1 * ms));
  assert.is(steadyState(step).stable, false);
  assert.is(steadyState([]).stable, false);
});

test.run();
