/** Progress of long work on standard error: one live line on a terminal, plain lines elsewhere, at most one a second. */

import type { Progress } from '../checkpoint/checkpoint.ts';
import { formatBytes } from './format.ts';

export interface ProgressTarget {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

const interval = 1000;

function describe({ step, done, total, unit }: Progress): string {
  const percent = total > 0 ? `${Math.floor((100 * done) / total)} %` : '';
  const amount =
    unit === 'bytes' ? `${formatBytes(done)} of ${formatBytes(total)}` : `${done} of ${total} ${unit}`;
  return `${step}  ${percent.padStart(5)}  ${amount}`;
}

export class ProgressLine {
  readonly #target: ProgressTarget;
  readonly #now: () => number;
  #last: number;
  #live = false;

  /** Work that is over within a second prints nothing. */
  constructor(target: ProgressTarget, now: () => number = () => performance.now()) {
    this.#target = target;
    this.#now = now;
    this.#last = now();
  }

  readonly update = (progress: Progress): void => {
    const now = this.#now();
    if (now - this.#last < interval) return;
    this.#last = now;
    const text = describe(progress);
    if (this.#target.isTTY) {
      this.#target.write(`\r\u001b[K${text}`);
      this.#live = true;
    } else {
      this.#target.write(`${text}\n`);
    }
  };

  /** Takes the live line away, so that what is printed next stands alone. */
  clear(): void {
    if (this.#live) this.#target.write('\r\u001b[K');
    this.#live = false;
  }
}
