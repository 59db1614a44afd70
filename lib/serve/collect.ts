/**
 * Frees the memory of large messages. `ws` keeps a message that arrives in many pieces in buffers that cannot be freed by hand,
 * and the garbage collector is slow to free those of several connections. The C library, in turn, keeps up to 64 MiB of what was
 * freed, so the heap is trimmed as well. Camera images of a robot are far below `largeBytes`.
 */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { loadAddon } from '../addon/binding.ts';

/** Bytes of a message; for a smaller one a pause of some milliseconds is not worth it. */
export const largeBytes = 8 * 2 ** 20;
/** Messages that arrive or are cut off within this many milliseconds share one collection. */
const togetherMs = 100;
/** Milliseconds until the heap is trimmed: after a collection V8 frees arrays on another thread. */
const sweepMs = 100;

let collect: (() => void) | null = null;
let isWanted = false;
let isScheduled = false;

/** Call this when a large message arrived, grew or was cut off: the garbage it left is collected soon. */
export function collectSoon(): void {
  isWanted = true;
  if (isScheduled) return;
  isScheduled = true;
  setTimeout(run, togetherMs).unref();
}

function run(): void {
  isWanted = false;
  collect ??= makeCollect();
  collect();
  setTimeout(() => {
    trimHeap();
    isScheduled = false;
    // messages that arrived in the meantime have left garbage too
    if (isWanted) collectSoon();
  }, sweepMs).unref();
}

function makeCollect(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}

function trimHeap(): void {
  try {
    loadAddon().trimHeap();
  } catch {
    // Without the addon the process keeps the memory: more than it needs, but bounded.
  }
}
