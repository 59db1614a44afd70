/** The thread started by sampleMachine.ts. */

import { parentPort } from 'node:worker_threads';
import { machineProbe } from '../support/machineProbe.ts';
import { monotonicMs } from '../support/monotonicMs.ts';
import { readProcesses } from './counters.ts';
import type { Sampled } from './sampleMachine.ts';
import { openSensors } from './sensors.ts';
import { SeriesBuilder } from './seriesBuilder.ts';

const port = parentPort;
if (port === null) throw new Error('samplerWorker.ts runs only as a worker thread');

/** The largest share of the thread's time that may go into sampling. */
const largestShare = 0.1;
/** Commands that print lines need a moment before the first sample can read them. */
const settleMs = 20;

port.once('message', ({ intervalMs }: { readonly intervalMs: number }) => {
  const sensors = openSensors(machineProbe, intervalMs);
  const series = new SeriesBuilder(sensors);
  let timer: NodeJS.Timeout;
  let due = 0;
  let [samples, totalMs] = [0, 0];
  /** The first number is nanoseconds on a processor (Documentation/scheduler/sched-stats.rst). */
  const processorMs = (): number | null => {
    const own = /^\d+/.exec(machineProbe.readText('/proc/thread-self/schedstat') ?? '')?.[0];
    const commands = readProcesses(machineProbe, sensors.pids);
    return own === undefined
      ? null
      : Number(own) / 1e6 + commands.reduce((sum, { seconds }) => sum + 1000 * seconds, 0);
  };
  const take = (): number => {
    const start = monotonicMs();
    const snapshot = sensors.read();
    const costMs = monotonicMs() - start;
    // the sample belongs to the middle of the time that reading it took
    series.add(snapshot, start + costMs / 2);
    samples += 1;
    totalMs += costMs;
    return costMs;
  };
  const sample = (): void => {
    const every = Math.max(intervalMs, take() / largestShare);
    // counted from when it was due, so that the cost of sampling and a late timer do not add up; overdue samples are skipped
    due = Math.max(due + every, monotonicMs());
    timer = setTimeout(sample, due - monotonicMs());
  };
  let before: number | null = null;
  timer = setTimeout(() => {
    before = processorMs();
    due = monotonicMs();
    sample();
    port.postMessage('ready');
  }, settleMs);
  port.once('message', () => {
    clearTimeout(timer);
    // the last sample completes the integral
    take();
    const after = processorMs();
    sensors.close();
    const sampled: Sampled = {
      samples,
      intervalMs,
      costMs: totalMs / samples,
      series: series.result(),
      processorMs: before === null || after === null ? null : after - before,
    };
    port.postMessage(sampled);
  });
});
