/**
 * Tests that need something not every machine has. Without it they are skipped loudly: the runner (scripts/test.ts) prints the
 * line, counts the skip, and fails a file that skips without saying why.
 */

import type { Test } from 'uvu';

/**
 * Registers `body` if `available`; otherwise prints `SKIP <name>: <reason>` and counts one skipped test. `reason` says what is
 * missing and how to get it, e.g. `python3 with onnx is not there (pip install onnx)`.
 */
export function testWhen(
  available: boolean,
  reason: string,
  test: Test,
  name: string,
  body: () => void | Promise<void>,
): void {
  if (available) {
    test(name, body);
    return;
  }
  console.log(`SKIP ${name}: ${reason}`);
  test.skip(name);
}
