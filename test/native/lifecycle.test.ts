import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadAddon } from '../../lib/addon/binding.ts';

const lifecycle = suite('native/lifecycle');

const addonFile = resolve(import.meta.dirname, '../../build/Release/semanticvla.node');

/** CommonJS, for processes and workers that need no TypeScript. */
const prelude = `
  const addon = require(${JSON.stringify(addonFile)});
  const side = (n) => ({ data: new Uint8Array(n * n * 3).fill(50), width: n, height: n, bgr: false });
  const options = { imageSize: 224, centerCrop: true, jpeg: true, direct: false, threads: 2, keepSteps: false };
  const run = (n) => addon.preprocessImages([side(n), side(n), side(n)], options);
`;

function runProcess(script: string) {
  const child = spawnSync(process.execPath, ['-e', prelude + script], { encoding: 'utf8', timeout: 60_000 });
  return { code: child.status, signal: child.signal, out: child.stdout.trim(), err: child.stderr };
}

lifecycle('pending work keeps the process alive, and finished work lets it end', () => {
  const { code, out, err } = runProcess(
    "run(300).then(() => run(20)).then(({ images }) => console.log(['done', images.length, images[0]].join(' ')));",
  );
  assert.is(code, 0, err);
  assert.is(out, `done ${3 * 224 * 224 * 3} 50`);
});

lifecycle('a process may exit in the middle of work', () => {
  const { code, signal, err } = runProcess(
    'for (let i = 0; i < 20; i++) run(700); setTimeout(() => process.exit(7), 5);',
  );
  assert.is(signal, null, err);
  assert.is(code, 7, err);
});

lifecycle('calls that overlap settle in order, each with its own result', async () => {
  const addon = loadAddon();
  const options = {
    imageSize: 224,
    centerCrop: true,
    jpeg: true,
    direct: false,
    threads: 2,
    keepSteps: false,
  };
  const order: number[] = [];
  await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      const side = i % 3 === 0 ? 180 : 24;
      const data = new Uint8Array(side * side * 3).fill(i);
      const pending = addon.preprocessImages([{ data, width: side, height: side, bgr: false }], options);
      // Already copied: what the caller does next must have no effect.
      data.fill(200);
      const { images } = await pending;
      order.push(i);
      assert.ok(images.every((byte) => Math.abs(byte - i) <= 1));
    }),
  );
  assert.equal(
    order,
    Array.from({ length: 40 }, (_, i) => i),
  );
});

lifecycle('worker threads load their own instance, and end idle, busy or terminated', async () => {
  const idle = `${prelude} run(30).then(({ images }) => require('node:worker_threads').parentPort.postMessage(images[0]));`;
  const busy = `${prelude} for (let i = 0; i < 20; i++) run(500); setTimeout(() => process.exit(0), 2);`;
  const results = await Promise.all(
    [idle, busy, idle, busy].map(
      (script) =>
        new Promise<unknown>((settle, fail) => {
          const worker = new Worker(script, { eval: true });
          let message: unknown;
          worker.on('message', (value) => {
            message = value;
          });
          worker.on('error', fail);
          worker.on('exit', () => settle(message));
        }),
    ),
  );
  assert.equal(results, [50, undefined, 50, undefined]);
});

lifecycle(
  'a worker may be terminated at any moment, also while it loads the addon or gets a result',
  async () => {
    // No fixed seed: each run of the tests tries different moments.
    for (let i = 0; i < 12; i++) {
      const endless = new Worker(`${prelude} (function again() { run(40 + ${i} * 10).then(again); })();`, {
        eval: true,
      });
      await new Promise((settle) => endless.once('online', settle));
      await new Promise((settle) => setTimeout(settle, Math.random() * 30));
      assert.is(await endless.terminate(), 1);
    }
  },
);

lifecycle('a wrong caller gets an exception, and nothing outside memory is touched', () => {
  const addon = loadAddon() as unknown as Record<string, (...values: unknown[]) => unknown>;
  const four = new Uint8Array(12);
  const options = { imageSize: 224, centerCrop: true, jpeg: true, threads: 1, keepSteps: false };
  const frame = (change: object) => [[{ data: four, width: 2, height: 2, bgr: false, ...change }], options];
  const cases: [string, unknown[]][] = [
    ['jpegRoundTrip', []],
    ['jpegRoundTrip', [four, 3, 2]],
    ['jpegRoundTrip', [four, -2, -2]],
    ['jpegRoundTrip', [four, Number.NaN, 2]],
    ['jpegRoundTrip', [new Uint16Array(12), 2, 2]],
    ['jpegRoundTrip', [[1, 2, 3], 1, 1]],
    ['lanczosResize', [four, 2, 2, 0, 2]],
    ['lanczosResize', [four, 2, 2, 1e9, 2]],
    ['pillowBicubic', [four, 2, 2, 2]],
    ['normalizePixels', [four, 2, 2, [0, 0, 0], [1, 1, 1]]],
    ['normalizePixels', [four, 1, 2, [0, 0], [1, 1, 1]]],
    ['normalizePixels', [four, 1, 2, null, [1, 1, 1]]],
    ['preprocessImages', []],
    ['preprocessImages', [[null], options]],
    ['preprocessImages', [{ length: 1e9 }, options]],
    ['preprocessImages', [[], null]],
    ['preprocessImages', frame({ width: 5 })],
    ['preprocessImages', frame({ data: 'text' })],
    ['preprocessImages', frame({ bgr: 1 })],
    ['preprocessImages', [frame({})[0], { ...options, threads: 1e9 }]],
    ['preprocessImages', [frame({})[0], { ...options, imageSize: -1 }]],
  ];
  for (const [name, values] of cases) {
    assert.throws(() => addon[name]!(...values), /expected/, `${name} ${JSON.stringify(values)}`);
  }
});

lifecycle.run();
