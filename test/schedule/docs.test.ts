/** docs/safety.md: its table agrees with the code (test/examples/docs.test.ts runs its example). */

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { holdReasons } from '../../lib/schedule/loopEvents.ts';

const test = suite('docs/safety.md');
const page = readFileSync(fileURLToPath(new URL('../../docs/safety.md', import.meta.url)), 'utf8');

test('names every reason to hold, and no other', () => {
  const [table] = page.match(/^\| reason \|.*?\n\n/ms)!;
  const named = [...table.matchAll(/^\| `(\w+)`/gm)].map(([, reason]) => reason);
  assert.equal(named, holdReasons);
});

test.run();
