/** The example of the README, and the same with what a test reads. */

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

/** With its last line of output the actions, as JSON. */
export function runnableTenLines(): string {
  const close = 'await policy.close();';
  const example = tenLines();
  assert.ok(example.includes(close), `the example says ${close}`);
  return example.replace(close, `console.log(JSON.stringify(Array.from(chunk.actions)));\n${close}`);
}
