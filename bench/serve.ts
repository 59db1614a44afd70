/**
 * What serving costs, on loopback, each figure beside its baseline in the same run:
 *
 *   node --import tsx bench/serve.ts overhead [--requests 300]    p50 and p99 of an empty policy, ours beside the reference's
 *                                                               and beside two that only read the bytes: Node's HTTP
 *                                                               server (http floor) and a bare socket (socket floor)
 *                                                               With --beside FOLDER also the server of another checkout
 *   node --import tsx bench/serve.ts overload [--seconds 6]       a robot of 10 Hz beside four clients that send without pause
 *   node --import tsx bench/serve.ts health [--seconds 5]         /healthz while a real inference runs
 *   node --import tsx bench/serve.ts disconnects [--rounds 100]   a client goes; how soon the next one is answered
 *   node --import tsx bench/serve.ts connections [--cycles 10000] memory after connects and disconnects
 *
 * Without a name: all five. Requests to the servers of `overhead` alternate, so that a busy machine is busy for all.
 */

import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { WebSocket } from 'ws';
import { freePort } from '../scripts/freePort.ts';
import { pythonPeers } from '../test/serve/pythonPeers.ts';
import { disconnectTimes, phases } from './serve/disconnects.ts';
import {
  ask,
  type BareClient,
  busyMicroseconds,
  keptAgent,
  liberoBody,
  openBareAct,
  pause,
  percentile,
  type Started,
  startBeside,
  startFloor,
  startOurs,
  startReference,
  stop,
} from './serve/peer.ts';
import { liberoMessage, openBareWebSocket } from './serve/webSocketClient.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    requests: { type: 'string', default: '300' },
    seconds: { type: 'string', default: '6' },
    rounds: { type: 'string', default: '100' },
    cycles: { type: 'string', default: '10000' },
    beside: { type: 'string' },
  },
});

const golden = join(import.meta.dirname, '../test/golden/libero-tiny/checkpoint');

function print(name: string, figures: Record<string, number | string>): void {
  const texts = Object.entries(figures).map(([key, value]) => {
    return `${key} ${typeof value === 'number' ? Number(value.toPrecision(4)) : value}`;
  });
  process.stdout.write(`${name.padEnd(12)} ${texts.join(', ')}\n`);
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}

interface Row {
  readonly name: string;
  readonly server: Started;
  readonly client: BareClient;
  /** Milliseconds from the request to its answer. */
  readonly times: number[];
}

/** Requests in one go, for the time that a server is busy with one. */
const blockRequests = 200;

async function answered({ name, client }: Row): Promise<void> {
  const { status, body } = await client.ask();
  if (status !== 200 || body.length < 100) throw new Error(`${name} answered ${status}: ${body}`);
}

async function overhead(): Promise<void> {
  const { python, reason } = pythonPeers();
  if (python === null) {
    process.stdout.write(`overhead     SKIPPED: ${reason}\n`);
    return;
  }
  const [body, message] = [liberoBody(), liberoMessage()];
  const ours = await startOurs();
  const reference = await startReference(python, await freePort());
  const openpi = await startReference(python, await freePort(), 'referenceOpenpi.py');
  const httpFloor = await startFloor('http');
  const socketFloor = await startFloor('socket');
  const beside = values.beside === undefined ? null : await startBeside(values.beside);
  // Connections come last: a server ends one that says nothing.
  const sides: [string, Started, Row['client']][] = [
    ['socket floor', socketFloor, await openBareAct(socketFloor.act, body)],
    // As many bytes as a message of openpi has.
    ['socket floor, openpi', socketFloor, await openBareAct(socketFloor.act, message)],
    ['http floor', httpFloor, await openBareAct(httpFloor.act, body)],
    ['ours', ours, await openBareAct(ours.act, body)],
    ['ours, openpi', ours, await openBareWebSocket(ours.openpi, message)],
    ['reference', reference, await openBareAct(reference.act, body)],
    ['reference, openpi', openpi, await openBareWebSocket(openpi.openpi, message)],
  ];
  if (beside !== null) {
    sides.push(
      ['beside', beside, await openBareAct(beside.act, body)],
      ['beside, openpi', beside, await openBareWebSocket(beside.openpi, message)],
    );
  }
  const rows = sides.map(([name, server, client]): Row => ({ name, server, client, times: [] }));
  const warmUp = 50;
  for (let i = 0; i < warmUp + Number(values.requests); i++) {
    for (const row of rows) {
      const ms = await timed(() => answered(row));
      if (i >= warmUp) row.times.push(ms);
    }
  }
  const busy = new Map<string, number>();
  for (const row of rows) {
    const before = busyMicroseconds(row.server);
    for (let i = 0; i < blockRequests; i++) await answered(row);
    await pause(50);
    busy.set(row.name, (busyMicroseconds(row.server) - before) / blockRequests / 1000);
  }
  for (const { client } of rows) client.close();
  for (const server of [ours, reference, openpi, httpFloor, socketFloor]) await stop(server);
  if (beside !== null) await stop(beside);
  const p50 = (name: string): number => percentile(rows.find((row) => row.name === name)!.times, 0.5);
  for (const { name, times } of rows) {
    const compared = name.endsWith('openpi') ? 'reference, openpi' : 'reference';
    print('overhead', {
      server: name,
      p50_ms: percentile(times, 0.5),
      p99_ms: percentile(times, 0.99),
      server_busy_ms: busy.get(name)!,
      reference_is: `${(p50(compared) / p50(name)).toFixed(2)}x`,
    });
  }
  print('overhead', {
    p50_ratio: p50('reference') / p50('ours'),
    p50_ratio_above_socket_floor:
      (p50('reference') - p50('socket floor')) / (p50('ours') - p50('socket floor')),
    goal: '>= 5',
  });
  print('overhead', {
    openpi_p50_ratio: p50('reference, openpi') / p50('ours, openpi'),
    openpi_p50_ratio_above_socket_floor:
      (p50('reference, openpi') - p50('socket floor, openpi')) /
      (p50('ours, openpi') - p50('socket floor, openpi')),
  });
}

async function overload(): Promise<void> {
  const serviceMs = 50;
  const floods = 4;
  const server = await startOurs('--latency', String(serviceMs));
  const body = liberoBody();
  const end = performance.now() + Number(values.seconds) * 1000;
  let others = 0;
  const flooding = Array.from({ length: floods }, async () => {
    const agent = keptAgent(1);
    while (performance.now() < end) {
      if ((await ask(agent, `${server.act}/act`, body)).status === 200) others++;
    }
    agent.destroy();
  });
  const robot: number[] = [];
  let refused = 0;
  const agent = keptAgent(1);
  while (performance.now() < end) {
    const start = performance.now();
    if ((await ask(agent, `${server.act}/act`, body)).status === 200) robot.push(performance.now() - start);
    else refused++;
    await pause(Math.max(0, 100 - (performance.now() - start)));
  }
  await Promise.all(flooding);
  agent.destroy();
  await stop(server);
  print('overload', { floods, answered_to_floods: others, answered_to_robot: robot.length, refused });
  const turns = floods + 1;
  print('overload', {
    robot_p50_ms: percentile(robot, 0.5),
    robot_p99_ms: percentile(robot, 0.99),
    goal: `<= ${turns} turns of ${serviceMs} ms`,
  });
}

async function health(): Promise<void> {
  const server = await startOurs('--checkpoint', golden, '--unnorm-key', 'libero_spatial_no_noops');
  const body = liberoBody();
  const agent = keptAgent(1);
  const end = performance.now() + Number(values.seconds) * 1000;
  let inferences = 0;
  const idle: number[] = [];
  const busy: number[] = [];
  const probe = keptAgent(1);
  for (let i = 0; i < 200; i++) idle.push(await timed(() => ask(probe, `${server.act}/healthz`, null)));
  const work = (async () => {
    while (performance.now() < end) {
      const { status } = await ask(agent, `${server.act}/act`, body);
      if (status !== 200) throw new Error(`/act answered ${status}`);
      inferences++;
    }
  })();
  while (performance.now() < end) {
    busy.push(await timed(() => ask(probe, `${server.act}/healthz`, null)));
    await pause(5);
  }
  await work;
  agent.destroy();
  probe.destroy();
  await stop(server);
  print('health', { idle_p99_ms: percentile(idle, 0.99), inferences });
  print('health', {
    inferring_p50_ms: percentile(busy, 0.5),
    inferring_p99_ms: percentile(busy, 0.99),
    goal: '<= 10',
  });
}

async function residentMiB({ child, act }: Started): Promise<number> {
  child.kill('SIGUSR2');
  await pause(300);
  const agent = keptAgent(1);
  const { body } = await ask(agent, `${act}/metrics`, null);
  agent.destroy();
  const bytes = /^process_resident_memory_bytes (\S+)$/m.exec(body.toString())?.[1];
  return Number(bytes) / 2 ** 20;
}

function webSocketCycle(url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    socket.on('message', () => socket.terminate());
    socket.on('close', () => resolve());
    socket.on('error', reject);
  });
}

async function connections(): Promise<void> {
  const server = await startOurs();
  const body = liberoBody();
  const cycle = async (i: number): Promise<void> => {
    if (i % 2 === 0) return webSocketCycle(server.openpi);
    const agent = keptAgent(1);
    await ask(agent, `${server.act}/${i % 20 === 1 ? 'act' : 'healthz'}`, i % 20 === 1 ? body : null);
    agent.destroy();
  };
  const run = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i += 8) await Promise.all(Array.from({ length: 8 }, (_, j) => cycle(i + j)));
  };
  const cycles = Number(values.cycles);
  await run(Math.ceil(cycles / 5));
  const before = await residentMiB(server);
  await run(cycles);
  const after = await residentMiB(server);
  await stop(server);
  const perCycle = ((after - before) * 1024) / cycles;
  print('connections', { cycles, before_mib: before, after_mib: after, kib_a_cycle: perCycle });
}

async function disconnects(): Promise<void> {
  const server = await startOurs();
  for (const protocol of ['act', 'openpi'] as const) {
    for (const phase of phases) {
      const times = await disconnectTimes(server, protocol, phase, Number(values.rounds));
      print('disconnects', {
        protocol,
        phase,
        rounds: times.length,
        p50_ms: percentile(times, 0.5),
        max_ms: Math.max(...times),
        goal: '<= 100',
      });
    }
  }
  await stop(server);
}

const parts = { overhead, overload, health, disconnects, connections };
const names = positionals.length === 0 ? Object.keys(parts) : positionals;
for (const name of names) {
  if (!Object.hasOwn(parts, name))
    throw new Error(`Expected one of ${Object.keys(parts).join(', ')}, found ${name}`);
  await parts[name as keyof typeof parts]();
}
