/** Passes actions to the robot's `act`, which may return nothing, anything, a promise or a thenable. */

import type { SentAction } from './loopEvents.ts';

export class Sender {
  readonly #act: (action: SentAction) => unknown;
  readonly #failed: (cause: unknown, action: SentAction) => void;
  /** Number of actions sent but not yet settled. */
  #open = 0;
  #sending = 0;
  #wake: () => void = () => {};

  /** @param failed called if `act` throws or its promise rejects */
  constructor(act: (action: SentAction) => unknown, failed: (cause: unknown, action: SentAction) => void) {
    this.#act = act;
    this.#failed = failed;
  }

  /** Whether `act` is currently running, so that its action is yet to be sent. */
  get isSending(): boolean {
    return this.#sending > 0;
  }

  get open(): number {
    return this.#open;
  }

  send(action: SentAction): void {
    let answer: unknown;
    let thrown: { readonly cause: unknown } | null = null;
    this.#sending++;
    try {
      answer = this.#act(action);
    } catch (cause) {
      thrown = { cause };
    }
    this.#sending--;
    if (thrown !== null) {
      this.#failed(thrown.cause, action);
      return;
    }
    if (answer === null || (typeof answer !== 'object' && typeof answer !== 'function')) return;
    this.#open++;
    Promise.resolve(answer)
      .then(
        () => this.#open--,
        (cause: unknown) => {
          // before `failed` is called: a HOLD that it causes counts separately
          this.#open--;
          this.#failed(cause, action);
        },
      )
      .then(() => {
        if (this.#open === 0) this.#wake();
      });
  }

  /** Whether everything sent has settled within `ms` of real time: a virtual clock would stand still during the wait. */
  async settled(ms: number): Promise<boolean> {
    if (this.#open === 0) return true;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, ms);
    });
    clearTimeout(timer);
    this.#wake = () => {};
    return this.#open === 0;
  }
}
