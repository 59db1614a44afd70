/** The thread of sampleMachine.ts. */

import { parentPort } from 'node:worker_threads';
import { machineProbe } from '../../support/machineProbe.ts';
import { snapshotReader } from './readMachine.ts';
import { SampleAccumulator } from './sampleAccumulator.ts';

const port = parentPort;
if (port === null) throw new Error('samplerWorker.ts runs only as a worker thread');

/** Of the thread's time, at most this share goes into sampling. */
const largestShare = 0.1;

port.once('message', ({ intervalMs }: { readonly intervalMs: number }) => {
  const read = snapshotReader(machineProbe);
  const kept = new SampleAccumulator(intervalMs);
  let timer: NodeJS.Timeout | null = null;
  const sample = (): void => {
    const start = performance.now();
    const snapshot = read();
    const costMs = performance.now() - start;
    // in the middle of reading is when it was
    kept.add(snapshot, start + costMs / 2, costMs);
    timer = setTimeout(sample, Math.max(intervalMs, costMs / largestShare) - costMs);
  };
  sample();
  port.postMessage('ready');
  port.once('message', () => {
    if (timer !== null) clearTimeout(timer);
    // the last one closes the integral
    sample();
    if (timer !== null) clearTimeout(timer);
    port.postMessage(kept.result());
  });
});
