/** An engine does not outlive its supervisor, however the supervisor ends and whatever the engine is doing. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const test = suite('orphaned engine');
const script = fileURLToPath(new URL('./orphanParent.ts', import.meta.url));

/** Gone, or a zombie that nobody reaps here. */
function isGone(pid: number): boolean {
  if (!existsSync(`/proc/${pid}`)) return true;
  try {
    return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return true;
  }
}

for (const doing of ['idle', 'hang']) {
  test(`${doing}: gone soon after its supervisor was killed, and its shared memory with it`, async () => {
    const parent = spawn(process.execPath, ['--import', 'tsx', script, doing], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [text] = (await once(parent.stdout.setEncoding('utf8'), 'data')) as [string];
    const pid = Number(text);
    assert.not(isGone(pid), text);
    const shared = readdirSync(`/proc/${pid}/fd`)
      .map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
      .filter((target) => target.startsWith('/dev/shm/semanticvla-'));
    assert.is(shared.length, 1);
    assert.match(shared[0]!, / \(deleted\)$/, 'no name is left in the memory file system');
    parent.kill('SIGKILL');
    // it checks once a second, and a busy machine may delay that
    for (let i = 0; i < 600 && !isGone(pid); i++) await sleep(100);
    assert.ok(isGone(pid));
  });
}

test.run();
