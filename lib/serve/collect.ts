/**
 * Memory of messages that were cut off. `ws` keeps what has arrived in many pieces, which nobody can give back; left to the
 * collector, whom nothing hurries, those of several connections would be there together.
 */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Less is not worth the pause of some milliseconds. */
const leastBytes = 8 * 2 ** 20;

let cutBytes = 0;
let collect: (() => void) | null = null;

/** Once the connection is gone. @param bytes that it held */
export function collectAfter(bytes: number): void {
  cutBytes += bytes;
  if (cutBytes < leastBytes) return;
  cutBytes = 0;
  if (collect === null) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  const run = collect;
  setImmediate(() => run());
}
