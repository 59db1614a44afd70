/** Separate from lifecycle.test.ts because with SEMANTICVLA_LONG_TESTS=1 it takes longer than all of that. */

import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { runProgram } from './libero.ts';

const test = suite('memory of a policy');

const isLong = process.env.SEMANTICVLA_LONG_TESTS === '1';
/**
 * A load holds 20 MB of weights and 1 MB of models. The long form ends 51 loads after memory has settled: leaked models would
 * be 51 MB. The short form ends 6 loads after, before the allocator's caches are full (they take up to 40 MB more): it notices
 * only leaked weights, 120 MB.
 */
const { loads, settledAfter, limitMib } = isLong
  ? { loads: 100, settledAfter: 20, limitMib: 30 }
  : { loads: 20, settledAfter: 5, limitMib: 80 };

test(`${loads} times loaded, used and closed: memory and threads settle`, async () => {
  const { code, stdout, stderr } = await runProgram(
    `
    import { readdirSync } from 'node:fs';
    const rss = [];
    const threads = [];
    for (let i = 0; i < ${loads}; i++) {
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
  const settled = Math.max(...rss.slice(settledAfter, 2 * settledAfter));
  const last = Math.min(...rss.slice(isLong ? -10 : -5));
  assert.ok(last - settled < limitMib, `resident memory went from ${settled} to ${last} MiB`);
  assert.ok(threads.at(-1)! <= Math.max(...threads.slice(0, settledAfter)), `threads: ${threads.join(' ')}`);
});

test.run();
