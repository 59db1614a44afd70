/** Options of a control loop. */

import { checkOptions, checkSignal, expected } from '../support/options.ts';
import { type Clock, checkClock } from './clock.ts';
import type { LimitOptions } from './limitRules.ts';
import type { LoopEvent, SentAction, TimedObservation } from './loopEvents.ts';
import type { ActionScheduler } from './scheduler.ts';

/** What a control loop runs, how often, and what it may send. */
export interface ControlLoopOptions {
  readonly scheduler: ActionScheduler;
  /** Ticks per second. */
  readonly rate: number;
  /** Milliseconds; when an action is sent, the observations behind it must not be older than this. */
  readonly maxAge: number;
  readonly instruction: string;
  readonly unnormKey?: string;
  /**
   * Returns the newest observation at once, or null if there is none. If it throws or returns anything else, there is none that can
   * be trusted.
   */
  readonly observe: () => TimedObservation | null;
  /**
   * Sends an action to the robot. If it throws or returns a promise that rejects, the loop ends with that error; other return
   * values are ignored. Ticks do not wait for the promise, but the end of the loop does.
   */
  readonly act: (action: SentAction) => unknown;
  readonly limits?: LimitOptions;
  /**
   * false: a tick without an action sends nothing. Default true: it repeats the last position, with zero motion. The loop
   * ends with a HOLD in either case.
   */
  readonly hold?: boolean;
  /** Default: the process's monotonic clock, which spins for the last 1.5 ms before each tick. */
  readonly clock?: Clock;
  /** Aborting it ends the loop properly, as `stop` does. */
  readonly signal?: AbortSignal;
  /** Called synchronously during a tick, so it must return quickly. What it throws does not end the loop. */
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

/** Lowest rate in ticks per second; a slower loop would control nothing. */
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
