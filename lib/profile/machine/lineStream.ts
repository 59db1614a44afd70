/** The newest line of a command that prints one every so often, as `tegrastats` and `nvidia-smi --loop-ms` do. */

import { type ChildProcess, spawn } from 'node:child_process';
import { monotonicMs } from '../trace/timeline.ts';

export interface TimedLine {
  readonly line: string;
  /** When it came, milliseconds of process.hrtime. */
  readonly atMs: number;
}

/** Lines of sensors are shorter; one that never ends is dropped. */
const longestLine = 1 << 16;

export class LineStream {
  readonly #child: ChildProcess;
  #rest = '';
  #latest: TimedLine | null = null;

  /** Of a command that is missing, or has ended, no newer line comes: `latest` grows too old. */
  constructor(command: string, args: readonly string[]) {
    this.#child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#child.on('error', () => {});
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    // never what keeps a program alive
    this.#child.unref();
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    // without its end a line may be cut in the middle of a number
    const rest = lines.pop()!;
    this.#rest = rest.length > longestLine ? '' : rest;
    const line = lines.findLast((one) => one.trim() !== '');
    if (line !== undefined) this.#latest = { line, atMs: monotonicMs() };
  }

  /** null: none yet, or none in `maxAgeMs`. */
  latest(maxAgeMs: number): string | null {
    return this.#latest === null || monotonicMs() - this.#latest.atMs > maxAgeMs ? null : this.#latest.line;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Ends the command. Idempotent. */
  close(): void {
    // of a command that could not be started Node 20 signals process 0, which is this one and its whole group
    if (this.#child.pid !== undefined) this.#child.kill();
  }
}
