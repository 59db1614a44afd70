/**
 * Lets one policy run one inference at a time. Requests that come meanwhile wait for a turn. Each connection has one waiting
 * place: a newer observation replaces the one waiting there, since observations lose value as they age. Turns follow the order
 * of arrival and rotate among clients, so that no client can crowd out the others.
 */

import { whenAborted } from '../support/abort.ts';
import { SemanticVlaError } from '../support/errors.ts';

export type Rejection = 'superseded' | 'draining';

/** The connection that asks. */
export interface Asker {
  readonly client: string;
}

/** A request that waits for a turn. */
interface Turn {
  start(): void;
  refuse(reason: unknown): void;
}

/** For how many clients the last turn is remembered. */
const mostRemembered = 256;

export class InferenceSlot {
  readonly #onReject: (why: Rejection) => void;
  #running: AbortController | null = null;
  /** By connection, in the order of arrival. */
  readonly #waiting = new Map<Asker, Turn>();
  /** The number of the turn that each client had last; the oldest first. */
  readonly #served = new Map<string, number>();
  #turns = 0;
  #draining = false;
  readonly #whenIdle: (() => void)[] = [];

  /** @param onReject called for each rejected request, to count it */
  constructor(onReject: (why: Rejection) => void = () => {}) {
    this.#onReject = onReject;
  }

  get busy(): boolean {
    return this.#running !== null;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * Runs `work` when it is its turn. The slot is taken until `work` settles, so `work` must heed its signal.
   * @param asker the connection
   * @param caller of this request alone; the caller aborts it when nobody waits for the result any more, and this does when the
   *   time to drain is over. A request that has no turn yet gives up its place
   * @throws (rejects) OVERLOADED a newer one of the same connection took the place; DRAINING; the signal's reason; or what
   *   `work` rejects with
   */
  run<T>(work: (signal: AbortSignal) => Promise<T>, asker: Asker, caller: AbortController): Promise<T> {
    if (caller.signal.aborted) return Promise.reject(caller.signal.reason);
    if (this.#draining) {
      this.#onReject('draining');
      return Promise.reject(drainingError());
    }
    if (this.#running === null) return this.#execute(work, asker, caller);
    return this.#wait(work, asker, caller);
  }

  #wait<T>(work: (signal: AbortSignal) => Promise<T>, asker: Asker, caller: AbortController): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const turn: Turn = {
        start: () => {
          stopListening();
          resolve(this.#execute(work, asker, caller));
        },
        refuse: (reason) => {
          stopListening();
          reject(reason);
        },
      };
      const older = this.#waiting.get(asker);
      // It takes over the place in the order of arrival.
      this.#waiting.set(asker, turn);
      const stopListening = whenAborted(caller.signal, (reason) => {
        if (this.#waiting.get(asker) === turn) this.#waiting.delete(asker);
        reject(reason);
      });
      if (older === undefined) return;
      this.#onReject('superseded');
      older.refuse(
        new SemanticVlaError(
          'OVERLOADED',
          'The policy is busy and a newer observation took the waiting place. Ask again with a newer one.',
        ),
      );
    });
  }

  async #execute<T>(
    work: (signal: AbortSignal) => Promise<T>,
    { client }: Asker,
    caller: AbortController,
  ): Promise<T> {
    this.#running = caller;
    this.#served.delete(client);
    this.#served.set(client, ++this.#turns);
    if (this.#served.size > mostRemembered) this.#served.delete(this.#served.keys().next().value!);
    try {
      return await work(caller.signal);
    } finally {
      this.#leave();
    }
  }

  /** Refuses waiting and new requests; resolves when nothing runs. */
  drain(): Promise<void> {
    this.#draining = true;
    for (const turn of this.#waiting.values()) {
      this.#onReject('draining');
      turn.refuse(drainingError());
    }
    this.#waiting.clear();
    if (this.#running === null) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  /** Aborts the running inference. */
  abort(): void {
    this.#running?.abort(drainingError());
  }

  #leave(): void {
    this.#running = null;
    const next = this.#next();
    if (next !== null) {
      const turn = this.#waiting.get(next)!;
      this.#waiting.delete(next);
      turn.start();
    } else for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  /** The first connection of the client whose last turn is longest ago. */
  #next(): Asker | null {
    let next: Asker | null = null;
    for (const asker of this.#waiting.keys()) {
      if (next === null || this.#lastTurn(asker) < this.#lastTurn(next)) next = asker;
    }
    return next;
  }

  #lastTurn({ client }: Asker): number {
    return this.#served.get(client) ?? 0;
  }
}

function drainingError(): SemanticVlaError {
  return new SemanticVlaError('DRAINING', 'The server is shutting down. Ask another one, or this one later.');
}
