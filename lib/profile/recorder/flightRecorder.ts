/**
 * The last seconds before a missed deadline, and what came right after it, as a trace in a file. The loop's thread copies
 * some arrays (bench/recorder.ts says what that costs); another thread encodes and writes. A full disk or a
 * missing folder is reported and changes nothing for the robot.
 */

import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import type { Worker } from 'node:worker_threads';
import { SemanticVlaError } from '../../support/errors.ts';
import { isolated } from '../../support/isolated.ts';
import { makeFolder } from '../../support/makeFolder.ts';
import { checkOptions, expected } from '../../support/options.ts';
import { startWorker } from '../../support/startWorker.ts';
import { monotonicMs } from '../trace/timeline.ts';
import type { FlightJob, FlightReply } from './flightWorker.ts';
import type { Recorder } from './recorder.ts';

/** A trace that was written, or why it was not. */
export type FlightEvent =
  | { readonly type: 'written'; readonly file: string; readonly why: string }
  | { readonly type: 'failed'; readonly why: string; readonly code: string; readonly message: string };

/** Where traces go, and what counts as a miss. */
export interface FlightRecorderOptions {
  /** Made if need be, and then only its owner's, as the files are: they say when the robot moves. */
  readonly dir: string;
  /** Files that are kept, the newest; default 20. */
  readonly files?: number;
  /** For this long after a file caused by a miss, further misses cause none; default 60000. */
  readonly quietMs?: number;
  /** How long after the miss recording goes on before the file is written; default 500. */
  readonly afterMs?: number;
  /** For the viewer; default `semanticvla`. */
  readonly title?: string;
  readonly onEvent?: (event: FlightEvent) => void;
}

const optionNames = [
  'dir',
  'files',
  'quietMs',
  'afterMs',
  'title',
  'onEvent',
] as const satisfies readonly (keyof FlightRecorderOptions)[];

/** Keeps the last chunks and events, and writes them as a trace when a deadline is missed. */
export interface FlightRecorder extends AsyncDisposable {
  /** Misses since the last file that were kept quiet. */
  readonly quieted: number;
  /** Writes now, whether anything was missed or not; resolves to the file, or null when it could not be written. */
  dump(why?: string): Promise<string | null>;
  /** Writes what a miss has asked for and ends the thread. Idempotent. */
  close(): Promise<void>;
}

/**
 * Writes a file when `recorder` records a miss. It takes over the recorder's `onMiss`.
 * @throws (rejects) OPTION_UNKNOWN, OPTION_INVALID, OUTPUT_UNWRITABLE the folder cannot be made or written
 */
export async function startFlightRecorder(
  recorder: Recorder,
  options: FlightRecorderOptions,
): Promise<FlightRecorder> {
  checkOptions(options, optionNames, 'startFlightRecorder');
  const { dir, files = 20, quietMs = 60_000, afterMs = 500 } = options;
  if (typeof dir !== 'string' || dir === '') throw expected('OPTION_INVALID', 'a folder', 'dir', dir);
  if (!Number.isSafeInteger(files) || files < 1)
    throw expected('OPTION_INVALID', 'a whole number >= 1', 'files', files);
  for (const [name, value] of Object.entries({ quietMs, afterMs })) {
    if (!(value >= 0 && value < 2 ** 31)) throw expected('OPTION_INVALID', 'milliseconds >= 0', name, value);
  }
  try {
    await makeFolder(dir, 0o700);
    await access(dir, constants.W_OK);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'an error';
    throw new SemanticVlaError(
      'OUTPUT_UNWRITABLE',
      `Flight recorder ${dir}: expected a folder that can be written, found ${code}. Choose another, or change its rights.`,
      { cause },
    );
  }
  return new Flights(recorder, { ...options, dir, files, quietMs, afterMs });
}

type Resolved = FlightRecorderOptions &
  Required<Pick<FlightRecorderOptions, 'files' | 'quietMs' | 'afterMs'>>;

class Flights implements FlightRecorder {
  readonly #recorder: Recorder;
  readonly #options: Resolved;
  readonly #tell: (event: FlightEvent) => void;
  /** Started before it is needed: starting a thread takes longer than a tick. */
  readonly #worker: Worker;
  /** Why the thread has ended; null: it runs. */
  #ended: string | null = null;
  #jobs: Promise<unknown> = Promise.resolve();
  #pending: { readonly why: string; readonly timer: NodeJS.Timeout } | null = null;
  #lastMiss = Number.NEGATIVE_INFINITY;
  #closed: Promise<void> | null = null;
  quieted = 0;

  constructor(recorder: Recorder, options: Resolved) {
    this.#recorder = recorder;
    this.#options = options;
    this.#tell = isolated('onEvent of startFlightRecorder', options.onEvent);
    this.#worker = startWorker('./flightWorker', import.meta.url, 'flight recorder');
    this.#worker.unref();
    this.#worker.on('error', ({ message }) => {
      this.#ended = message;
    });
    recorder.onMiss = (why) => this.#onMiss(why);
  }

  dump(why = 'request'): Promise<string | null> {
    if (this.#closed !== null) {
      return Promise.reject(new SemanticVlaError('CLOSED', 'This flight recorder is closed. Start another.'));
    }
    return this.#write(why);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#recorder.onMiss = undefined;
    if (this.#pending !== null) {
      clearTimeout(this.#pending.timer);
      this.#write(this.#pending.why);
    }
    await this.#jobs;
    await this.#worker.terminate();
  }

  #onMiss(why: string): void {
    const now = performance.now();
    if (this.#pending !== null) return;
    if (now - this.#lastMiss < this.#options.quietMs) {
      this.quieted++;
      return;
    }
    this.#lastMiss = now;
    this.quieted = 0;
    const timer = setTimeout(() => {
      this.#pending = null;
      void this.#write(why);
    }, this.#options.afterMs);
    timer.unref();
    this.#pending = { why, timer };
  }

  /** Copies at once; one file after the other. Never rejects. */
  #write(why: string): Promise<string | null> {
    const { dir, files, title = 'semanticvla' } = this.#options;
    const nowMs = performance.now();
    const toMonotonicMs = monotonicMs() - nowMs;
    const facts = { title, pid: process.pid, why, nowMs, toMonotonicMs, realtimeMs: Date.now() };
    const job: FlightJob = { recording: this.#recorder.copy(), facts, dir, files };
    const written = this.#jobs.then(() => this.#send(job));
    this.#jobs = written;
    return written;
  }

  async #send(job: FlightJob): Promise<string | null> {
    const worker = this.#worker;
    const { why } = job.facts;
    const reply = await new Promise<FlightReply>((resolve) => {
      const settle = (answer: FlightReply): void => {
        worker.off('message', settle).off('error', onError).unref();
        resolve(answer);
      };
      const onError = ({ message }: Error): void => settle({ code: 'DEFECT', message });
      if (this.#ended !== null) return resolve({ code: 'DEFECT', message: this.#ended });
      worker.on('message', settle).on('error', onError).ref();
      const arrays = Object.values(job.recording).flatMap((rows) => Object.values(rows as object));
      worker.postMessage(
        job,
        arrays.filter(ArrayBuffer.isView).map(({ buffer }) => buffer as ArrayBuffer),
      );
    });
    if ('file' in reply) this.#tell({ type: 'written', file: reply.file, why });
    else this.#tell({ type: 'failed', why, ...reply });
    return 'file' in reply ? reply.file : null;
  }
}
