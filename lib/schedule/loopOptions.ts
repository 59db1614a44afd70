/** Options of a control loop. */

import { checkOptions, checkSignal, expected } from '../support/options.ts';
import { type Clock, checkClock } from './clock.ts';
import type { LimitOptions } from './limitRules.ts';
import type { LoopEvent, SentAction, TimedObservation } from './loopEvents.ts';
import type { ActionScheduler } from './scheduler.ts';

export interface ControlLoopOptions {
  readonly scheduler: ActionScheduler;
  /** Ticks per second. */
  readonly rate: number;
  /** Milliseconds; an action must rest on observations no older than this when it leaves. */
  readonly maxAge: number;
  readonly instruction: string;
  readonly unnormKey?: string;
  /**
   * The newest observation there is, at once; null when there is none. Throwing, or any other answer, means that there is none
   * to trust.
   */
  readonly observe: () => TimedObservation | null;
  /**
   * Sends to the robot. When it throws, or answers with a promise that rejects, the loop ends with that error; other answers
   * mean nothing. Ticks do not wait for a promise, the end does.
   */
  readonly act: (action: SentAction) => unknown;
  readonly limits?: LimitOptions;
  /**
   * false: a tick without an action sends nothing. Default true: it repeats the last position and moves by zero. The end is
   * a HOLD in any case.
   */
  readonly hold?: boolean;
  /** Default: the process's monotonic clock, busy for the last 1.5 ms before each tick. */
  readonly clock?: Clock;
  /** Aborting ends the loop in order, as `stop` does. */
  readonly signal?: AbortSignal;
  /** Called synchronously, in the middle of a tick: it must return quickly. What it throws does not end the loop. */
  readonly onEvent?: (event: LoopEvent) => void;
}

const optionNames = [
  'scheduler',
  'rate',
  'maxAge',
  'instruction',
  'unnormKey',
  'observe',
  'act',
  'limits',
  'hold',
  'clock',
  'signal',
  'onEvent',
] as const satisfies readonly (keyof ControlLoopOptions)[];

/** Ticks per second; a slower loop would control nothing. */
const slowest = 0.001;

/** @throws OPTION_INVALID, OPTION_UNKNOWN, INSTRUCTION_INVALID */
export function checkLoopOptions(options: ControlLoopOptions): void {
  checkOptions(options, optionNames, 'startControlLoop');
  const { rate, maxAge, instruction, observe, act, scheduler, hold = true, clock, signal } = options;
  if (!(typeof rate === 'number' && rate >= slowest && rate <= 10_000))
    throw expected('OPTION_INVALID', `ticks per second in ${slowest}..10000`, 'rate', rate);
  if (!(typeof maxAge === 'number' && maxAge > 0))
    throw expected('OPTION_INVALID', 'milliseconds > 0', 'maxAge', maxAge);
  if (typeof instruction !== 'string' || instruction === '') {
    throw expected('INSTRUCTION_INVALID', 'a sentence', 'instruction', instruction);
  }
  for (const [name, value] of Object.entries({ observe, act })) {
    if (typeof value !== 'function') throw expected('OPTION_INVALID', 'a function', name, value);
  }
  if (typeof hold !== 'boolean') throw expected('OPTION_INVALID', 'true or false', 'hold', hold);
  if (clock !== undefined) checkClock(clock);
  checkSignal(signal);
  if (typeof scheduler?.tick !== 'function') {
    throw expected('OPTION_INVALID', 'a scheduled policy, e.g. asynchronous(policy)', 'scheduler', scheduler);
  }
}
