/** One engine process as the supervisor sees it: started, ready, asked, lost. Knows nothing of restarts. */

import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { type ErrorCode, SemanticVlaError } from '../errors.ts';
import { type Ending, watchDeath } from './deathWatch.ts';
import { EngineLink, type TransportName } from './engineLink.ts';
import type {
  EngineFacts,
  EngineSource,
  FromEngine,
  ToEngine,
  WireArray,
  WireError,
} from './engineMessages.ts';
import { createSharedFile } from './sharedFile.ts';
import { Watchdog } from './watchdog.ts';

/** Why an engine is gone: it would not start, ended, crashed by a signal, hung in a call, fell silent, or failed. */
export type LossReason = 'start' | 'exit' | 'crash' | 'deadline' | 'heartbeat' | 'failure' | 'protocol';

export interface Loss {
  readonly reason: LossReason;
  readonly message: string;
  /** The engine's own error, when it refused to start or failed. */
  readonly error: SemanticVlaError | null;
}

export interface EngineChildOptions {
  readonly source: EngineSource;
  readonly transport: TransportName;
  readonly beatMs: number;
  /** Longest silence of a ready engine. */
  readonly silenceMs: number;
  readonly startMs: number;
  readonly env: Readonly<Record<string, string>>;
  /** What the engine prints, both streams. */
  readonly onOutput: (text: string) => void;
}

export type EngineReply = Extract<FromEngine, { id: number }>;

interface Call {
  readonly id: number;
  readonly watchdog: Watchdog;
  readonly resolve: (answer: { reply: EngineReply; arrays: readonly WireArray[] }) => void;
  readonly reject: (error: SemanticVlaError) => void;
}

/** So much of what the engine printed last goes into the message of its loss. */
const tailLength = 600;
/** The exit code comes with the process's end, a moment after its socket's. */
const exitCodeMs = 20;

export class EngineChild {
  /** Rejects with the engine's own error, or with ENGINE_LOST. */
  readonly ready: Promise<EngineFacts>;
  /** Resolves once, when the process is of no use any more; it is killed by then. Never rejects. */
  readonly lost: Promise<Loss>;
  /** Resolves when the process has ended. */
  readonly exited: Promise<void>;
  readonly #child: ChildProcess;
  readonly #socket: Socket;
  readonly #link: EngineLink<ToEngine, FromEngine>;
  readonly #silenceMs: number;
  readonly #stopDeathWatch: () => void;
  #startLimit: Watchdog | null;
  #silence: Watchdog | null = null;
  #call: Call | null = null;
  #loss: Loss | null = null;
  #tail = '';
  #settleReady!: { resolve: (facts: EngineFacts) => void; reject: (error: SemanticVlaError) => void };
  #settleLost!: (loss: Loss) => void;

  /** @throws BACKEND_UNAVAILABLE no shared memory, or no process can be started */
  constructor(options: EngineChildOptions) {
    const shared = options.transport === 'shared';
    const sharedFd = shared ? createSharedFile() : null;
    this.#silenceMs = options.silenceMs;
    this.ready = new Promise((resolve, reject) => {
      this.#settleReady = { resolve, reject };
    });
    this.ready.catch(() => {
      // whoever waits for it hears of it; nobody has to
    });
    this.lost = new Promise((resolve) => {
      this.#settleLost = resolve;
    });
    this.#child = spawn(process.execPath, [...entry(), options.transport, `${process.pid}`], {
      stdio: ['ignore', 'pipe', 'pipe', 'pipe', ...(sharedFd === null ? [] : [sharedFd])],
      env: { ...process.env, ...options.env },
    });
    this.exited = new Promise((resolve) => {
      this.#child.once('exit', () => {
        if (sharedFd !== null) closeSync(sharedFd);
        resolve();
      });
      this.#child.once('error', () => resolve());
    });
    this.#child.on('error', (error) => this.#lose('start', `its process did not start (${error.message})`));
    this.#child.on('exit', (code, signal) => this.#onEnd(signal === null ? { code: code! } : { signal }));
    const { pid } = this.#child;
    this.#stopDeathWatch = pid === undefined ? () => {} : watchDeath(pid, (ending) => this.#onEnd(ending));
    this.#socket = this.#child.stdio[3] as Socket;
    this.#link = new EngineLink<ToEngine, FromEngine>(
      this.#socket,
      { sharedFd, side: 'supervisor' },
      (message, arrays) => this.#receive(message, arrays),
      (error) => this.#lose('protocol', `it sent what is no message: ${error.message}`),
    );
    this.#socket.on('error', () => {
      // its end follows, and says so
    });
    this.#socket.on('close', () => {
      setTimeout(() => this.#lose('exit', 'it closed its link'), exitCodeMs).unref();
    });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
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

  /** Keeps this process alive, or not: an idle engine does not. */
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
   * @throws (rejects) ENGINE_LOST, ENGINE_DEADLINE, or RUNTIME_FAILED when the arrays do not fit in shared memory
   */
  ask(
    message: Extract<ToEngine, { id: number; observation: unknown }>,
    arrays: readonly WireArray[],
    limitMs: number,
  ): Promise<{ reply: EngineReply; arrays: readonly WireArray[] }> {
    return new Promise((resolve, reject) => {
      if (this.#loss !== null) return reject(lossError(this.#loss));
      this.#link.send(message, arrays);
      const watchdog = new Watchdog(limitMs, () =>
        this.#lose('deadline', `it did not answer within ${limitMs} ms`),
      );
      this.#call = { id: message.id, watchdog, resolve, reject };
    });
  }

  abort(id: number): void {
    if (this.#loss === null) this.#link.send({ kind: 'abort', id }, []);
  }

  /** Asks it to end, and kills it when it has not by then. */
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

  #receive(message: FromEngine, arrays: readonly WireArray[]): void {
    if (this.#loss !== null) return;
    this.#silence?.reset();
    switch (message.kind) {
      case 'ready':
        this.#startLimit?.stop();
        this.#startLimit = null;
        this.#silence = new Watchdog(this.#silenceMs, () =>
          this.#lose('heartbeat', `it gave no sign for ${this.#silenceMs} ms`),
        );
        this.#settleReady.resolve(message.facts);
        return;
      case 'refused':
        this.#lose('start', message.error.message, engineError(message.error));
        return;
      case 'beat':
        return;
      default: {
        const call = this.#call;
        if (call === null || call.id !== message.id) return;
        this.#call = null;
        call.watchdog.stop();
        call.resolve({ reply: message, arrays });
      }
    }
  }

  #onEnd(ending: Ending): void {
    this.#stopDeathWatch();
    if ('code' in ending) this.#lose('exit', `it ended with code ${ending.code}`);
    else
      this.#lose('crash', `it was ended by ${ending.signal ?? 'a signal, and its memory is being dumped'}`);
  }

  /** The engine answered, but with a failure that it may not recover from. */
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
    this.#settleReady.reject(error ?? lossError(loss));
    this.#call?.reject(lossError(loss));
    this.#call = null;
    this.#settleLost(loss);
  }
}

/** Node's arguments that run the engine's module, compiled or from sources. */
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

export function lossError(loss: Loss): SemanticVlaError {
  const code: ErrorCode = loss.reason === 'deadline' ? 'ENGINE_DEADLINE' : 'ENGINE_LOST';
  return new SemanticVlaError(
    code,
    `${loss.message} Another one is being started; hold the robot until then.`,
  );
}

/** The engine's error as its own process threw it; what is no SemanticVlaError there is a failure of the runtime. */
export function engineError({ code, message }: WireError): SemanticVlaError {
  return new SemanticVlaError((code ?? 'RUNTIME_FAILED') as ErrorCode, message);
}
