/** Passes actions to the robot's `act`, which may answer with nothing, anything, a promise or a thenable. */

import type { SentAction } from './loopEvents.ts';

export class Sender {
  readonly #act: (action: SentAction) => unknown;
  readonly #failed: (cause: unknown, action: SentAction) => void;
  /** Sent, and not yet settled. */
  #open = 0;
  #sending = 0;
  #wake: () => void = () => {};

  /** @param failed told when `act` throws or its promise rejects */
  constructor(act: (action: SentAction) => unknown, failed: (cause: unknown, action: SentAction) => void) {
    this.#act = act;
    this.#failed = failed;
  }

  /** In the middle of `act`: what it sends itself is still to come. */
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
          // before it is told: a HOLD that follows is sent on its own
          this.#open--;
          this.#failed(cause, action);
        },
      )
      .then(() => {
        if (this.#open === 0) this.#wake();
      });
  }

  /** Whether all that was sent has settled within `ms` of real time: a virtual clock stands still while somebody waits. */
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
