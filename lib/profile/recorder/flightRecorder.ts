/**
 * The last seconds before a missed deadline, and what came right after it, as a trace in a file. The loop's thread copies
 * some arrays (bench/recorder.ts says what that costs); another thread encodes and writes. A full disk or a
 * missing folder is reported and changes nothing for the robot.
 */

import { once } from 'node:events';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { SemanticVlaError } from '../../support/errors.ts';
import { isolated } from '../../support/isolated.ts';
import { makeFolder } from '../../support/makeFolder.ts';
import { monotonicMs } from '../../support/monotonicMs.ts';
import { checkOptions, expected } from '../../support/options.ts';
import { startWorker } from '../../support/startWorker.ts';
import { checkMcap } from './flightMcap.ts';
import type { FlightJob, FlightReply } from './flightWorker.ts';
import type { Recorder } from './recorder.ts';
import { buffersOf } from './sceneRing.ts';

/** A trace that was written, or why it was not. */
export type FlightEvent =
  | {
      readonly type: 'written';
      readonly file: string;
      /** Beside it, where `mcap` is set. */
      readonly mcap?: string;
      readonly why: string;
    }
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
  /**
   * Also write what was seen and done as MCAP, which Foxglove and ROS 2 tools open: the frames as JPEG, states, chunks, sent
   * actions, events. The recorder has to keep scenes (`sceneBytes`).
   */
  readonly mcap?: boolean;
  /** Told of each file, and of each that could not be written. */
  readonly onEvent?: (event: FlightEvent) => void;
}

const optionNames: readonly (keyof FlightRecorderOptions)[] = [
  ...(['dir', 'files', 'quietMs', 'afterMs', 'title', 'mcap', 'onEvent'] as const),
];

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
  const { dir, files = 20, quietMs = 60_000, afterMs = 500, mcap = false } = options;
  if (typeof dir !== 'string' || dir === '') throw expected('OPTION_INVALID', 'a folder', 'dir', dir);
  if (!Number.isSafeInteger(files) || files < 1)
    throw expected('OPTION_INVALID', 'a whole number >= 1', 'files', files);
  for (const [name, value] of Object.entries({ quietMs, afterMs })) {
    if (!(value >= 0 && value < 2 ** 31)) throw expected('OPTION_INVALID', 'milliseconds >= 0', name, value);
  }
  if (mcap && !recorder.hasScenes) {
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      `mcap: expected a recorder that keeps scenes, found one that keeps none. Make it with new Recorder({ sceneBytes: 64 * 2 ** 20 }).`,
    );
  }
  if (mcap) checkMcap();
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
  return flights(recorder, { ...options, dir, files, quietMs, afterMs });
}

function flights(
  recorder: Recorder,
  {
    dir,
    files,
    quietMs,
    afterMs,
    title = 'semanticvla',
    mcap = false,
    onEvent,
  }: FlightRecorderOptions & Required<Pick<FlightRecorderOptions, 'files' | 'quietMs' | 'afterMs'>>,
): FlightRecorder {
  const tell = isolated('onEvent of startFlightRecorder', onEvent);
  // started before it is needed: starting a thread takes longer than a tick
  const worker = startWorker('./flightWorker', import.meta.url, 'flight recorder');
  worker.unref();
  /** Why the thread has ended; null: it runs. */
  let ended: string | null = null;
  worker.on('error', ({ message }) => {
    ended = message;
  });
  let jobs: Promise<unknown> = Promise.resolve();
  let pending: { readonly why: string; readonly timer: NodeJS.Timeout } | null = null;
  let lastMiss = Number.NEGATIVE_INFINITY;
  let quieted = 0;
  let closed: Promise<void> | null = null;

  const send = async (job: FlightJob): Promise<FlightReply> => {
    if (ended !== null) return { code: 'DEFECT', message: ended };
    const arrays = Object.values(job.recording).flatMap((rows) => Object.values((rows ?? {}) as object));
    const buffers = arrays.filter(ArrayBuffer.isView).map(({ buffer }) => buffer as ArrayBuffer);
    worker.ref();
    try {
      // rejects if the thread ends with an error
      const answer = once(worker, 'message');
      worker.postMessage(job, [...buffers, ...buffersOf(job.scenes ?? [])]);
      const [reply] = (await answer) as [FlightReply];
      return reply;
    } catch (error) {
      return { code: 'DEFECT', message: (error as Error).message };
    } finally {
      worker.unref();
    }
  };
  /** Copies at once; one file after the other. Never rejects. */
  const write = (why: string): Promise<string | null> => {
    const nowMs = performance.now();
    const toMonotonicMs = monotonicMs() - nowMs;
    const facts = { title, pid: process.pid, why, nowMs, toMonotonicMs, realtimeMs: Date.now() };
    const scenes = mcap ? recorder.takeScenes() : null;
    const job: FlightJob = { recording: recorder.copy(), scenes, facts, dir, files };
    const written = jobs.then(async () => {
      const reply = await send(job);
      if (!('files' in reply)) {
        tell({ type: 'failed', why, ...reply });
        return null;
      }
      const [file, beside] = reply.files as readonly [string, string?];
      tell({ type: 'written', file, why, ...(beside === undefined ? {} : { mcap: beside }) });
      return file;
    });
    jobs = written;
    return written;
  };
  recorder.onMiss = (why) => {
    const now = performance.now();
    if (pending !== null) return;
    if (now - lastMiss < quietMs) {
      quieted++;
      return;
    }
    lastMiss = now;
    quieted = 0;
    const timer = setTimeout(() => {
      pending = null;
      void write(why);
    }, afterMs);
    timer.unref();
    pending = { why, timer };
  };
  const end = async (): Promise<void> => {
    recorder.onMiss = undefined;
    if (pending !== null) {
      clearTimeout(pending.timer);
      void write(pending.why);
    }
    await jobs;
    await worker.terminate();
  };
  const close = (): Promise<void> => {
    closed ??= end();
    return closed;
  };
  return {
    get quieted() {
      return quieted;
    },
    dump: async (why = 'request') => {
      if (closed !== null)
        throw new SemanticVlaError('CLOSED', 'This flight recorder is closed. Start another.');
      return write(why);
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
