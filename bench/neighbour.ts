/**
 * Threads and spinning of the CPU runtime with the machine to itself and with a busy neighbour, alternating in one run.
 *
 *   node --import tsx bench/neighbour.ts [CHECKPOINT] [--threads 1,2] [--spin 0,100,1000000] [--rounds N] [--chunks N] [--json]
 *
 * Every setting is a policy of its own; in each round every one predicts a few chunks, first alone, then beside a process
 * that does nothing but compute on one core. Without a checkpoint the golden LIBERO policy (4.6 M random weights).
 * Processor time is what the whole process took for a chunk: spinning shows there, also where it costs no latency.
 * Other work on the machine counts as a neighbour too: the load is printed, and only one run's columns compare.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { availableParallelism, loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { readObservation } from '../lib/observation/readObservation.ts';
import { loadPolicy } from '../lib/policy/loadPolicy.ts';
import type { Policy } from '../lib/types.ts';

const golden = fileURLToPath(new URL('../test/golden/libero-tiny', import.meta.url));
const instruction = 'pick up the black bowl between the plate and the ramekin and place it on the plate';
/** Longer than any worker of ONNX Runtime spins, so that one subject's workers sleep when the next begins. */
const pauseMs = 60;
const warmUp = 20;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    threads: { type: 'string', default: [...new Set([1, availableParallelism()])].join(',') },
    spin: { type: 'string', default: '0,20,100,1000,1000000' },
    rounds: { type: 'string', default: '12' },
    chunks: { type: 'string', default: '20' },
    json: { type: 'boolean', default: false },
  },
});

interface Subject {
  readonly threads: number;
  readonly spin: number;
  readonly policy: Policy;
  readonly times: { readonly alone: number[]; readonly busy: number[] };
  readonly cpu: { readonly alone: number[]; readonly busy: number[] };
}

type Condition = keyof Subject['times'];

const numbers = (text: string): number[] => text.split(',').map(Number);
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, pauseMs));
const unnormKey = 'libero_spatial_no_noops';

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]!;
}

async function turn(subject: Subject, condition: Condition, chunks: number): Promise<void> {
  await pause();
  for (let i = 0; i < chunks; i++) {
    const before = process.cpuUsage();
    const start = performance.now();
    await subject.policy.predict(observation, { instruction, unnormKey });
    subject.times[condition].push(performance.now() - start);
    const { user, system } = process.cpuUsage(before);
    subject.cpu[condition].push((user + system) / 1000);
  }
}

function startNeighbour(): ChildProcess {
  return spawn(process.execPath, ['--eval', 'for (;;);'], { stdio: 'ignore' });
}

const { observation } = await readObservation(`${golden}/obs0`);
const subjects: Subject[] = [];
for (const threads of numbers(values.threads)) {
  // a single thread has no workers that could spin
  for (const spin of threads === 1 ? [0] : numbers(values.spin)) {
    const policy = await loadPolicy(positionals[0] ?? `${golden}/checkpoint`, {
      platform: 'libero',
      threads,
      spin,
    });
    const empty = () => ({ alone: [], busy: [] });
    subjects.push({ threads, spin, policy, times: empty(), cpu: empty() });
  }
}
for (const { policy } of subjects)
  for (let i = 0; i < warmUp; i++) await policy.predict(observation, { instruction, unnormKey });
const loads: number[] = [];
for (let round = 0; round < Number(values.rounds); round++) {
  // the order turns, so that no subject always follows the same one
  const order = subjects.map((_, i) => subjects[(i + round) % subjects.length]!);
  for (const subject of order) await turn(subject, 'alone', Number(values.chunks));
  const neighbour = startNeighbour();
  try {
    for (const subject of order) await turn(subject, 'busy', Number(values.chunks));
  } finally {
    neighbour.kill('SIGKILL');
  }
  loads.push(loadavg()[0]!);
}
const rows = subjects.map(({ threads, spin, times, cpu }) => ({
  threads,
  spin,
  ...Object.fromEntries(
    (['alone', 'busy'] as const).map((condition) => [
      condition,
      {
        p50: percentile(times[condition], 0.5),
        p99: percentile(times[condition], 0.99),
        cpuMs: percentile(cpu[condition], 0.5),
      },
    ]),
  ),
}));
if (values.json) console.log(JSON.stringify({ rows, loads }, null, 2));
else {
  console.log(
    `${availableParallelism()} cores; load average of a minute over the run: ${loads[0]!.toFixed(1)} to ${loads.at(-1)!.toFixed(1)}`,
  );
  console.log('threads  spin us   alone p50     p99  cpu ms    busy p50     p99  cpu ms');
  for (const row of rows) {
    const cells = (['alone', 'busy'] as const).flatMap((condition) => {
      const { p50, p99, cpuMs } = (
        row as unknown as Record<Condition, { p50: number; p99: number; cpuMs: number }>
      )[condition];
      return [p50, p99, cpuMs].map((value) => value.toFixed(1).padStart(7));
    });
    console.log([String(row.threads).padStart(7), String(row.spin).padStart(8), '   ', ...cells].join(' '));
  }
}
await Promise.all(subjects.map(({ policy }) => policy.close()));
