/** Recorded episodes as every reader gives them: the few numbers of an episode at once, its frames one observation at a time. */

import type { FolderObservation } from '../observation/readObservation.ts';

/** What the robot saw before the action of a step. */
export interface RecordedObservation extends FolderObservation {
  readonly step: number;
}

/** An episode without its frames, which are read when they are asked for. */
export interface Episode {
  /** How a reader knows it: a folder's name, `episode 12`. */
  readonly name: string;
  /** Where it is, for messages: a folder or a file, and what in it. */
  readonly source: string;
  /** What the robot was told; if absent, each observation has its own instruction. */
  readonly instruction?: string;
  /** Steps per second. */
  readonly rate: number;
  /** [steps, dimensions] row-major float64: the demonstrator's action at each step, in the dataset's units. */
  readonly actions: Float64Array;
  /** [steps, dimensions]; [0, 0] where nobody demonstrated anything. */
  readonly shape: readonly [number, number];
  /** The steps that have an observation, ascending; at least one. */
  readonly steps: readonly number[];
  /**
   * The observations of some of `steps`, ascending, one after the other; one that is not taken is not decoded.
   *
   * @throws (rejects) DATASET_*, IMAGE_*, EPISODE_INVALID, PACKAGE_UNAVAILABLE, as `readObservation` does, or the signal's reason
   */
  observations(steps: readonly number[], signal?: AbortSignal): AsyncIterable<RecordedObservation>;
}

/** What the episodes of a dataset hold, by the dataset's own names. */
export interface Features {
  readonly cameras: readonly string[];
  /** Numbers a step, by name: how many. */
  readonly vectors: Readonly<Record<string, number>>;
  /** What a documented layout says about itself. */
  readonly usual?: {
    readonly cameras: Readonly<Record<string, string>>;
    readonly state: readonly string[];
  };
}

/** By the dataset's own names, where the policy's inputs and the demonstrator's actions are. */
export interface FeatureKeys {
  /** By camera of the policy. */
  readonly cameras?: Readonly<Record<string, string>>;
  /** Joined in this order. */
  readonly state?: readonly string[];
  /** Joined in this order. */
  readonly action?: readonly string[];
}

/** How LIBERO's simulator counts the gripper, -1 open to 1 closed, or as the policy's statistics do. */
export const gripperKinds = ['libero', 'same'] as const;
export type GripperKind = (typeof gripperKinds)[number];

/** By how many degrees frames are turned before the policy sees them. */
export const turns = [0, 180] as const;
export type Turn = (typeof turns)[number];

/** What of an episode is read, and how; every choice made. */
export interface Columns {
  /** By camera of the policy: the dataset's name. */
  readonly cameras: Readonly<Record<string, string>>;
  /** Joined in this order; none: the policy takes no state. */
  readonly state: readonly string[];
  readonly action: readonly string[];
  readonly turn: Turn;
  readonly gripper: GripperKind;
}

/** Episodes in one place. */
export interface Dataset {
  /** For people, e.g. `LeRobot v3.0`. */
  readonly format: string;
  readonly path: string;
  /** Its folder's name, as normalization keys are called. */
  readonly name: string;
  /** Numbers of the episodes, ascending. */
  readonly numbers: readonly number[];
  /** null: folders, each of which names its own cameras. */
  readonly features: Features | null;
  /** What such a dataset is known to need, where that is documented. */
  readonly usual?: { readonly turn: Turn; readonly gripper: GripperKind };
  /** What should be known about how it is read. */
  readonly notes: readonly string[];
  /** @throws (rejects) DATASET_*, EPISODE_INVALID, PACKAGE_UNAVAILABLE */
  open(number: number, columns: Columns): Promise<Episode>;
}
