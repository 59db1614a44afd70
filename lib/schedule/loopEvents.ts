/** What a control loop sends, counts and reports. Only types; no behaviour. */

import type { Observation } from '../types.ts';

/** The newest observation and when it was taken, on the loop's clock. */
export interface TimedObservation {
  readonly observation: Observation;
  /** Milliseconds of the loop's clock (`performance.now()` unless another was given) when the sensors were read. */
  readonly at: number;
}

/** Why a tick held instead of executing an action. */
export type HoldReason =
  /** Nothing is planned: the policy has not answered yet. */
  | 'idle'
  /** Nothing is planned, and no observation is recent enough to ask about. */
  | 'observationLate'
  /** The scheduler proposed an action that the loop must not send, which is a bug in the scheduler. */
  | 'stale'
  | 'otherEpoch'
  | 'notFinite'
  /** The action is outside of the robot's range or workspace, or an angle has turned too often to be valid. */
  | 'outOfRange'
  /** No value satisfies all limits. */
  | 'infeasible'
  /** Limits need to know where the robot is, and the observation does not contain it. */
  | 'positionUnknown'
  /** The joint state is impossible in this space: not finite, far out of range, or a jump that no joint can make. */
  | 'readingImpossible'
  /** Motion would start outside the workspace, or far from everything in the training data; bring the robot back by hand. */
  | 'outsideWorkspace'
  /** The clock went back. */
  | 'clockBack'
  /** The loop is ending. */
  | 'stopped';

export const holdReasons: readonly HoldReason[] = [
  'idle',
  'observationLate',
  'stale',
  'otherEpoch',
  'notFinite',
  'outOfRange',
  'infeasible',
  'positionUnknown',
  'readingImpossible',
  'outsideWorkspace',
  'clockBack',
  'stopped',
];

/** What is sent to the robot. */
export interface SentAction {
  /** [A] in the dataset's units. */
  readonly values: Float64Array;
  /** null: an action of the policy; else why the last position is repeated, with zero motion. */
  readonly held: HoldReason | null;
  readonly at: number;
  readonly instruction: string;
  readonly epoch: number;
  /** When the oldest observation behind the action was taken; null if held. */
  readonly observedAt: number | null;
  /** When the newest was taken; null if held. */
  readonly newestObservedAt: number | null;
}

/** Counts of what a loop did. */
export interface LoopCounters {
  ticks: number;
  executed: number;
  /** Ticks that held, by reason. */
  held: Record<HoldReason, number>;
  /** How many of these sent nothing, because nothing had been sent before. */
  silent: number;
  /** Executed actions that were changed by a limit. */
  limited: number;
  /** Deadlines that passed while the process was busy; they are skipped, not caught up. */
  missedTicks: number;
  /** Observations that could not be read, were from the future, or had an impossible joint state. */
  refusedObservations: number;
  /** Milliseconds from a tick's deadline to its start. */
  lateness: { mean: number; max: number };
}

/**
 * Which limit changed an action: `range` (of the robot, the statistics and, of a position, the workspace), `workspace` (of a delta),
 * `step` (or velocity), `acceleration`, `braking` (it could not stop before its end any more).
 */
export type LimitName = 'range' | 'workspace' | 'step' | 'acceleration' | 'braking';

/** What a loop reports. */
export type LoopEvent =
  | {
      readonly type: 'hold';
      readonly at: number;
      readonly reason: HoldReason;
      readonly dimension: string | null;
    }
  /** `limits` are those of `dimensions`, in the same order. */
  | {
      readonly type: 'limited';
      readonly at: number;
      readonly dimensions: readonly string[];
      readonly limits: readonly LimitName[];
    }
  | { readonly type: 'missed'; readonly at: number; readonly ticks: number }
  | { readonly type: 'observation'; readonly at: number; readonly error: unknown }
  /** The clock went back by this many milliseconds. Plans are dropped, and ticks continue from now. */
  | { readonly type: 'clock'; readonly at: number; readonly back: number }
  /** The loop has ended, and its last HOLD may not have reached the robot. */
  | { readonly type: 'holdLost'; readonly at: number; readonly error: unknown }
  | { readonly type: 'reset'; readonly at: number }
  | { readonly type: 'instruction'; readonly at: number; readonly instruction: string };
