/** What a control loop sends, counts and reports. Only types; no behaviour. */

import type { Observation } from '../types.ts';

/** The newest observation and when it was taken, on the loop's clock. */
export interface TimedObservation {
  readonly observation: Observation;
  /** Milliseconds of the loop's clock (`performance.now()` unless another was given) when the sensors were read. */
  readonly at: number;
}

/** Why a tick held instead of executing. */
export type HoldReason =
  /** Nothing is planned: the policy has not answered yet. */
  | 'idle'
  /** The same, and there is no observation young enough to ask about. */
  | 'observationLate'
  /** The scheduler proposed what the loop must not let through; a defect of the scheduler. */
  | 'stale'
  | 'otherEpoch'
  | 'notFinite'
  /** The action is outside of the robot's range or workspace, or an angle has turned too often to be valid. */
  | 'outOfRange'
  /** No value satisfies all limits. */
  | 'infeasible'
  /** Limits need to know where the robot is, and the observation does not say. */
  | 'positionUnknown'
  /** The joint state is impossible for this space: not finite, far outside of its range, or a jump that no joint can make. */
  | 'readingImpossible'
  /** Motion would begin outside of the workspace, or far from all that the policy ever saw; bring the robot back by hand. */
  | 'outsideWorkspace'
  /** The clock shows an earlier time than before. */
  | 'clockBack'
  /** The loop ends. */
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

/** What goes to the robot. */
export interface SentAction {
  /** [A] in the dataset's units. */
  readonly values: Float64Array;
  /** null: an action of the policy; else the reason for repeating the last position and moving by zero. */
  readonly held: HoldReason | null;
  readonly at: number;
  readonly instruction: string;
  readonly epoch: number;
  /** When the oldest observation was taken that the action rests on; null when held. */
  readonly observedAt: number | null;
  /** The same of the newest. */
  readonly newestObservedAt: number | null;
}

/** What a loop did, counted. */
export interface LoopCounters {
  ticks: number;
  executed: number;
  /** Ticks that held, by reason. */
  held: Record<HoldReason, number>;
  /** Of these, ticks at which nothing was sent, since nothing had been sent before. */
  silent: number;
  /** Executed actions that a limit changed. */
  limited: number;
  /** Deadlines that passed while the process did something else; they are skipped, not made up for. */
  missedTicks: number;
  /** Observations that could not be read, came from the future, or had an impossible joint state. */
  refusedObservations: number;
  /** Milliseconds from a tick's deadline to its start. */
  lateness: { mean: number; max: number };
}

/** What happens in a loop. */
export type LoopEvent =
  | {
      readonly type: 'hold';
      readonly at: number;
      readonly reason: HoldReason;
      readonly dimension: string | null;
    }
  | { readonly type: 'limited'; readonly at: number; readonly dimensions: readonly string[] }
  | { readonly type: 'missed'; readonly at: number; readonly ticks: number }
  | { readonly type: 'observation'; readonly at: number; readonly error: unknown }
  /** The clock went back by this many milliseconds. Plans are dropped, ticks go on from now. */
  | { readonly type: 'clock'; readonly at: number; readonly back: number }
  /** The loop has ended and its last HOLD is not known to have reached the robot. */
  | { readonly type: 'holdLost'; readonly at: number; readonly error: unknown }
  | { readonly type: 'reset'; readonly at: number }
  | { readonly type: 'instruction'; readonly at: number; readonly instruction: string };
