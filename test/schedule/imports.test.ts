/** What lib/schedule may import: it knows policies only by their interface, and no wall clock. */

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const test = suite('imports');
const lib = fileURLToPath(new URL('../../lib', import.meta.url));
const allowed = [
  'types.ts',
  'support/errors.ts',
  'support/options.ts',
  ...['random.ts', 'checkedChunk.ts', 'isolated.ts', 'abort.ts', 'notices.ts'].map(
    (file) => `support/${file}`,
  ),
];

test('lib/schedule imports nothing of checkpoints, graphs and runtimes, and reads no wall clock', () => {
  const files = readdirSync(join(lib, 'schedule'), { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  assert.ok(files.length > 20);
  for (const file of files) {
    const path = join(lib, 'schedule', file);
    const source = readFileSync(path, 'utf8');
    for (const [, from] of source.matchAll(/from '([^']+)'/g)) {
      const target = relative(lib, resolve(dirname(path), from!));
      const isOwn = target.startsWith('schedule/') || allowed.includes(target);
      assert.ok(isOwn, `${file} imports ${from}`);
    }
    assert.not.match(source, /\bDate\b|hrtime/, file);
  }
});

test('what draws is loaded when something is drawn, not with the room', () => {
  const plots = readdirSync(join(lib, 'plots')).map((file) => readFileSync(join(lib, 'plots', file), 'utf8'));
  const loads = plots.flatMap((source) => [...source.matchAll(/import\b[^;]*?'vega(?:-lite)?'/g)]);
  assert.ok(loads.length >= 3);
  for (const [load] of loads) assert.match(load, /^import type\b|\(/);
});

test.run();
