/**
 * One policy, one inference at a time. Who comes while it runs waits, and who comes while somebody waits takes that place:
 * an observation is worth less the older it is, so the newest wins and the other is refused at once.
 */

import { SemanticVlaError } from '../errors.ts';

export type Rejection = 'superseded' | 'draining';

/** One who waits for a turn. */
interface Turn {
  start(): void;
  refuse(reason: unknown): void;
}

export class InferenceSlot {
  readonly #onReject: (why: Rejection) => void;
  #running: AbortController | null = null;
  #waiting: Turn | null = null;
  #draining = false;
  readonly #whenIdle: (() => void)[] = [];

  /** @param onReject counted by the caller */
  constructor(onReject: (why: Rejection) => void = () => {}) {
    this.#onReject = onReject;
  }

  get busy(): boolean {
    return this.#running !== null;
  }

  get waiting(): boolean {
    return this.#waiting !== null;
  }

  /**
   * Runs `work` when it is its turn. The slot is taken until `work` settles: it must heed the signal that it is given.
   * @param caller of this request alone; to be aborted when nobody waits for the result any more, and aborted here when the
   *   time to drain is over. Whoever has no turn yet gives the place up
   * @throws (rejects) OVERLOADED a newer one took the place; DRAINING; the signal's reason; or what `work` rejects with
   */
  run<T>(work: (signal: AbortSignal) => Promise<T>, caller: AbortController): Promise<T> {
    if (caller.signal.aborted) return Promise.reject(caller.signal.reason);
    if (this.#draining) {
      this.#onReject('draining');
      return Promise.reject(drainingError());
    }
    if (this.#running === null) return this.#execute(work, caller);
    this.#refuseWaiting(
      'superseded',
      new SemanticVlaError(
        'OVERLOADED',
        'The policy is busy and a newer observation took the waiting place. Ask again with a newer one.',
      ),
    );
    return this.#wait(work, caller);
  }

  #wait<T>(work: (signal: AbortSignal) => Promise<T>, caller: AbortController): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const { signal } = caller;
      const leave = (): void => {
        this.#waiting = null;
        reject(signal.reason);
      };
      this.#waiting = {
        start: () => {
          signal.removeEventListener('abort', leave);
          resolve(this.#execute(work, caller));
        },
        refuse: (reason) => {
          signal.removeEventListener('abort', leave);
          reject(reason);
        },
      };
      signal.addEventListener('abort', leave, { once: true });
    });
  }

  async #execute<T>(work: (signal: AbortSignal) => Promise<T>, caller: AbortController): Promise<T> {
    this.#running = caller;
    try {
      return await work(caller.signal);
    } finally {
      this.#leave();
    }
  }

  /** Refuses who waits and who comes; resolves when nothing runs. */
  drain(): Promise<void> {
    this.#draining = true;
    this.#refuseWaiting('draining', drainingError());
    if (this.#running === null) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  /** Tells what runs that its time is over. */
  abort(): void {
    this.#running?.abort(drainingError());
  }

  #leave(): void {
    const next = this.#waiting;
    this.#running = null;
    this.#waiting = null;
    if (next !== null) next.start();
    else for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  #refuseWaiting(why: Rejection, error: SemanticVlaError): void {
    if (this.#waiting === null) return;
    this.#onReject(why);
    this.#waiting.refuse(error);
    this.#waiting = null;
  }
}

function drainingError(): SemanticVlaError {
  return new SemanticVlaError('DRAINING', 'The server is shutting down. Ask another one, or this one later.');
}
