/**
 * Memory of large messages. `ws` keeps what has arrived in many pieces, which nobody can give back; left to the collector,
 * whom nothing hurries, those of several connections would be there together. And what it frees stays with the C library,
 * which keeps up to 64 MiB: so the heap is trimmed, too. Camera images of a robot are far below `largeBytes`.
 */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { loadAddon } from '../addon/binding.ts';

/** Bytes of one message; less is not worth the pause of some milliseconds. */
export const largeBytes = 8 * 2 ** 20;
/** Messages that arrive or are cut within so many milliseconds share a collection. */
const togetherMs = 100;
/** V8 frees arrays on another thread after a collection: milliseconds until the heap is trimmed. */
const sweepMs = 100;

let collect: (() => void) | null = null;
let isWanted = false;
let isScheduled = false;

/** A large message came, grew or was cut off: collects what it left, soon. */
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
    // what came in the meantime has left something, too
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
    // Without an addon the memory stays with the process: more than is needed, and bounded all the same.
  }
}
