/**
 * Logs that never hold the server up: lines are lost rather than answers. A full disk, a pipe that nobody reads or a
 * terminal that is stopped lets a write wait for ever, and with it everything else that this process does; so the log waits
 * for nothing, keeps a little, and says how much it lost when it is heard again.
 */

import { constants, fstatSync, openSync, writeSync } from 'node:fs';
import { type Level, type Logger, pino } from 'pino';
import { isolated } from '../support/isolated.ts';
import { expected } from '../support/options.ts';

/** What the server calls of a logger. */
export type ServerLog = Pick<Logger, 'info' | 'warn' | 'error'>;

/** What is kept for a reader that is slow for a moment. */
const keptBytes = 256 * 2 ** 10;
const retryMs = 100;

/** What takes as many bytes as it can at the moment; throws when it can take none. */
type Write = (bytes: Buffer) => number;

/** JSON lines to standard error. */
export function makeLog(level: Level | 'silent'): Logger {
  return pino({ level }, new LossyLines(writerOf(2)));
}

/** A logger of the caller's own: when it fails, lines are lost and nothing else. @throws OPTION_INVALID no logger */
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
      // What takes none now may take some later; a file on a full disk too.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') this.#lose();
      this.#timer ??= setTimeout(() => {
        this.#timer = null;
        this.#flush();
      }, retryMs).unref();
    }
  }

  /** A line at a time, so that one that is cut off is finished before the next. */
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
 * Writes to standard error without waiting. Files do not make a writer wait. A pipe or a terminal is opened once more, since
 * not to wait is a property of what was opened, which others may share. A socket cannot be; Node makes it one that does not
 * wait as soon as it is looked at.
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
      // No /proc, or a terminal of another user: as it is.
    }
  }
  return (bytes) => writeSync(fd, bytes);
}
