/**
 * Heads that return arbitrary bits, under every scheduler, limits and the control loop in virtual time: nothing that is not
 * finite or out of range is sent to the robot; see fuzz.ts.
 */

import { actionSpaces } from '../../lib/schedule/actionSpace.ts';
import { startControlLoop } from '../../lib/schedule/controlLoop.ts';
import { parseLatency } from '../../lib/schedule/latency.ts';
import { simulatedPolicy } from '../../lib/schedule/simulatedPolicy.ts';
import { VirtualClock } from '../../lib/schedule/virtualClock.ts';
import { Random } from '../../lib/support/random.ts';
import { makers } from '../schedule/episode.ts';

const space = actionSpaces.libero;
const dimensions = space.dimensions.map(({ name }) => name);
const chunk = 16;
/** Virtual time of one run. */
const runMs = 20_000;

interface Sums {
  runs: number;
  /** Values returned by the heads, and how many of them were not finite. */
  given: number;
  wild: number;
  refusedChunks: number;
  executed: number;
  held: number;
  /** Violations. */
  leaked: number;
}

/** Arbitrary 64 bits; most rows are finite, so that some chunks are acted upon. */
function wildRows(random: Random, wildness: number, sums: Sums): Float64Array {
  const bits = new Uint32Array(2 * chunk * dimensions.length);
  const values = new Float64Array(bits.buffer);
  for (let i = 0; i < values.length; i++) {
    if (random.chance(wildness)) {
      bits[2 * i] = random.next() * 2 ** 32;
      bits[2 * i + 1] = random.chance(0.1) ? 0x7ff00000 | (random.next() * 2 ** 20) : random.next() * 2 ** 32;
    } else values[i] = random.normal();
    if (!Number.isFinite(values[i])) sums.wild++;
  }
  sums.given += values.length;
  return values;
}

async function runHead(mode: string, seed: number, sums: Sums): Promise<void> {
  const random = new Random(seed);
  const clock = new VirtualClock();
  const wildness = random.pick([0.0005, 0.01, 1]);
  const policy = simulatedPolicy({
    dimensions,
    chunk,
    latency: parseLatency('uniform(1, 60)'),
    clock,
    seed,
    rows: () => wildRows(random, wildness, sums),
  });
  const scheduler = makers[mode]!(policy, random, chunk, { space, clock });
  const loop = startControlLoop({
    scheduler,
    rate: 50,
    maxAge: 1000,
    instruction: 'go',
    observe: () => ({ observation: { images: {}, state: new Float64Array(8) }, at: clock.now() }),
    act: ({ values, held }) => {
      values.forEach((value, d) => {
        const [low, high] = space.dimensions[d]!.range!;
        // holding a delta is zero, which is in every range
        if (!(value >= low && value <= high)) sums.leaked++;
      });
      if (held === null) sums.executed++;
      else sums.held++;
    },
    clock,
  });
  await clock.runUntil(runMs);
  await loop.stop();
  sums.refusedChunks += scheduler.counters.refusedChunks;
  await scheduler.close();
  sums.runs++;
}

/** @returns values that left and were not finite or out of range */
export async function fuzzHeads(seconds: number, seed: number): Promise<number> {
  const end = performance.now() + seconds * 1000;
  const modes = new Map(
    Object.keys(makers).map((mode): [string, Sums] => [
      mode,
      { runs: 0, given: 0, wild: 0, refusedChunks: 0, executed: 0, held: 0, leaked: 0 },
    ]),
  );
  for (let next = seed; performance.now() < end; next++) {
    for (const [mode, sums] of modes) await runHead(mode, next, sums);
  }
  const all = [...modes.values()];
  const total = (key: keyof Sums): number => all.reduce((sum, sums) => sum + sums[key], 0);
  const keys = ['runs', 'given', 'wild', 'refusedChunks', 'executed', 'held', 'leaked'] as const;
  console.log('mode'.padEnd(30) + keys.map((key) => key.padStart(14)).join(''));
  for (const [mode, sums] of modes) {
    console.log(mode.padEnd(30) + keys.map((key) => String(sums[key]).padStart(14)).join(''));
  }
  console.log('all'.padEnd(30) + keys.map((key) => String(total(key)).padStart(14)).join(''));
  return total('leaked');
}
