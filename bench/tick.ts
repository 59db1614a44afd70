/**
 * How late ticks are, beside the platform's own timers, alternating in one run.
 *
 *   node --import tsx bench/tick.ts [--rate 50] [--seconds 10] [--rounds 3] [--json]
 *
 * Lateness is from a tick's deadline to its start, in milliseconds. The four ways, one after the other in every round:
 *   loop           the control loop with an asynchronous scheduler, its default clock (busy for the last 1.5 ms)
 *   loop, timer    the same with a plain timer (no busy waiting)
 *   setTimeout     a bare setTimeout to the same deadlines, nothing else: the platform's error, early or late
 *   setInterval    a bare setInterval, whose errors add up
 * CPU is the share of one core that the process used meanwhile. On a machine that is not idle all of them are later.
 *
 * The latest ticks of the loop are listed with what happened since the tick before: CPU time of this process, time its
 * garbage collector took, and time it stood ready in the kernel's queue without a core. A tick that is late with little
 * of the first two was late for want of a core or of the machine, whatever this process does. `chrt -r` leaves 5 % of
 * each second to others (kernel.sched_rt_runtime_us): a process that was busy for 950 ms then waits 50 ms.
 */

import { readFileSync } from 'node:fs';
import { PerformanceObserver } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { asynchronous } from '../lib/schedule/asynchronous.ts';
import { type Clock, monotonicClock } from '../lib/schedule/clock.ts';
import { startControlLoop } from '../lib/schedule/controlLoop.ts';
import { parseLatency } from '../lib/schedule/latency.ts';
import { simulatedPolicy } from '../lib/schedule/simulatedPolicy.ts';

const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '50' },
    seconds: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  },
});
const rate = Number(values.rate);
const period = 1000 / rate;
const ticks = Math.round(Number(values.seconds) * rate);

/** Lateness of `ticks` ticks, ms. */
type Way = () => Promise<number[]>;

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** What this process had used and waited for, in milliseconds since its start. */
interface Used {
  readonly cpu: number;
  readonly queue: number;
  readonly collector: number;
}

interface LateTick {
  readonly way: string;
  readonly tick: number;
  readonly late: number;
  readonly since: Used;
}

let collector = 0;
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) collector += duration;
}).observe({ entryTypes: ['gc'] });

function used(): Used {
  const [cpu, queue] = readFileSync('/proc/self/schedstat', 'utf8').split(' ').map(Number);
  return { cpu: cpu! / 1e6, queue: queue! / 1e6, collector };
}

const lateTicks: LateTick[] = [];

async function loop(way: string, clock: Clock): Promise<number[]> {
  await using policy = simulatedPolicy({
    dimensions: ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper'],
    chunk: 8,
    latency: parseLatency('lognormal(60, 0.3)'),
    platform: {
      name: 'libero',
      cameras: ['full_image', 'wrist_image'],
      proprio: true,
      centerCrop: true,
      jpeg: true,
      chunk: 8,
      normalization: 'q99',
    },
  });
  const starts: number[] = [];
  const due: number[] = [];
  let before = used();
  await using running = startControlLoop({
    scheduler: asynchronous(policy),
    rate,
    maxAge: 1000,
    instruction: 'wait',
    observe: () => {
      const at = performance.now();
      starts.push(at);
      const after = used();
      const since = {
        cpu: after.cpu - before.cpu,
        queue: after.queue - before.queue,
        collector: after.collector - before.collector,
      };
      before = after;
      lateTicks.push({ way, tick: starts.length, late: at - due.at(-1)!, since });
      return { observation: { images: {}, state: new Float64Array(8) }, at };
    },
    act: () => {},
    clock: {
      now: clock.now,
      at: (time, callback) => {
        due.push(time);
        return clock.at(time, callback);
      },
    },
  });
  while (starts.length < ticks) await pause(50);
  await running.stop();
  return starts.slice(0, ticks).map((start, i) => start - due[i]!);
}

const ways: Readonly<Record<string, Way>> = {
  loop: () => loop('loop', monotonicClock(1.5)),
  'loop, timer': () => loop('loop, timer', monotonicClock()),
  setTimeout: async () => {
    const begin = performance.now();
    const late: number[] = [];
    for (let k = 1; k <= ticks; k++) {
      const due = begin + k * period;
      await pause(due - performance.now());
      late.push(Math.abs(performance.now() - due));
    }
    return late;
  },
  setInterval: () =>
    new Promise((resolve) => {
      const late: number[] = [];
      const begin = performance.now();
      const timer = setInterval(() => {
        late.push(Math.max(0, performance.now() - begin - (late.length + 1) * period));
        if (late.length < ticks) return;
        clearInterval(timer);
        resolve(late);
      }, period);
    }),
};

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
}

const all = new Map<string, { late: number[]; cpu: number[] }>();
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [name, way] of Object.entries(ways)) {
    const cpu = process.cpuUsage();
    const begin = performance.now();
    const late = await way();
    const { user, system } = process.cpuUsage(cpu);
    const entry = all.get(name) ?? { late: [], cpu: [] };
    entry.late.push(...late);
    entry.cpu.push((user + system) / 1000 / (performance.now() - begin));
    all.set(name, entry);
  }
}
const rows = [...all].map(([name, { late, cpu }]) => {
  const sorted = late.toSorted((a, b) => a - b);
  const [p50, p90, p99] = [0.5, 0.9, 0.99].map((share) => quantile(sorted, share));
  return {
    name,
    ticks: late.length,
    p50,
    p90,
    p99,
    max: sorted.at(-1)!,
    cpu: cpu.reduce((a, b) => a + b) / cpu.length,
  };
});
const latest = lateTicks.toSorted((a, b) => b.late - a.late).slice(0, 5);
if (values.json) console.log(JSON.stringify({ rate, rows, latest }));
else {
  console.log(
    `${rate} Hz, lateness in ms\n${'way'.padEnd(14)}${['ticks', 'p50', 'p90', 'p99', 'max', 'CPU'].map((head) => head.padStart(9)).join('')}`,
  );
  for (const { name, ticks, p50, p90, p99, max, cpu } of rows) {
    const cells = [
      String(ticks),
      ...[p50, p90, p99, max].map((ms) => ms!.toFixed(3)),
      `${(100 * cpu).toFixed(1)} %`,
    ];
    console.log(name.padEnd(14) + cells.map((cell) => cell.padStart(9)).join(''));
  }
  console.log(
    '\nThe latest ticks, and since the tick before (ms): own CPU, own collector, waiting for a core',
  );
  for (const { way, tick, late, since } of latest) {
    const cells = [late, since.cpu, since.collector, since.queue].map((ms) => ms.toFixed(3).padStart(9));
    console.log(`${way.padEnd(14)}${String(tick).padStart(9)}${cells.join('')}`);
  }
}
