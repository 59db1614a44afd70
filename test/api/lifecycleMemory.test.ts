/** Separate from lifecycle.test.ts because it takes as long as all of that. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { runProgram } from './libero.ts';

const test = suite('memory of a policy');

test('100 times loaded, used and closed: memory and threads settle', async () => {
  const { code, stdout, stderr } = await runProgram(
    `
    import { readdirSync } from 'node:fs';
    const rss = [];
    const threads = [];
    for (let i = 0; i < 100; i++) {
      const policy = await api.loadPolicy(checkpoint, options);
      if (i % 10 === 0) await policy.predict(observation, task);
      await policy.close();
      gc();
      rss.push(process.memoryUsage.rss() / 2 ** 20);
      threads.push(readdirSync('/proc/self/task').length);
    }
    console.log(JSON.stringify({ rss, threads }));`,
    350_000,
  );
  assert.is(code, 0, stderr);
  const { rss, threads } = JSON.parse(stdout) as { rss: number[]; threads: number[] };
  // the allocator's own caches fill over the first loads
  const settled = Math.max(...rss.slice(20, 40));
  const last = Math.min(...rss.slice(-10));
  // a load holds 20 MB of weights, and its models 1 MB: 60 leaked loads would be 60 MB at the very least
  assert.ok(last - settled < 30, `resident memory went from ${settled} to ${last} MiB over 60 loads`);
  assert.ok(threads.at(-1)! <= Math.max(...threads.slice(0, 20)), `threads: ${threads.join(' ')}`);
});

test.run();
