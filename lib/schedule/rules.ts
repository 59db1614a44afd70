/** What is specific to one mode; everything else (requests, counting, epochs, ages) is the same for all. */

import type { Observation } from '../types.ts';
import type { ActionSpace } from './actionSpace.ts';
import type { PlacedChunk, Plan } from './plan.ts';

/** A chunk's share in the current action. */
export interface Share {
  readonly placed: PlacedChunk;
  /** > 0; all shares of one action sum to 1. */
  readonly weight: number;
}

export interface Rules {
  readonly mode: string;
  /** Most rows of a chunk to execute; absent: all. */
  readonly rows?: number;
  /** Whether the newest chunk replaces all others. */
  readonly replaces: boolean;
  /** Whether rows are sent exactly as predicted, including grippers. */
  readonly verbatim?: boolean;
  /** Whether deltas are re-anchored, since chunks from several poses are mixed. */
  readonly anchors?: boolean;
  /** Whether to request a prediction now; called when none is running. */
  wants(plan: Plan): boolean;
  /**
   * Which chunks make up the current action.
   * @param current chunks with a row for this tick, oldest observation first, at least one
   */
  shares(current: readonly PlacedChunk[], plan: Plan): Share[];
  /**
   * Changes the observation that the policy is given to that expected after `ahead` more of the planned actions.
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
