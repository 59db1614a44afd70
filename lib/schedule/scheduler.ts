/** Types of scheduling: what a loop passes in at every tick, and what it gets back. No behaviour. */

import type { SemanticVlaError } from '../support/errors.ts';
import type { ActionChunk, Observation, Policy } from '../types.ts';
import type { ActionSpace } from './actionSpace.ts';
import type { Clock } from './clock.ts';

/** One tick. All times are of one monotonic clock, in milliseconds. */
export interface Tick {
  /** The newest observation; null when there is none. */
  readonly observation: Observation | null;
  /** When it was taken. */
  readonly observedAt: number;
  readonly now: number;
  readonly instruction: string;
  readonly unnormKey?: string;
  /** Observations before this time must no longer move the robot (`now - maxAge`). */
  readonly oldest: number;
}

/** What a scheduler wants to be executed now. */
export interface ScheduledAction {
  /** [A] in the dataset's units, before limits. */
  readonly values: Float64Array;
  /** When the oldest observation was taken that this action rests on. */
  readonly observedAt: number;
  /** The same of the newest. */
  readonly newestObservedAt: number;
  readonly epoch: number;
  readonly instruction: string;
  /** The newest chunk it rests on, and the row of it. */
  readonly chunk: ActionChunk;
  readonly row: number;
}

/** What a scheduler did, counted. */
export interface ScheduleCounters {
  /** Predictions asked for. */
  requests: number;
  /** Chunks taken over. */
  chunks: number;
  /** Predictions that failed. */
  failures: number;
  /** Predictions given up because their observation had become too old. */
  abandoned: number;
  /** Predictions and chunks thrown away by a reset or a change of instruction. */
  superseded: number;
  /** Chunks that were not finite or not of the policy's shape. */
  refusedChunks: number;
  /** Chunks of which no row was left when they came. */
  lateChunks: number;
  /** Rows dropped from the head of chunks: executed since their observation. */
  droppedRows: number;
}

/** Milliseconds from asking to answer. The first of a scheduler is kept apart: it warms up. */
export interface LatencyCounters {
  first: number | null;
  count: number;
  mean: number;
  max: number;
}

/** What happens in a scheduler. */
export type ScheduleEvent =
  | { readonly type: 'request'; readonly at: number; readonly observedAt: number; readonly epoch: number }
  | { readonly type: 'chunk'; readonly at: number; readonly latency: number; readonly dropped: number }
  | { readonly type: 'late'; readonly at: number; readonly latency: number; readonly dropped: number }
  | { readonly type: 'failure'; readonly at: number; readonly error: unknown }
  | { readonly type: 'refused'; readonly at: number; readonly error: SemanticVlaError }
  | { readonly type: 'abandoned'; readonly at: number; readonly observedAt: number }
  | { readonly type: 'epoch'; readonly at: number; readonly epoch: number };

/** Options of every scheduler. */
export interface ScheduleOptions {
  /** What the action's dimensions mean; default: the preset of the policy's platform. */
  readonly space?: ActionSpace;
  /** Default: the process's monotonic clock. */
  readonly clock?: Clock;
  /** Called synchronously, in the middle of scheduling: it must return quickly. */
  readonly onEvent?: (event: ScheduleEvent) => void;
}

/**
 * A policy whose chunks are one row long. `predict` waits for the current row; a loop calls `tick`, which never waits, and
 * then `executed` with what it has sent. One or the other, not both. `close` closes the wrapped policy.
 */
export interface ActionScheduler extends Policy {
  /** Name of the rule, e.g. `asynchronous`. */
  readonly mode: string;
  readonly space: ActionSpace;
  /** Counts resets and changes of instruction. Nothing predicted in an earlier epoch is ever proposed. */
  readonly epoch: number;
  readonly counters: Readonly<ScheduleCounters>;
  readonly latency: Readonly<LatencyCounters>;
  /** The current action, or null: hold. Asks for predictions as needed; asking again without `executed` gives the same row. */
  tick(tick: Tick): ScheduledAction | null;
  /** The action was sent at `at`, with these values (limits applied). Holding is not executing. */
  executed(values: ArrayLike<number>, at: number): void;
  /** Forgets everything planned and under way: a new episode. */
  reset(): void;
}
