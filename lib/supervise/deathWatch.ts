/**
 * Notices that a process is dying before its exit is reported. The kernel first frees its memory, and only then closes its
 * sockets and notifies its parent. This takes 30 ms per GB, longer with device memory or a core dump. Meanwhile the flags of
 * the process say that it is exiting, and how it ends.
 */

import { closeSync, openSync, readSync } from 'node:fs';
import { constants } from 'node:os';

/** Linux, include/linux/sched.h: exiting; exiting or waiting for a core dump (5.16 and later); writing a core dump. */
const exiting = 0x4;
const dying = exiting | 0x8 | 0x200;

/** Reading the file takes about 10 us, and a tick of 50 ms has time for several reads. */
const lookMs = 10;

/** Fields of /proc/PID/stat after the name in parentheses (proc_pid_stat(5), which numbers them 9 and 52). */
const flagsField = 9 - 3;
const exitCodeField = 52 - 3;

/** How a process ends: with a code, or by a signal, whose name is null if it is not known yet. */
export type Ending = { readonly code: number } | { readonly signal: string | null };

/** How the process described by this /proc/PID/stat ends; null: it is alive. */
export function endingOf(stat: string): Ending | null {
  // the name may itself contain spaces and parentheses
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const flags = Number(fields[flagsField]);
  if ((flags & dying) === 0) return null;
  // a core dump is written before the exit code is set
  if ((flags & exiting) === 0) return { signal: null };
  const status = Number(fields[exitCodeField]);
  const number = status & 0x7f;
  if (number === 0) return { code: status >> 8 };
  const named = Object.entries(constants.signals).find(([, value]) => value === number);
  return { signal: named?.[0] ?? `signal ${number}` };
}

/**
 * Calls `onDying` once when the process begins to exit. Does not keep this process alive. If /proc does not show the process (a
 * sandbox may hide it), it is never called, and only the exit itself will be noticed.
 *
 * @returns a function that stops watching; harmless afterwards
 */
export function watchDeath(pid: number, onDying: (ending: Ending) => void): () => void {
  let fd: number | null;
  try {
    // kept open: the descriptor goes on to describe this process even if its id is reused
    fd = openSync(`/proc/${pid}/stat`, 'r');
  } catch {
    return () => {};
  }
  const bytes = Buffer.alloc(2048);
  const timer = setInterval(() => {
    const ending = look();
    if (ending === null) return;
    stop();
    // its last output is read before it is reported as lost
    setImmediate(() => onDying(ending));
  }, lookMs).unref();
  const stop = (): void => {
    clearInterval(timer);
    if (fd !== null) closeSync(fd);
    fd = null;
  };
  const look = (): Ending | null => {
    try {
      return endingOf(bytes.toString('latin1', 0, readSync(fd!, bytes, 0, bytes.length, 0)));
    } catch {
      // already reaped; its `exit` event has come or is about to
      stop();
      return null;
    }
  };
  return stop;
}
