/** What one mode decides; everything else (asking, counting, epochs, ages) is the same for all. */

import type { Observation } from '../types.ts';
import type { ActionSpace } from './actionSpace.ts';
import type { PlacedChunk, Plan } from './plan.ts';

/** A chunk's share in the action of now. */
export interface Share {
  readonly placed: PlacedChunk;
  /** > 0; all shares of one action sum to 1. */
  readonly weight: number;
}

export interface Rules {
  readonly mode: string;
  /** Rows of a chunk to be executed at most; absent: all. */
  readonly rows?: number;
  /** Only the newest chunk counts, and replaces what was there. */
  readonly replaces: boolean;
  /** Rows leave exactly as predicted, grippers too. */
  readonly verbatim?: boolean;
  /** Deltas are re-anchored, since chunks of several poses are mixed. */
  readonly anchors?: boolean;
  /** Whether to ask for a prediction, when none is under way. */
  wants(plan: Plan): boolean;
  /**
   * The chunks that make the action of now.
   * @param current chunks with a row for this tick, oldest observation first, at least one
   */
  shares(current: readonly PlacedChunk[], plan: Plan): Share[];
  /**
   * Changes what is asked: the observation as it will be when `ahead` more of the planned actions have been executed.
   * @throws STATE_INVALID
   */
  ahead?(
    observation: Observation,
    firstExecuted: number,
    plan: Plan,
  ): { observation: Observation; first: number };
}

/** Makes the rules once the action space is known. */
export type RulesFor = (space: ActionSpace) => Rules;
