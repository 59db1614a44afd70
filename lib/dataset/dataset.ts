/**
 * Recorded episodes as every reader provides them: the numbers of an episode all at once, its frames one observation at a time.
 */

import type { FolderObservation } from '../observation/readObservation.ts';

/** What the robot saw before the action of a step. */
export interface RecordedObservation extends FolderObservation {
  readonly step: number;
}

/** An episode without its frames, which are read on request. */
export interface Episode {
  /** What a reader calls it: the name of a folder, `episode 12`. */
  readonly name: string;
  /** Where it is, for messages: a folder, or a file and the place in it. */
  readonly source: string;
  /** What the robot was told; if absent, each observation has its own instruction. */
  readonly instruction?: string;
  /** Steps per second. */
  readonly rate: number;
  /** [steps, dimensions] row-major float64: the demonstrator's action at each step, in the dataset's units. */
  readonly actions: Float64Array;
  /** [steps, dimensions]; [0, 0] if there is no demonstrator. */
  readonly shape: readonly [number, number];
  /** The steps that have an observation, ascending; at least one. */
  readonly steps: readonly number[];
  /**
   * The observations of some of `steps`, ascending, one after the other; those that are not requested are not decoded.
   *
   * @throws (rejects) DATASET_*, IMAGE_*, EPISODE_INVALID, PACKAGE_UNAVAILABLE, as `readObservation` does, or the signal's
   *   reason
   */
  observations(steps: readonly number[], signal?: AbortSignal): AsyncIterable<RecordedObservation>;
}

/** The features of a dataset's episodes, by the dataset's own names. */
export interface Features {
  readonly cameras: readonly string[];
  /** Number of values per step, by name. */
  readonly vectors: Readonly<Record<string, number>>;
  /** What the documentation of a known layout says. */
  readonly usual?: {
    readonly cameras: Readonly<Record<string, string>>;
    readonly state: readonly string[];
  };
}

/** The dataset's own names for the policy's inputs and the demonstrator's actions. */
export interface FeatureKeys {
  /** By camera of the policy. */
  readonly cameras?: Readonly<Record<string, string>>;
  /** Joined in this order. */
  readonly state?: readonly string[];
  /** Joined in this order. */
  readonly action?: readonly string[];
}

/** How the gripper is encoded: as in LIBERO's simulator, -1 open to 1 closed, or as in the policy's statistics. */
export const gripperKinds = ['libero', 'same'] as const;
/** One of `gripperKinds`. */
export type GripperKind = (typeof gripperKinds)[number];

/** By how many degrees frames are turned before the policy sees them. */
export const turns = [0, 180] as const;
/** One of `turns`, in degrees. */
export type Turn = (typeof turns)[number];

/** What is read of an episode, and how, with every choice made. */
export interface Columns {
  /** The dataset's name of each camera of the policy. */
  readonly cameras: Readonly<Record<string, string>>;
  /** Joined in this order; empty if the policy takes no state. */
  readonly state: readonly string[];
  readonly action: readonly string[];
  readonly turn: Turn;
  readonly gripper: GripperKind;
}

/** The episodes in one place. */
export interface Dataset {
  /** For people, e.g. `LeRobot v3.0`. */
  readonly format: string;
  readonly path: string;
  /** The name of its folder, as in normalization keys. */
  readonly name: string;
  /** Numbers of the episodes, ascending. */
  readonly numbers: readonly number[];
  /** null: folders, each of which has its own camera names. */
  readonly features: Features | null;
  /** What datasets of this kind are documented to need. */
  readonly usual?: { readonly turn: Turn; readonly gripper: GripperKind };
  /** Remarks about how it is read. */
  readonly notes: readonly string[];
  /** @throws (rejects) DATASET_*, EPISODE_INVALID, PACKAGE_UNAVAILABLE */
  open(number: number, columns: Columns): Promise<Episode>;
}
