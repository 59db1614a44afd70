/**
 * Memory of large messages. `ws` keeps what has arrived in many pieces that cannot be freed by hand; left to the collector,
 * which is in no hurry, those of several connections would pile up. And what it frees stays with the C library,
 * which keeps up to 64 MiB: so the heap is trimmed, too. Camera images of a robot are far below `largeBytes`.
 */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { loadAddon } from '../addon/binding.ts';

/** Bytes of one message; a smaller one is not worth a pause of some milliseconds. */
export const largeBytes = 8 * 2 ** 20;
/** Messages that arrive or are cut within so many milliseconds share a collection. */
const togetherMs = 100;
/** V8 frees arrays on another thread after a collection: milliseconds until the heap is trimmed. */
const sweepMs = 100;

let collect: (() => void) | null = null;
let isWanted = false;
let isScheduled = false;

/** Call this when a large message arrived, grew or was cut off: what it left is collected soon. */
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
    // messages that came in the meantime have left garbage too
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
    // Without the addon the memory stays with the process: more than is needed, but bounded.
  }
}
