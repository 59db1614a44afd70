/**
 * What the recorder costs a chunk and a tick, in microseconds, beside the same call without it. All alternate in one run; the
 * median of the batches counts.
 *
 *   node --expose-gc --import tsx bench/recorder.ts [--batches 60] [--json]
 */

import { parseArgs } from 'node:util';
import { Recorder } from '../lib/profile/recorder/recorder.ts';
import { recordLoop } from '../lib/profile/recorder/recordLoop.ts';
import { recordPolicy } from '../lib/profile/recorder/recordPolicy.ts';
import type { StageTimes } from '../lib/profile/types.ts';
import type { ControlLoopOptions } from '../lib/schedule/controlLoop.ts';
import type { SentAction } from '../lib/schedule/loopEvents.ts';
import type { ActionChunk, Policy } from '../lib/types.ts';

const { values } = parseArgs({
  options: { batches: { type: 'string', default: '60' }, json: { type: 'boolean', default: false } },
});
const batches = Number(values.batches);
const batch = 1000;

/** As the CPU runtime's policy gives them for a chunk of a known instruction. */
const timings: StageTimes = {
  normalize: 0.004,
  preprocess: 0.68,
  decode: 0.2,
  resize: 0.31,
  crop: 0.1,
  instruction: 0,
  policy: 7.6,
  unnormalize: 0.01,
  total: 8.4,
};
const chunk = { timings } as unknown as ActionChunk;
const bare = { predict: () => Promise.resolve(chunk) } as unknown as Policy;

const recorder = new Recorder();
const recorded = recordPolicy(bare, recorder);
const request = { instruction: 'go' };
const observation = { images: {} };

async function chunks(policy: Policy): Promise<void> {
  for (let i = 0; i < batch; i++) await policy.predict(observation, request);
}

const sent: SentAction = {
  values: new Float64Array(7),
  held: null,
  at: 1000,
  instruction: 'go',
  epoch: 1,
  observedAt: 970,
  newestObservedAt: 970,
};
const plainAct = { act: () => {} } as unknown as ControlLoopOptions;
const recordedAct = recordLoop(plainAct, recorder);

function ticks({ act }: ControlLoopOptions): void {
  for (let i = 0; i < batch; i++) act(sent);
}

interface Subject {
  readonly name: string;
  readonly run: () => void | Promise<void>;
  /** Microseconds a call, by batch. */
  readonly times: number[];
  /** Bytes of heap a call, by batch; NaN where a collection came in between. */
  readonly bytes: number[];
}
const subject = (name: string, run: Subject['run']): Subject => ({ name, run, times: [], bytes: [] });
const direct = recorder.begin(0);
const subjects = [
  subject('chunk, bare', () => chunks(bare)),
  subject('chunk, recorded', () => chunks(recorded)),
  subject('recorder alone', () => {
    for (let i = 0; i < batch; i++) recorder.end(direct, 0, 8.4, 'done', timings);
  }),
  subject('tick, bare', () => ticks(plainAct)),
  subject('tick, recorded', () => ticks(recordedAct)),
  subject('copy for a dump, 1/1000', () => void recorder.copy()),
];

const { gc } = globalThis as { gc?: () => void };
for (let round = 0; round < batches + 5; round++) {
  for (const { run, times, bytes } of subjects) {
    gc?.();
    const heap = process.memoryUsage().heapUsed;
    const start = performance.now();
    await run();
    const us = (performance.now() - start) * (1000 / batch);
    const grown = (process.memoryUsage().heapUsed - heap) / batch;
    // the first rounds compile
    if (round < 5) continue;
    times.push(us);
    bytes.push(grown < 0 ? Number.NaN : grown);
  }
}

const median = (numbers: readonly number[]): number => {
  const sorted = numbers.filter((n) => !Number.isNaN(n)).sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
};
const rows = subjects.map(({ name, times, bytes }) => ({
  name,
  us: median(times),
  worstUs: Math.max(...times),
  bytes: median(bytes),
}));
const us = (name: string): number => rows.find((row) => row.name === name)!.us;
const summary = {
  chunkUs: us('chunk, recorded') - us('chunk, bare'),
  tickUs: us('tick, recorded') - us('tick, bare'),
  recorderUs: us('recorder alone'),
  copyUs: us('copy for a dump, 1/1000') * batch,
  goalUs: 10,
};
if (values.json) console.log(JSON.stringify({ rows, summary }));
else {
  for (const { name, us: time, worstUs, bytes } of rows)
    console.log(
      `${name.padEnd(24)} ${time.toFixed(3).padStart(8)} us, worst batch ${worstUs.toFixed(3).padStart(8)}, ${bytes.toFixed(0).padStart(5)} bytes of heap`,
    );
  console.log(
    `recording adds ${summary.chunkUs.toFixed(2)} us a chunk (goal: below ${summary.goalUs}); ` +
      `a tick ${summary.tickUs.toFixed(2)}; copying everything for a dump ${summary.copyUs.toFixed(0)} us`,
  );
}
