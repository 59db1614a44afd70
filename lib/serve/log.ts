/**
 * Logs that never block the server: it would rather lose lines than answers. With a full disk, a pipe that nobody reads or a
 * stopped terminal, a write can wait for ever and block the whole process; so the log never waits, buffers a little, and
 * reports how much it lost once writing works again.
 */

import { constants, fstatSync, openSync, writeSync } from 'node:fs';
import { type Level, type Logger, pino } from 'pino';
import { isolated } from '../support/isolated.ts';
import { expected } from '../support/options.ts';

/** The methods of a logger that the server calls. */
export type ServerLog = Pick<Logger, 'info' | 'warn' | 'error'>;

/** Bytes buffered for a reader that is slow for a moment. */
const keptBytes = 256 * 2 ** 10;
const retryMs = 100;

/** Writes as many bytes as it can without waiting; throws if it can write none. */
type Write = (bytes: Buffer) => number;

/** JSON lines to standard error. */
export function makeLog(level: Level | 'silent'): Logger {
  return pino({ level }, new LossyLines(writerOf(2)));
}

/** Wraps the caller's logger: when it fails, lines are lost and nothing else happens. @throws OPTION_INVALID if it is none */
export function isolatedLog(logger: ServerLog): ServerLog {
  if (typeof logger !== 'object' || logger === null)
    throw expected('OPTION_INVALID', 'a logger with info, warn and error', 'logger', logger);
  const of = (level: keyof ServerLog): ServerLog[typeof level] => {
    const name = `logger.${level} of servePolicy`;
    const method: unknown = logger[level];
    if (typeof method !== 'function') throw expected('OPTION_INVALID', 'a function', name, method);
    return isolated(name, method.bind(logger) as (...args: unknown[]) => unknown);
  };
  return { info: of('info'), warn: of('warn'), error: of('error') };
}

export class LossyLines {
  readonly #write: Write;
  #kept: Buffer[] = [];
  #bytes = 0;
  #lost = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(write: Write) {
    this.#write = write;
  }

  write(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#bytes + bytes.length > keptBytes) this.#lost++;
    else {
      this.#kept.push(bytes);
      this.#bytes += bytes.length;
    }
    if (this.#timer === null) this.#flush();
  }

  #flush(): void {
    try {
      while (this.#kept.length > 0) this.#step();
      if (this.#lost > 0) {
        const line = {
          level: 40,
          time: Date.now(),
          pid: process.pid,
          lost: this.#lost,
          msg: 'log lines lost',
        };
        this.#lost = 0;
        this.write(`${JSON.stringify(line)}\n`);
      }
    } catch (error) {
      // What cannot be written now may be later, even to a file on a full disk.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') this.#lose();
      this.#timer ??= setTimeout(() => {
        this.#timer = null;
        this.#flush();
      }, retryMs).unref();
    }
  }

  /** Writes one line at a time, so that a partly written one is finished before the next. */
  #step(): void {
    const [first] = this.#kept as [Buffer];
    const written = this.#write(first);
    this.#bytes -= written;
    if (written === first.length) this.#kept.shift();
    else this.#kept[0] = first.subarray(written);
  }

  #lose(): void {
    this.#lost += this.#kept.length;
    this.#kept = [];
    this.#bytes = 0;
  }
}

/**
 * Writes to standard error without waiting. A file never blocks. A pipe or a terminal is opened again, because non-blocking mode
 * belongs to the open file, which other processes may share. A socket cannot be opened again; Node makes it non-blocking as
 * soon as it is accessed.
 */
function writerOf(fd: 2): Write {
  const stat = fstatSync(fd);
  if (stat.isSocket()) void process.stderr;
  if (stat.isFIFO() || stat.isCharacterDevice()) {
    try {
      const own = openSync(
        `/proc/self/fd/${fd}`,
        constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY,
      );
      return (bytes) => writeSync(own, bytes);
    } catch {
      // There is no /proc, or the terminal belongs to another user: use it as it is.
    }
  }
  return (bytes) => writeSync(fd, bytes);
}
