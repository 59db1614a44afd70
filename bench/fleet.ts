/**
 * A fleet on this machine, with policies that take a given time (bench/fleet/simulatedServer.ts), and with --ray on Ray Serve:
 *
 *   node --import tsx bench/fleet.ts [--ray] [--latency 200] [--seconds 10] [--pairs 300]
 *
 * - throughput of 2 and 4 replicas, four robots each, beside one server alone with four
 * - latency through the fleet's client, beside a plain connection to the same replica, alternating
 * - a rolling update, SIGKILL to a replica and to a policy server, while every robot runs its control loop: HOLDs of each
 */

import { parseArgs } from 'node:util';
import { benchServer } from '../lib/client/benchServer.ts';
import { connectAct } from '../lib/client/connect.ts';
import { LocalFleet } from './fleet/localFleet.ts';
import { type Fleet, FleetOfRay, observation, Robots, startServer, withoutRay } from './fleet/parts.ts';

const { values } = parseArgs({
  options: {
    ray: { type: 'boolean', default: false },
    latency: { type: 'string', default: '200' },
    seconds: { type: 'string', default: '10' },
    pairs: { type: 'string', default: '300' },
  },
});
if (values.ray && withoutRay !== null) throw new Error(withoutRay);
const latency = `constant(${values.latency})`;
const robotsEach = 4;
/** Actions a second of a robot: half a chunk, 0.4 s, is left when the next one is asked for. */
const rateHz = 10;
const words = { instruction: 'pick up the bowl' };

function startFleet(of: string): Promise<Fleet> {
  return values.ray ? FleetOfRay.start(of) : LocalFleet.start(of);
}

async function throughput(url: string, clients: number): Promise<number> {
  const durationMs = 1000 * Number(values.seconds);
  const { throughput: answers, errors } = await benchServer(url, {
    clients,
    durationMs,
    iterations: 1,
    observation,
  });
  if (Object.keys(errors).length > 0) console.log(`${url}: errors ${JSON.stringify(errors)}`);
  return answers;
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[numbers.length >> 1]!;
}

/** Milliseconds at the median: the plain connection, the fleet's, and the difference of each pair. */
async function added(fleet: string): Promise<{ plain: number; through: number; difference: number }> {
  await using through = await connectAct(fleet, { deadlineMs: 10_000 });
  await using plain = await connectAct(through.url, { deadlineMs: 10_000 });
  const ask = async (policy: typeof plain): Promise<number> => {
    const start = performance.now();
    await policy.predict(observation, words);
    return performance.now() - start;
  };
  const pairs: [number, number][] = [];
  for (let i = -10; i < Number(values.pairs); i++) {
    const first = i % 2 === 0;
    const a = await ask(first ? plain : through);
    const b = await ask(first ? through : plain);
    if (i >= 0) pairs.push(first ? [a, b] : [b, a]);
  }
  return {
    plain: median(pairs.map(([one]) => one)),
    through: median(pairs.map(([, other]) => other)),
    difference: median(pairs.map(([one, other]) => other - one)),
  };
}

function show(what: string, robots: Robots, seconds: number): void {
  const reports = robots.report();
  const total = (of: (report: (typeof reports)[number]) => number): number =>
    reports.reduce((sum, report) => sum + of(report), 0);
  const most = Math.max(...reports.map(({ holds }) => holds));
  const others = reports.flatMap((report) => report.others);
  console.log(
    `${what.padEnd(34)} ${seconds.toFixed(1).padStart(6)} s  HOLDs: most of one robot ${most}, of all ${total(({ holds }) => holds)}, ${total(({ heldTicks }) => heldTicks)} ticks; ` +
      `actions ${total(({ executed }) => executed)}, moves ${total(({ moves }) => moves)}${others.length === 0 ? '' : `, events ${others.join(' ')}`}`,
  );
}

const settle = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

// A replica that answers at once, so that its own time does not hide the client's.
const quick = await LocalFleet.start('constant(0)');
try {
  await quick.order({ replicas: 1, version: 1 });
  const { plain, through, difference } = await added(`fleet+${quick.directory}`);
  console.log(
    `median of ${values.pairs} pairs: plain ${plain.toFixed(2)} ms, fleet ${through.toFixed(2)} ms, difference ${difference.toFixed(3)} ms`,
  );
} finally {
  await quick.end();
}

const fleet = await startFleet(latency);
const alone = await startServer(latency);
const url = `fleet+${fleet.directory}`;
try {
  for (const replicas of [2, 4]) {
    await fleet.order({ replicas, version: 1 });
    await fleet.order({ wait: replicas });
    const before = await throughput(alone.url, robotsEach);
    const many = await throughput(url, robotsEach * replicas);
    const after = await throughput(alone.url, robotsEach);
    const one = (before + after) / 2;
    console.log(
      `${replicas} replicas: ${many.toFixed(1)} answers a second; one server ${one.toFixed(1)}; ${((100 * many) / (replicas * one)).toFixed(1)} % of linear`,
    );
  }
} finally {
  await fleet.end();
  await alone.end();
}

// Two robots each, which one replica could serve alone: what is counted is the move, not a lack of replicas.
const live = await startFleet('constant(40)');
try {
  let version = 1;
  for (const replicas of [2, 4]) {
    await live.order({ replicas, version });
    await live.order({ wait: replicas });
    const robots = await Robots.start(`fleet+${live.directory}`, 2 * replicas, rateHz);
    console.log(
      `${replicas} replicas, ${2 * replicas} robots at ${rateHz} Hz; robots of each: ${(await live.robots()).join(' ')}`,
    );
    const steps: [string, () => Promise<number>][] = [
      ['nothing happens', () => settle(5000).then(() => 5)],
      ['rolling update', () => live.order({ replicas, version: ++version })],
      ['SIGKILL to a policy server', () => live.order({ kill: 'server' })],
      ['SIGKILL to a replica', () => live.order({ kill: 'replica' })],
    ];
    for (const [what, act] of steps) {
      robots.mark();
      let seconds = await act();
      // what was killed leaves the directory, and its successor comes
      await settle(4000);
      seconds += 4 + (await live.order({ wait: replicas }));
      await settle(2000);
      show(what, robots, seconds + 2);
    }
    console.log(`robots of each in the end: ${(await live.robots()).join(' ')}`);
    await robots.end();
  }
} finally {
  await live.end();
}
