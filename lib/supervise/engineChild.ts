/** One engine process as the supervisor sees it: started, ready, called, lost. It knows nothing of restarts. */

import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { type ErrorCode, SemanticVlaError } from '../support/errors.ts';
import { type Ending, watchDeath } from './deathWatch.ts';
import { EngineLink, type TransportName } from './engineLink.ts';
import type { EngineFacts, EngineSource, ToEngine, WireArray } from './engineMessages.ts';
import { type EngineAnswer, readMessage } from './engineReply.ts';
import { createSharedFile } from './sharedFile.ts';
import { Watchdog } from './watchdog.ts';

/** Why an engine is gone: it did not start, exited, was killed by a signal, hung in a call, fell silent, or failed. */
export type LossReason = 'start' | 'exit' | 'crash' | 'deadline' | 'heartbeat' | 'failure' | 'protocol';

export interface Loss {
  readonly reason: LossReason;
  readonly message: string;
  /** The engine's own error, if it refused to start or failed. */
  readonly error: SemanticVlaError | null;
}

export interface EngineChildOptions {
  readonly source: EngineSource;
  readonly transport: TransportName;
  readonly beatMs: number;
  /** Longest time that a ready engine may be silent. */
  readonly silenceMs: number;
  readonly startMs: number;
  readonly env: Readonly<Record<string, string>>;
  /** What the engine prints, both streams. */
  readonly onOutput: (text: string) => void;
}

interface Call {
  readonly id: number;
  readonly kind: 'predict' | 'stages';
  readonly watchdog: Watchdog;
  readonly resolve: (answer: EngineAnswer) => void;
  readonly reject: (error: SemanticVlaError) => void;
}

/** Number of characters of the engine's last output that are quoted in the message of its loss. */
const tailLength = 600;
/** The exit code arrives with the end of the process, a moment after that of its socket. */
const exitCodeMs = 20;
/** Secrets of the server, which the engine does not need and its modules must not see. */
const secrets = { SEMANTICVLA_TOKEN: undefined };

export class EngineChild {
  /** Rejects with the engine's own error, or with ENGINE_LOST. */
  readonly ready: Promise<EngineFacts>;
  /** Resolves once, when the process has become unusable and been killed. Never rejects. */
  readonly lost: Promise<Loss>;
  /** Resolves when the process has ended. */
  readonly exited: Promise<void>;
  readonly #child: ChildProcess;
  readonly #socket: Socket;
  readonly #link: EngineLink<ToEngine, unknown>;
  readonly #silenceMs: number;
  readonly #stopDeathWatch: () => void;
  #startLimit: Watchdog | null;
  #silence: Watchdog | null = null;
  #call: Call | null = null;
  #facts: EngineFacts | null = null;
  #loss: Loss | null = null;
  #tail = '';
  #settleReady!: { resolve: (facts: EngineFacts) => void; reject: (error: SemanticVlaError) => void };
  #settleLost!: (loss: Loss) => void;

  /** @throws BACKEND_UNAVAILABLE if there is no shared memory or no process can be started; nothing is left open then */
  constructor(options: EngineChildOptions) {
    this.#silenceMs = options.silenceMs;
    this.ready = new Promise((resolve, reject) => {
      this.#settleReady = { resolve, reject };
    });
    this.ready.catch(() => {
      // rejections reach whoever awaits it, but nobody has to
    });
    this.lost = new Promise((resolve) => {
      this.#settleLost = resolve;
    });
    const { child, sharedFd } = start(options);
    this.#child = child;
    this.exited = new Promise((resolve) => {
      let open = true;
      const end = (): void => {
        if (open && sharedFd !== null) closeSync(sharedFd);
        open = false;
        resolve();
      };
      child.once('exit', end);
      // without a process nothing else reports the end; a process that merely could not be killed will still exit
      child.on('error', () => child.pid === undefined && end());
    });
    child.on('error', (error) => this.#lose('start', `its process did not start (${error.message})`));
    child.on('exit', (code, signal) => this.#onEnd(signal === null ? { code: code! } : { signal }));
    const { pid } = child;
    this.#stopDeathWatch = pid === undefined ? () => {} : watchDeath(pid, (ending) => this.#onEnd(ending));
    this.#socket = child.stdio[3] as Socket;
    this.#link = new EngineLink<ToEngine, unknown>(
      this.#socket,
      { sharedFd, side: 'supervisor' },
      (message, arrays) => this.#receive(message, arrays),
      (error) => this.#lose('protocol', `it sent an invalid message: ${error.message}`),
    );
    this.#socket.on('error', () => {
      // its exit follows and is reported
    });
    this.#socket.on('close', () => {
      setTimeout(() => this.#lose('exit', 'it closed its link'), exitCodeMs).unref();
    });
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on('error', () => {
        // only its output is lost
      });
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#tail = (this.#tail + text).slice(-tailLength);
        options.onOutput(text);
      });
      (stream as Socket).unref();
    }
    this.#startLimit = new Watchdog(options.startMs, () =>
      this.#lose('start', `it was not ready within ${options.startMs} ms`),
    );
    this.#link.send({ kind: 'start', source: options.source, beatMs: options.beatMs }, []);
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Whether the engine keeps this process alive; an idle one does not. */
  hold(alive: boolean): void {
    if (alive) {
      this.#child.ref();
      this.#socket.ref();
    } else {
      this.#child.unref();
      this.#socket.unref();
    }
  }

  /**
   * One at a time.
   * @param limitMs after which the engine counts as hung
   * @throws (rejects) ENGINE_LOST, ENGINE_DEADLINE, or RUNTIME_FAILED if the arrays do not fit in shared memory
   */
  ask(
    message: Extract<ToEngine, { id: number; observation: unknown }>,
    arrays: readonly WireArray[],
    limitMs: number,
  ): Promise<EngineAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#loss !== null) return reject(lossError(this.#loss));
      this.#link.send(message, arrays);
      const watchdog = new Watchdog(limitMs, () =>
        this.#lose('deadline', `it did not answer within ${limitMs} ms`),
      );
      this.#call = { id: message.id, kind: message.kind, watchdog, resolve, reject };
    });
  }

  abort(id: number): void {
    if (this.#loss === null) this.#link.send({ kind: 'abort', id }, []);
  }

  /** Asks it to end, and kills it if it has not ended in time. */
  async close(limitMs: number): Promise<void> {
    this.hold(true);
    this.#silence?.stop();
    if (this.#loss === null) this.#link.send({ kind: 'close' }, []);
    const timer = setTimeout(() => this.kill(), limitMs);
    await this.exited;
    clearTimeout(timer);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** @throws if the message is invalid, which the link treats as the end of the engine */
  #receive(message: unknown, arrays: readonly WireArray[]): void {
    if (this.#loss !== null) return;
    const heard = readMessage(message, arrays, { facts: this.#facts, call: this.#call });
    this.#silence?.reset();
    switch (heard.kind) {
      case 'ready':
        this.#facts = heard.facts;
        this.#startLimit?.stop();
        this.#startLimit = null;
        this.#silence = new Watchdog(this.#silenceMs, () =>
          this.#lose('heartbeat', `it gave no sign for ${this.#silenceMs} ms`),
        );
        this.#settleReady.resolve(heard.facts);
        return;
      case 'refused':
        this.#lose('start', heard.error.message, heard.error);
        return;
      case 'beat':
        return;
      default: {
        const call = this.#call!;
        this.#call = null;
        call.watchdog.stop();
        call.resolve(heard);
      }
    }
  }

  #onEnd(ending: Ending): void {
    this.#stopDeathWatch();
    if ('code' in ending) this.#lose('exit', `it ended with code ${ending.code}`);
    else
      this.#lose('crash', `it was ended by ${ending.signal ?? 'a signal, and its memory is being dumped'}`);
  }

  /** The engine answered with a failure from which it may not recover. */
  fail(error: SemanticVlaError): void {
    this.#lose('failure', error.message, error);
  }

  #lose(reason: LossReason, what: string, error: SemanticVlaError | null = null): void {
    if (this.#loss !== null) return;
    const tail = this.#tail.trim();
    const message = `Engine process ${this.#child.pid ?? ''}: ${what}.${tail === '' ? '' : ` It last printed: ${tail}`}`;
    const loss: Loss = { reason, message, error };
    this.#loss = loss;
    this.#stopDeathWatch();
    this.#startLimit?.stop();
    this.#silence?.stop();
    this.#call?.watchdog.stop();
    this.kill();
    this.#socket.destroy();
    this.#settleReady.reject(error ?? startError(loss));
    this.#call?.reject(lossError(loss));
    this.#call = null;
    this.#settleLost(loss);
  }
}

/** Node's arguments for running the engine's module, compiled or from source. */
function entry(): string[] {
  if (!import.meta.url.endsWith('.ts')) {
    return [fileURLToPath(new URL('./engineProcess.js', import.meta.url))];
  }
  return [
    '--import',
    import.meta.resolve('tsx'),
    fileURLToPath(new URL('./engineProcess.ts', import.meta.url)),
  ];
}

/** Error of a call: `whenReady` tells whether another engine follows. */
export function lossError(loss: Loss): SemanticVlaError {
  const code: ErrorCode = loss.reason === 'deadline' ? 'ENGINE_DEADLINE' : 'ENGINE_LOST';
  return new SemanticVlaError(
    code,
    `${loss.message} Hold the robot until another one is ready (whenReady, event "ready").`,
  );
}

/** Error of the first start: no other engine follows. */
function startError(loss: Loss): SemanticVlaError {
  return new SemanticVlaError(
    'ENGINE_LOST',
    `${loss.message} It had never been ready, so no other is started: correct the cause, then call superviseEngine again.`,
  );
}

/** @throws BACKEND_UNAVAILABLE */
function start(options: EngineChildOptions): { child: ChildProcess; sharedFd: number | null } {
  const sharedFd = options.transport === 'shared' ? createSharedFile() : null;
  let child: ChildProcess | null = null;
  let found: unknown;
  try {
    child = spawn(process.execPath, [...entry(), options.transport, `${process.pid}`], {
      stdio: ['ignore', 'pipe', 'pipe', 'pipe', ...(sharedFd === null ? [] : [sharedFd])],
      env: { ...process.env, ...secrets, ...options.env },
    });
  } catch (error) {
    found = error;
  }
  // when descriptors run out Node returns a child without streams, and reports why a moment later
  if (child?.stdio?.[3]) return { child, sharedFd };
  child?.on('error', () => {});
  if (sharedFd !== null) closeSync(sharedFd);
  throw new SemanticVlaError(
    'BACKEND_UNAVAILABLE',
    `Engine process: expected to start one, found ${found instanceof Error ? found.message : 'no descriptors left'}. ` +
      'Close files or raise the limit (ulimit -n), and free processes and memory.',
    { cause: found },
  );
}
