/**
 * Builds whose progress is on its way when they settle, are cancelled, or lose their worker. Run by buildLifetimes.test.ts
 * in a process with the address sanitizer. Arguments: addon, library, parser, module.
 */

import { once } from 'node:events';
import { createRequire } from 'node:module';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

const [addon, library, parser, module] = isMainThread ? process.argv.slice(2) : workerData;
const { buildEngine } = createRequire(import.meta.url)(addon);

function build(steps, onProgress) {
  const request = {
    library,
    parser,
    module,
    model: Buffer.from(`fake model steps ${steps}`),
    modelPath: '',
    profiles: [],
    targets: [],
    optimizationLevel: -1,
    workspaceBytes: 0,
    timingCache: new Uint8Array(),
    plugins: {},
  };
  return buildEngine(request, onProgress);
}

async function main() {
  let reports = 0;
  let last = 0;
  // many at once: while one is settled, the last report of another is on its way
  for (let round = 0; round < 20; round++) {
    const builds = Array.from({ length: 20 }, () =>
      build(40, ({ step }) => {
        reports += 1;
        last = Math.max(last, step);
      }),
    );
    await Promise.all(builds.map(({ done }) => done));
  }
  if (reports === 0 || last > 40) throw new Error(`${reports} reports, up to step ${last}`);
  for (let n = 0; n < 50; n++) {
    const endless = build(2e9, () => endless.cancel());
    if (!(await endless.done).isCancelled) throw new Error('not cancelled');
  }
  for (let n = 0; n < 12; n++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: [addon, library, parser, module] });
    await once(worker, 'message');
    if (n % 3 > 0) await new Promise((resolve) => setTimeout(resolve, n));
    await worker.terminate();
  }
  console.log('done');
}

if (isMainThread) await main();
else {
  let told = false;
  // one runs for ever, the others wait for it
  for (let n = 0; n < 3; n++) {
    build(2e9, () => {
      if (!told) parentPort.postMessage('building');
      told = true;
    });
  }
}
