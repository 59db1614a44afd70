/** The example of the README, and the same with a checkpoint and an observation that are there. */

import * as assert from 'node:assert';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');

/** As printed. */
export function tenLines(): string {
  const example = /## Ten lines\n\n```ts\n([^`]+)```/.exec(
    readFileSync(join(root, 'README.md'), 'utf8'),
  )?.[1];
  assert.ok(example !== undefined, 'the README has its ten lines');
  return example;
}

/** With the golden LIBERO policy of this repository; its last line of output is the actions, as JSON. */
export function runnableTenLines(): string {
  const golden = join(root, 'test/golden/libero-tiny');
  const changes = [
    [`'checkpoints/libero'`, JSON.stringify(join(golden, 'checkpoint'))],
    [`'observations/000'`, JSON.stringify(join(golden, 'obs0'))],
    [
      'await policy.close();',
      'console.log(JSON.stringify(Array.from(chunk.actions)));\nawait policy.close();',
    ],
  ] as const;
  return changes.reduce((text, [theirs, ours]) => {
    assert.ok(text.includes(theirs), `the example says ${theirs}`);
    return text.replace(theirs, ours);
  }, tenLines());
}
