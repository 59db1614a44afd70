/**
 * Requests to the inference thread, answered in order. A request waits here until the thread is about to be free, so an
 * aborted one is dropped before it costs anything: a robot that gives up on late answers does not build a backlog.
 */

import type { NativeCpuWork } from '../addon/binding.ts';
import type { Reply, Request } from '../addon/onnxMessages.ts';
import { whenAborted } from '../support/abort.ts';
import { SemanticVlaError } from '../support/errors.ts';

/** Requests given to the thread ahead of time: the running one and the next, so that it never waits for the event loop. */
const ahead = 2;

interface Pending {
  readonly request: Request;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: unknown) => void;
  /** Once the thread has it. */
  work: NativeCpuWork | null;
}

export class RequestQueue {
  readonly #start: (request: Request) => NativeCpuWork;
  readonly #waiting: Pending[] = [];
  #given = 0;

  /** @param start gives a request to the thread, which keeps the process alive until it is answered */
  constructor(start: (request: Request) => NativeCpuWork) {
    this.#start = start;
  }

  /**
   * An aborted caller is answered at once with the signal's reason; what the thread computes for it is stopped at the next
   * node. Inputs must not be changed before the answer.
   */
  send(request: Request, signal?: AbortSignal): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const finish = whenAborted(signal, (reason) => {
        const at = this.#waiting.indexOf(pending);
        if (at >= 0) this.#waiting.splice(at, 1);
        pending.work?.cancel();
        reject(reason);
      });
      const pending: Pending = {
        request,
        resolve: (reply) => {
          finish();
          resolve(reply);
        },
        reject: (error) => {
          finish();
          reject(error);
        },
        work: null,
      };
      this.#waiting.push(pending);
      this.#give();
    });
  }

  /** Rejects what the thread has not been given yet. */
  rejectWaiting(error: Error): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  #give(): void {
    while (this.#given < ahead && this.#waiting.length > 0) {
      const pending = this.#waiting.shift()!;
      try {
        pending.work = this.#start(pending.request);
      } catch (error) {
        pending.reject(runtimeError(error));
        continue;
      }
      this.#given += 1;
      pending.work.done
        .then(pending.resolve, (error: unknown) => pending.reject(runtimeError(error)))
        .finally(() => {
          this.#given -= 1;
          this.#give();
        });
    }
  }
}

/** What the runtime's messages mean; they describe graphs that no user wrote, so they stay in `cause`. */
const meanings: readonly (readonly [RegExp, string])[] = [
  [/alloc|memory/i, "it ran out of memory (weights: 'mapped' needs the least)"],
  [/dimension|shape|Got:.*Expected:/i, 'an input does not fit the model, as if the checkpoint had changed'],
  [/\bopen|\bread|mmap|no such file|stat\b/i, 'a file of weights could not be read'],
];

function runtimeError(error: unknown): SemanticVlaError {
  if (error instanceof SemanticVlaError) return error;
  const words = error instanceof Error ? error.message : String(error);
  const meaning = meanings.find(([pattern]) => pattern.test(words))?.[1] ?? 'an operation failed';
  return new SemanticVlaError(
    'RUNTIME_FAILED',
    `ONNX Runtime (CPU): ${meaning}. If the checkpoint changed on disk since it was loaded, load the policy again; ` +
      "otherwise `semanticvla doctor` shows what this machine can run. SEMANTICVLA_DEBUG=1 (error.cause) has the runtime's own words.",
    { cause: error },
  );
}
