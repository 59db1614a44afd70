/** The newest line of a command that prints lines periodically, as `tegrastats` and `nvidia-smi --loop-ms` do. */

import { type ChildProcess, spawn } from 'node:child_process';
import { monotonicMs } from '../support/monotonicMs.ts';

/** Bytes; lines of sensors are shorter, and a longer one is dropped. */
const longestLine = 1 << 16;

export class LineStream {
  readonly #child: ChildProcess;
  #rest = '';
  #latest = '';
  #atMs = Number.NEGATIVE_INFINITY;

  /** If the command is missing or has ended, no newer line arrives, and `latest` returns null after a while. */
  constructor(command: string, args: readonly string[]) {
    this.#child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#child.on('error', () => {});
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    // so that it never keeps the program alive
    this.#child.unref();
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    // an unfinished line may be cut in the middle of a number
    const rest = lines.pop()!;
    this.#rest = rest.length > longestLine ? '' : rest;
    const line = lines.findLast((one) => one.trim() !== '');
    if (line === undefined) return;
    this.#latest = line;
    this.#atMs = monotonicMs();
  }

  /** null: no line yet, or none within `maxAgeMs`. */
  latest(maxAgeMs: number): string | null {
    return monotonicMs() - this.#atMs > maxAgeMs ? null : this.#latest;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Ends the command. Idempotent. */
  close(): void {
    // if the command could not be started, Node 20 would signal process 0: this process and its whole group
    if (this.#child.pid !== undefined) this.#child.kill();
  }
}
