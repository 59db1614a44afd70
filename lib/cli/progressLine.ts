/**
 * Progress of long work on standard error: one live line on a terminal; plain lines elsewhere, one a second at first, then
 * ever more rarely, since a log is read afterwards.
 */

import type { Progress } from '../checkpoint/checkpoint.ts';
import { formatBytes } from './format.ts';

export interface ProgressTarget {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

const interval = 1000;
/** Plain lines that come a second apart; after them each wait is half as long again, up to a minute. */
const promptLines = 3;
const longestInterval = 60_000;

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
  #interval = interval;
  #lines = 0;
  #printed = '';
  #live = false;

  /** Work that is over within a second prints nothing. */
  constructor(target: ProgressTarget, now: () => number = () => performance.now()) {
    this.#target = target;
    this.#now = now;
    this.#last = now();
  }

  readonly update = (progress: Progress): void => {
    const now = this.#now();
    if (now - this.#last < this.#interval) return;
    const text = describe(progress);
    if (this.#target.isTTY) {
      this.#last = now;
      this.#target.write(`\r\u001b[K${text}`);
      this.#live = true;
      return;
    }
    // the next line shows that this one is over
    if (text === this.#printed || progress.done >= progress.total) return;
    this.#last = now;
    this.#printed = text;
    this.#target.write(`${text}\n`);
    this.#lines++;
    if (this.#lines >= promptLines) this.#interval = Math.min(longestInterval, this.#interval * 1.5);
  };

  /** Takes the live line away, so that what is printed next stands alone. */
  clear(): void {
    if (this.#live) this.#target.write('\r\u001b[K');
    this.#live = false;
  }
}
