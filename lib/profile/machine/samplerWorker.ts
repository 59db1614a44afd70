/** The thread started by sampleMachine.ts. */

import { parentPort } from 'node:worker_threads';
import { machineProbe } from '../../support/machineProbe.ts';
import { monotonicMs } from '../trace/timeline.ts';
import { childProcessorMs, threadProcessorMs } from './processorTime.ts';
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
  let timer: NodeJS.Timeout | null = null;
  let due = 0;
  let isPaused = false;
  let [samples, totalMs] = [0, 0];
  const processorMs = (): number | null => {
    const own = threadProcessorMs(machineProbe);
    return own === null ? null : own + childProcessorMs(machineProbe, sensors.pids);
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
    const costMs = take();
    const every = Math.max(intervalMs, costMs / largestShare);
    // counted from when it was due, so that the cost of sampling and a late timer do not add up; overdue samples are skipped
    due = Math.max(due + every, monotonicMs());
    timer = setTimeout(sample, due - monotonicMs());
  };
  const halt = (): void => {
    if (timer !== null) clearTimeout(timer);
    timer = null;
  };
  let before: number | null = null;
  const begin = (): void => {
    before = processorMs();
    due = monotonicMs();
    sample();
    port.postMessage('ready');
  };
  setTimeout(begin, settleMs);
  port.on('message', (message: 'stop' | 'pause' | 'resume') => {
    if (message === 'pause') halt();
    if (message === 'resume' && isPaused) sample();
    isPaused = message === 'pause';
    if (message !== 'stop') return;
    halt();
    // the last sample completes the integral
    take();
    const after = processorMs();
    sensors.close();
    port.postMessage({
      samples,
      intervalMs,
      costMs: totalMs / samples,
      series: series.result(),
      processorMs: before === null || after === null ? null : after - before,
    });
  });
});
