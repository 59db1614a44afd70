/** Processes that have died but are not reaped yet, as the kernel shows them while it frees their memory. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Ending, endingOf, watchDeath } from '../../lib/supervise/deathWatch.ts';

const test = suite('deathWatch');

/** Runs `command` under a parent that never waits for it. */
async function unreaped(command: string): Promise<{ pid: number; parent: ChildProcess }> {
  const parent = spawn('sh', ['-c', `${command} & echo $!; exec sleep 60`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [text] = (await once(parent.stdout!.setEncoding('utf8'), 'data')) as [string];
  return { pid: Number(text), parent };
}

const endings: readonly (readonly [string, NodeJS.Signals | null, Ending])[] = [
  ['sleep 60', 'SIGKILL', { signal: 'SIGKILL' }],
  ['sleep 60', 'SIGSEGV', { signal: 'SIGSEGV' }],
  ["sh -c 'sleep 0.2; exit 3'", null, { code: 3 }],
];

for (const [command, signal, expected] of endings) {
  test(`${command} ended by ${signal ?? 'itself'}: seen once, with how it ended`, async () => {
    const { pid, parent } = await unreaped(command);
    const alive = setInterval(() => {}, 1000);
    try {
      const seen: Ending[] = [];
      const ending = await new Promise<Ending>((resolve) => {
        watchDeath(pid, (how) => {
          seen.push(how);
          resolve(how);
        });
        if (signal !== null) setTimeout(() => process.kill(pid, signal), 50);
      });
      assert.equal(ending, expected);
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.is(seen.length, 1);
    } finally {
      clearInterval(alive);
      parent.kill('SIGKILL');
    }
  });
}

test('a process that lives is let live; one that is gone, or watched no longer, is not spoken of', async () => {
  const { pid, parent } = await unreaped('sleep 60');
  const seen: Ending[] = [];
  const stop = watchDeath(pid, (ending) => seen.push(ending));
  await new Promise((resolve) => setTimeout(resolve, 50));
  stop();
  stop();
  process.kill(pid, 'SIGKILL');
  watchDeath(2 ** 22 + 1, (ending) => seen.push(ending))();
  await new Promise((resolve) => setTimeout(resolve, 50));
  parent.kill('SIGKILL');
  assert.equal(seen, []);
});

test('the flags in a line of /proc are read behind a name with spaces and parentheses', () => {
  const line = (flags: number, exitCode: number): string =>
    `77 (a) S 1 (b) S 1 2 3 4 5 ${flags} ${Array.from({ length: 42 }, (_, i) => i).join(' ')} ${exitCode}`;
  assert.is(endingOf(line(0x400000, 0)), null);
  assert.equal(endingOf(line(0x40000c, 11)), { signal: 'SIGSEGV' });
  assert.equal(endingOf(line(0x40000c, 0x80 | 6)), { signal: 'SIGABRT' });
  assert.equal(endingOf(line(0x400004, 3 << 8)), { code: 3 });
  // a core is being dumped: the process is over, but the signal is not known yet
  assert.equal(endingOf(line(0x400200, 0)), { signal: null });
});

test.run();
