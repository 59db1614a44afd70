/** Types of scheduling: what a loop passes in at every tick, and what it gets back. No behaviour. */

import type { SemanticVlaError } from '../support/errors.ts';
import type { ActionChunk, Observation, Policy } from '../types.ts';
import type { ActionSpace } from './actionSpace.ts';
import type { Clock } from './clock.ts';

/** One tick. All times are in milliseconds of one monotonic clock. */
export interface Tick {
  /** The newest observation; null if there is none. */
  readonly observation: Observation | null;
  /** When it was taken. */
  readonly observedAt: number;
  readonly now: number;
  readonly instruction: string;
  readonly unnormKey?: string;
  /** Observations older than this must no longer move the robot (`now - maxAge`). */
  readonly oldest: number;
}

/** The action that a scheduler wants executed now. */
export interface ScheduledAction {
  /** [A] in the dataset's units, before limits. */
  readonly values: Float64Array;
  /** When the oldest observation behind this action was taken. */
  readonly observedAt: number;
  /** When the newest was taken. */
  readonly newestObservedAt: number;
  readonly epoch: number;
  readonly instruction: string;
  /** The newest chunk behind it, and the row of that chunk. */
  readonly chunk: ActionChunk;
  readonly row: number;
}

/** Counts of what a scheduler did. */
export interface ScheduleCounters {
  /** Predictions requested. */
  requests: number;
  /** Chunks accepted. */
  chunks: number;
  /** Predictions that failed. */
  failures: number;
  /** Predictions abandoned because their observation had become too old. */
  abandoned: number;
  /** Predictions and chunks discarded by a reset or a change of instruction. */
  superseded: number;
  /** Chunks refused because they were not finite or did not have the policy's shape. */
  refusedChunks: number;
  /** Chunks of which no row was left when they arrived. */
  lateChunks: number;
  /** Rows dropped from the beginning of chunks, because their ticks had been executed since the observation. */
  droppedRows: number;
}

/** Milliseconds from request to answer. The first one of a scheduler is kept apart, since it includes warm-up. */
export interface LatencyCounters {
  first: number | null;
  count: number;
  mean: number;
  max: number;
}

/** What a scheduler reports. */
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
  /** What the action's dimensions mean; default: the preset for the policy's platform. */
  readonly space?: ActionSpace;
  /** Default: the process's monotonic clock. */
  readonly clock?: Clock;
  /** Called synchronously while scheduling, so it must return quickly. */
  readonly onEvent?: (event: ScheduleEvent) => void;
}

/**
 * A policy whose chunks are one row long. Either call `predict`, which waits for the current row, or, as a loop does, `tick`, which
 * never waits, followed by `executed` with what was sent; not both. `close` also closes the wrapped policy.
 */
export interface ActionScheduler extends Policy {
  /** Name of the mode, e.g. `asynchronous`. */
  readonly mode: string;
  readonly space: ActionSpace;
  /** Counts resets and changes of instruction. Nothing predicted in an earlier epoch is ever proposed. */
  readonly epoch: number;
  readonly counters: Readonly<ScheduleCounters>;
  readonly latency: Readonly<LatencyCounters>;
  /** The current action; null: hold. Requests predictions as needed; calling again without `executed` returns the same row. */
  tick(tick: Tick): ScheduledAction | null;
  /** Reports that the action was sent at `at` with these values (limits applied). Holding is not executing. */
  executed(values: ArrayLike<number>, at: number): void;
  /** Forgets all plans and running predictions: a new episode begins. */
  reset(): void;
}
