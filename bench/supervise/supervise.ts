/**
 * What a process of its own costs the engine: one prediction of a policy that computes nothing, two frames of 224 x 224
 * there, a chunk with similarities back; in turns with Node's own channel, and with one byte there and back, below which
 * no two processes of Node get. Then faults: from the end of the engine to the
 * refusal of the call and to the next engine, for one that holds nothing and for one that holds memory, as a real one does.
 *
 *   node --import tsx bench/supervise/supervise.ts [--rounds 1000] [--faults 5]
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { superviseEngine } from '../../lib/supervise/superviseEngine.ts';
import type { Observation } from '../../lib/types.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '1000' }, faults: { type: 'string', default: '5' } },
});
const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const instruction = 'pick up the black bowl and place it on the plate';

function observation(): Observation {
  const frame = () => ({
    width: 224,
    height: 224,
    data: new Uint8Array(224 * 224 * 3).fill(Math.random() * 255),
  });
  return { images: { full_image: frame(), wrist_image: frame() }, state: new Float64Array(8) };
}

function quantile(times: readonly number[], q: number): string {
  const sorted = times.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!.toFixed(3);
}

function row(name: string, times: readonly number[], unit = 'ms'): void {
  const cells = [0, 0.5, 0.9, 0.99, 1].map((q) => quantile(times, q).padStart(8));
  console.log(
    `${name.padEnd(34)} min ${cells[0]}  p50 ${cells[1]}  p90 ${cells[2]}  p99 ${cells[3]}  max ${cells[4]} ${unit}`,
  );
}

async function ipcChild(): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), here('./ipcEngine.ts')], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    serialization: 'advanced',
  });
  await once(child, 'message');
  return child;
}

function echoChild(): { child: ChildProcess; socket: Socket } {
  const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), here('./echoEngine.ts')], {
    stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
  });
  return { child, socket: child.stdio[3] as Socket };
}

const engine = { module: here('./nullEngine.ts') };
const [shared, pipe] = await Promise.all(
  (['shared', 'pipe'] as const).map((transport) =>
    superviseEngine({ engine, transport, deadlineMs: 60_000, silenceMs: 60_000 }),
  ),
);
const ipc = await ipcChild();
const echo = echoChild();
const ways: readonly {
  readonly name: string;
  readonly times: number[];
  readonly call: () => Promise<unknown>;
}[] = [
  {
    name: 'one byte (floor)',
    times: [],
    call: () => {
      const answer = once(echo.socket, 'data');
      echo.socket.write('x');
      return answer;
    },
  },
  { name: 'shared memory', times: [], call: () => shared!.predict(observation0, { instruction }) },
  { name: 'pipe', times: [], call: () => pipe!.predict(observation0, { instruction }) },
  {
    name: 'child_process IPC (advanced)',
    times: [],
    call: () => {
      const answer = once(ipc, 'message');
      ipc.send({ observation: observation0, instruction });
      return answer;
    },
  },
];
const observation0 = observation();
const rounds = Number(values.rounds);

/** `block` calls of one way, then of the next; each after a pause. */
async function measure(title: string, calls: number, block: number, pauseMs: number): Promise<void> {
  for (const { times } of ways) times.length = 0;
  for (let done = -block; done < calls; done += block) {
    for (const { times, call } of ways) {
      for (let i = 0; i < block; i++) {
        if (pauseMs > 0) await sleep(pauseMs);
        const start = performance.now();
        await call();
        if (done >= 0) times.push(performance.now() - start);
      }
    }
  }
  console.log(title);
  for (const { name, times } of ways) row(name, times);
}

console.log('Round trip of a prediction; wanted of shared memory: p50 <= 0.5 ms');
await measure(`one after the other, ${rounds} calls in blocks of 50`, rounds, 50, 0);
await measure(`one every 10 ms, as a robot asks, ${rounds / 5} calls in turns`, rounds / 5, 1, 10);
ipc.kill();
echo.child.kill();
await pipe!.close();

await shared!.close();

/** A tick of 50 ms is the limit for every single one: the largest is printed too. */
async function faultsOf(title: string, megabytes: number): Promise<void> {
  const [known, gone, ready]: [number[], number[], number[]] = [[], [], []];
  await using policy = await superviseEngine({
    engine: { module: engine.module, options: { megabytes } },
    deadlineMs: 60_000,
    silenceMs: 60_000,
  });
  const alive = setInterval(() => {}, 1000);
  for (let i = 0; i < Number(values.faults); i++) {
    await policy.whenReady();
    // an engine that loads keeps a core busy: with real-time priority it uses up what the kernel grants in a second
    await sleep(1500);
    const lost = new Promise<void>((resolve) => {
      const stop = policy.listen((event) => {
        if (event.kind !== 'lost') return;
        stop();
        resolve();
      });
    });
    const { pid } = policy;
    const start = performance.now();
    process.kill(pid!, 'SIGKILL');
    const ended = end(pid!).then(() => gone.push(performance.now() - start));
    await lost;
    known.push(performance.now() - start);
    await Promise.all([ended, policy.whenReady()]);
    ready.push(performance.now() - start);
  }
  clearInterval(alive);
  console.log(title);
  row('known to the supervisor', known);
  row('its process gone', gone);
  row('another one ready', ready);
}

async function end(pid: number): Promise<void> {
  while (existsSync(`/proc/${pid}`)) await sleep(1);
}

console.log(
  `\nThe engine is killed, ${values.faults} times; wanted: known within a tick of 50 ms, ready within 5 s`,
);
await faultsOf('an engine that holds nothing', 0);
await faultsOf('an engine that holds 2 GB', 2048);
