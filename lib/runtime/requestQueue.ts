/**
 * Requests to the inference thread, answered in order. A request waits here until the thread is about to be free, so an
 * aborted one is dropped before it costs anything: a robot that gives up on late answers does not build a backlog.
 */

import type { Worker } from 'node:worker_threads';
import { SemanticVlaError } from '../errors.ts';
import type { Reply, ReplyEnvelope, Request, RequestEnvelope } from './onnxMessages.ts';

/** Posted at once: one that runs, and the next, so that the thread never waits for the event loop. */
const ahead = 2;

type GoodReply = Reply & { ok: true };

interface Pending {
  readonly resolve: (reply: GoodReply) => void;
  readonly reject: (error: unknown) => void;
}

export class RequestQueue {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  readonly #waiting: RequestEnvelope[] = [];
  #posted = 0;
  #nextId = 0;
  #failure: Error | null = null;

  /** Holds the process open only while something is pending. */
  constructor(worker: Worker) {
    this.#worker = worker;
    worker.on('message', ({ id, reply }: ReplyEnvelope) => this.#answered(id, reply));
    worker.on('error', (error) => this.#fail(error));
    worker.on('exit', (code) => this.#fail(new Error(`the inference thread ended with code ${code}`)));
    worker.unref();
  }

  /** Whether the thread is gone; every request then rejects. */
  get failed(): boolean {
    return this.#failure !== null;
  }

  /**
   * An aborted caller is answered at once with the signal's reason. What the thread has begun it finishes, and the result
   * is dropped. Inputs must not be changed before the answer.
   */
  send(request: Request, signal?: AbortSignal): Promise<GoodReply> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      if (this.#failure !== null) return reject(runtimeError(this.#failure.message));
      const id = this.#nextId++;
      const onAbort = () => {
        this.#drop(id);
        reject(signal!.reason);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      const finish = () => signal?.removeEventListener('abort', onAbort);
      this.#pending.set(id, {
        resolve: (reply) => {
          finish();
          resolve(reply);
        },
        reject: (error) => {
          finish();
          reject(error);
        },
      });
      this.#waiting.push({ id, request });
      this.#worker.ref();
      this.#post();
    });
  }

  /** Rejects what the thread has not been given yet. */
  rejectWaiting(error: Error): void {
    for (const { id } of this.#waiting.splice(0)) {
      this.#pending.get(id)?.reject(error);
      this.#pending.delete(id);
    }
    this.#restWhenIdle();
  }

  #post(): void {
    while (this.#posted < ahead && this.#waiting.length > 0) {
      this.#posted += 1;
      this.#worker.postMessage(this.#waiting.shift());
    }
  }

  /** Forgets a request that still waits; a posted one stays until its answer comes. */
  #drop(id: number): void {
    const at = this.#waiting.findIndex((envelope) => envelope.id === id);
    if (at < 0) return;
    this.#waiting.splice(at, 1);
    this.#pending.delete(id);
    this.#restWhenIdle();
  }

  #answered(id: number, reply: Reply): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    this.#posted -= 1;
    this.#post();
    this.#restWhenIdle();
    if (reply.ok) pending?.resolve(reply);
    else pending?.reject(runtimeError(reply.message));
  }

  #restWhenIdle(): void {
    if (this.#pending.size === 0) this.#worker.unref();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#waiting.length = 0;
    for (const { reject } of this.#pending.values()) reject(runtimeError(error.message));
    this.#pending.clear();
  }
}

function runtimeError(message: string): SemanticVlaError {
  return new SemanticVlaError(
    'RUNTIME_FAILED',
    `ONNX Runtime (CPU): ${message}. If the checkpoint changed on disk since it was loaded, load the policy again; ` +
      'otherwise `semanticvla doctor` shows what this machine can run.',
  );
}
