/**
 * What the live page costs a request: the same policy behind three servers, without the page, with it and nobody looking, and
 * with one page looking (a process of its own that reads everything). Requests alternate in turning order; each ratio is that
 * of a round, to the server without the page in the same round, so that a busy machine is busy for all.
 *
 *   node --import tsx bench/live.ts [--rounds 300] [--pause MS] [--threads N] [--json]
 *
 * The policy is the shipped one (models/libero), behind POST /act with two frames of 224 x 224. After each request the bench
 * waits --pause milliseconds.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { exampleCheckpoint } from '../lib/example/exampleCheckpoint.ts';
import { loadPolicy } from '../lib/policy/loadPolicy.ts';
import { LiveFeed } from '../lib/serve/live/liveFeed.ts';
import type { PolicyServer } from '../lib/serve/policyServer.ts';
import { servePolicy } from '../lib/serve/servePolicy.ts';
import { medianOf, sorted } from '../lib/support/median.ts';
import { liberoBody, openBareAct, pause } from './serve/peer.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '300' },
    pause: { type: 'string', default: '30' },
    threads: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
  },
});
const rounds = Number(values.rounds);
const warmUp = 20;

await using policy = await loadPolicy(await exampleCheckpoint(), { threads: Number(values.threads) });
const logger = pino({ level: 'silent' });
const start = (live: boolean): Promise<PolicyServer> =>
  servePolicy(policy, { act: { port: 0 }, openpi: false, logger, live });
await using off = await start(false);
await using unseen = await start(true);
await using seen = await start(true);

const looker = spawn(
  process.execPath,
  [
    '--input-type=module',
    '--eval',
    'let n = 0; let told = false; const { body } = await fetch(process.argv[1]); for await (const piece of body) { n += piece.length; ' +
      'if (!told) console.log("looking"); told = true; process.title = String(n); }',
    `${seen.liveUrl}/events`,
  ],
  { stdio: ['ignore', 'pipe', 'inherit'] },
);
await once(looker.stdout, 'data');

const body = liberoBody();
const sides = await Promise.all(
  [off, unseen, seen].map(async ({ actUrl }) => ({
    client: await openBareAct(actUrl!, body),
    times: [] as number[],
    cpu: [] as number[],
  })),
);
for (let round = 0; round < rounds + warmUp; round++) {
  for (let turn = 0; turn < sides.length; turn++) {
    const { client, times, cpu } = sides[(round + turn) % sides.length]!;
    const used = process.cpuUsage();
    const began = performance.now();
    const { status } = await client.ask();
    if (status !== 200) throw new Error(`answered ${status}`);
    const wall = performance.now() - began;
    // pictures are encoded after the answer: they count as CPU time of their own request, and as wall time of none
    await pause(Number(values.pause));
    const { user, system } = process.cpuUsage(used);
    if (round >= warmUp) {
      times.push(wall);
      cpu.push((user + system) / 1000);
    }
  }
}
for (const { client } of sides) client.close();
looker.kill();

/** Median of the paired ratios, and the 95 % interval of it by their order (the sign test). */
function compared(times: readonly number[], base: readonly number[]) {
  const ratios = sorted(times.map((ms, i) => ms / base[i]!));
  const half = 0.98 * Math.sqrt(ratios.length);
  const at = (place: number): number => ratios[Math.min(ratios.length - 1, Math.max(0, Math.round(place)))]!;
  return { ratio: medianOf(ratios), low: at(ratios.length / 2 - half), high: at(ratios.length / 2 + half) };
}

/** What every request does while nobody looks, nanoseconds: the fastest of many batches. */
function unseenNs(): number {
  const feed = new LiveFeed(policy, {}, pino({ level: 'silent' }));
  const fields = { find: () => undefined, names: () => '' };
  const sender = { client: 'local', port: 1 };
  const batch = 100_000;
  const times = Array.from({ length: 50 }, () => {
    const began = performance.now();
    for (let i = 0; i < batch; i++) {
      feed.heard(fields, sender);
      if (feed.asked('act', sender, 'go') !== null) throw new Error('somebody looks');
    }
    return ((performance.now() - began) * 1e6) / batch;
  });
  return Math.min(...times);
}

const names = ['off', 'on, nobody looks', 'on, one page looks'];
const rows = names.map((name, i) => ({
  name,
  wall: { p50: medianOf(sorted(sides[i]!.times)), ...compared(sides[i]!.times, sides[0]!.times) },
  cpu: { p50: medianOf(sorted(sides[i]!.cpu)), ...compared(sides[i]!.cpu, sides[0]!.cpu) },
}));
const ns = unseenNs();
if (values.json) console.log(JSON.stringify({ rounds, rows, unseenNs: ns }));
else {
  for (const { name, wall, cpu } of rows) {
    for (const [what, { p50, ratio, low, high }] of Object.entries({ wall, cpu }))
      console.log(
        `${name.padEnd(20)} ${what.padEnd(4)} p50 ${p50.toFixed(3)} ms, to off ${ratio.toFixed(4)} (95 % ${low.toFixed(4)} to ${high.toFixed(4)})`,
      );
  }
  console.log(`while nobody looks   ${ns.toFixed(1)} ns a request (goal: 1 % of a prediction)`);
}
