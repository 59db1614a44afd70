/**
 * One policy, one inference at a time. Who comes while it runs waits, and who comes while somebody waits takes that place:
 * an observation is worth less the older it is, so the newest wins and the other is refused at once.
 */

import { SemanticVlaError } from '../errors.ts';

export type Rejection = 'superseded' | 'draining';

/** One who waits, or whose turn it is. */
interface Turn {
  readonly controller: AbortController;
  start(): void;
  refuse(reason: unknown): void;
}

export class InferenceSlot {
  readonly #onReject: (why: Rejection) => void;
  #running: Turn | null = null;
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
   * @param signal aborted when nobody waits for the result any more; whoever has no turn yet gives the place up
   * @throws (rejects) OVERLOADED a newer one took the place; DRAINING; the signal's reason; or what `work` rejects with
   */
  run<T>(work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    if (signal.aborted) return Promise.reject(signal.reason);
    if (this.#draining) {
      this.#onReject('draining');
      return Promise.reject(drainingError());
    }
    return new Promise<T>((resolve, reject) => {
      const controller = new AbortController();
      const onAbort = (): void => {
        controller.abort(signal.reason);
        if (this.#waiting !== turn) return;
        this.#waiting = null;
        reject(signal.reason);
      };
      const forget = (): void => signal.removeEventListener('abort', onAbort);
      const turn: Turn = {
        controller,
        start: () => {
          this.#execute(controller.signal, work).then(resolve, reject).finally(forget);
        },
        refuse: (reason) => {
          forget();
          reject(reason);
        },
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#enter(turn);
    });
  }

  async #execute<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    try {
      return await work(signal);
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
    this.#running?.controller.abort(drainingError());
  }

  #enter(turn: Turn): void {
    if (this.#running === null) {
      this.#running = turn;
      turn.start();
      return;
    }
    this.#refuseWaiting(
      'superseded',
      new SemanticVlaError(
        'OVERLOADED',
        'The policy is busy and a newer observation took the waiting place. Ask again with a newer one.',
      ),
    );
    this.#waiting = turn;
  }

  #leave(): void {
    this.#running = this.#waiting;
    this.#waiting = null;
    if (this.#running !== null) this.#running.start();
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
