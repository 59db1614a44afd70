/**
 * Robots that run their control loops on a fleet of simulated policies while it is updated and killed: with the programs of deploy/
 * and, where it is installed, on Ray Serve. Counts, no times.
 */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LocalFleet } from '../../bench/fleet/localFleet.ts';
import { type Fleet, FleetOfRay, Robots, withoutRay } from '../../bench/fleet/parts.ts';
import { noFetching } from '../helpers/pythonVenv.ts';
import { testWhen } from '../helpers/skip.ts';
import { until } from '../serve/harness.ts';

const test = suite('fleet at work');

/** Answers at once: what holds is not a lack of computing time. */
const latency = 'constant(5)';
const replicas = 2;
const count = 4;
/**
 * Actions a second: a chunk lasts 2 s, one more second is left when the next is asked for. Starting Ray's processes takes all of a
 * small machine for that long; a client that waited for a lease (3 s) or asked a replica that is gone again would hold still.
 */
const rateHz = 4;

async function updatedAndKilled(start: (latency: string) => Promise<Fleet>): Promise<void> {
  const fleet = await start(latency);
  try {
    await fleet.order({ replicas, version: 1 });
    await fleet.order({ wait: replicas });
    const robots = await Robots.start(`fleet+${fleet.directory}`, count, rateHz);
    try {
      const even = (): Promise<void> =>
        until(async () => (await fleet.robots()).join() === '2,2', 'robots evenly on both');
      await even();
      for (const order of [{ replicas, version: 2 }, { kill: 'server' }, { kill: 'replica' }] as const) {
        robots.mark();
        const before = robots.report().map(({ moves }) => moves);
        await fleet.order(order);
        await until(
          () => robots.report().reduce((sum, { moves }) => sum + moves, 0) >= count / replicas,
          'the robots of the replica that is gone on the other',
        );
        assert.ok(before.every((moves) => moves === 0));
        await fleet.order({ wait: replicas });
        await even();
        for (const { holds, others } of robots.report()) {
          assert.ok(holds <= 1, `${JSON.stringify(order)}: ${holds} HOLDs of one robot, ${others}`);
          // a directory that is late for a moment moves nobody
          const lost = others.filter((kind) => kind !== 'directory');
          assert.equal(lost, []);
        }
      }
    } finally {
      await robots.end();
    }
    await until(async () => (await fleet.robots()).join() === '0,0', 'free places');
  } finally {
    await fleet.end();
  }
}

testWhen(noFetching === null, 'SEMANTICVLA_LONG_TESTS=1 runs it', test, 'without Ray', () =>
  updatedAndKilled((of) => LocalFleet.start(of)),
);

testWhen(
  noFetching === null && withoutRay === null,
  withoutRay ?? 'SEMANTICVLA_LONG_TESTS=1 runs it',
  test,
  'on Ray Serve',
  () => updatedAndKilled((of) => FleetOfRay.start(of)),
);

test.run();
