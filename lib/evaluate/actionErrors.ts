/** How far a policy's actions are from the demonstrator's: plain means over all steps compared. */

import type { Episode } from '../dataset/dataset.ts';
import type { EpisodePrediction, EpisodeResult } from './evaluateEpisode.ts';

/** The error in one dimension, in the dataset's units. */
export interface DimensionError {
  readonly name: string;
  /** Mean of |policy - demonstrator|. */
  readonly mean: number;
  readonly max: number;
  /** The mean error of always predicting the demonstrator's mean action; a useful policy is below it. */
  readonly constant: number;
  /** The demonstrator's largest action minus the smallest. */
  readonly range: number;
  /** `mean` in the units of the policy's head, whose range is about [-1, 1]; null where they are not known. */
  readonly normalized: number | null;
}

/** The error of one row of the chunks. */
export interface HorizonError {
  /** 0: the action of the observation's own step. */
  readonly row: number;
  readonly compared: number;
  /** Mean of |policy - demonstrator| over dimensions, in the dataset's units. */
  readonly mean: number;
  /** The same in the units of the policy's head; null where they are not known. */
  readonly normalized: number | null;
}

/** Errors of one policy over everything that was compared. */
export interface ActionErrors {
  /** Number of pairs of a predicted and a demonstrated action. */
  readonly compared: number;
  /** Mean of |policy - demonstrator| over dimensions and steps. */
  readonly mean: number;
  /** The same in the units of the policy's head: the normalized L1 error that training minimizes; null where they are not known. */
  readonly normalized: number | null;
  readonly dimensions: readonly DimensionError[];
  /**
   * Share of steps at which the policy's gripper is on the same side as the demonstrator's of the middle of the demonstrator's
   * range; null if no dimension is called gripper, or if the demonstrator never moved it.
   */
  readonly gripper: number | null;
  /** By row of the chunk. */
  readonly horizon: readonly HorizonError[];
}

/** Calls `body` with the policy's and the demonstrator's action for each step that has both. */
export function forEachPair(
  { actions, shape: [, width] }: Episode,
  { chunk, rows, step }: Pick<EpisodePrediction, 'chunk' | 'rows' | 'step'>,
  body: (policy: Float64Array, demonstrator: Float64Array, row: number) => void,
): void {
  for (let row = 0; row < rows; row++) {
    body(
      chunk.actions.subarray(row * width, (row + 1) * width),
      actions.subarray((step + row) * width, (step + row + 1) * width),
      row,
    );
  }
}

/**
 * The error over all episodes, in total and by dimension.
 *
 * @param results at least one, all of one policy
 * @param perUnit by dimension: units of the policy's head per unit of the dataset; default: not known
 * @returns in the dataset's units, normalized where `perUnit` is known; null: nothing was compared, since nobody demonstrated
 *   anything
 * @throws never
 */
export function actionErrors(
  results: readonly EpisodeResult[],
  perUnit: readonly number[] | null = null,
): ActionErrors | null {
  const names = results[0]!.predictions[0]!.chunk.dimensions;
  const all = names.map(() => new Tally());
  const rows: { pairs: number; sum: number; normalized: number }[] = [];
  eachPair(results, (theirs, ours, row) => {
    rows[row] ??= { pairs: 0, sum: 0, normalized: 0 };
    rows[row].pairs++;
    for (const [d, tally] of all.entries()) {
      const difference = Math.abs(theirs[d]! - ours[d]!);
      tally.add(difference, ours[d]!);
      rows[row].sum += difference;
      rows[row].normalized += difference * (perUnit?.[d] ?? 0);
    }
  });
  const compared = all[0]!.count;
  if (compared === 0) return null;
  // a second pass, since the distance from the mean takes the mean
  eachPair(results, (_, ours) => {
    for (const [d, tally] of all.entries()) tally.deviation += Math.abs(ours[d]! - tally.middle);
  });
  const dimensions = names.map((name, d): DimensionError => {
    const { sum, max, deviation, low, high } = all[d]!;
    const mean = sum / compared;
    return {
      name,
      mean,
      max,
      constant: deviation / compared,
      range: high - low,
      normalized: perUnit === null ? null : mean * perUnit[d]!,
    };
  });
  return {
    compared,
    mean: meanOf(dimensions.map(({ mean }) => mean)),
    normalized: perUnit === null ? null : meanOf(dimensions.map(({ normalized }) => normalized!)),
    dimensions,
    gripper: gripperAgreement(results, names),
    horizon: rows.map(({ pairs, sum, normalized }, row) => ({
      row,
      compared: pairs,
      mean: sum / pairs / names.length,
      normalized: perUnit === null ? null : normalized / pairs / names.length,
    })),
  };
}

/** Sums of one dimension. */
class Tally {
  count = 0;
  sum = 0;
  max = 0;
  deviation = 0;
  low = Number.POSITIVE_INFINITY;
  high = Number.NEGATIVE_INFINITY;
  #total = 0;

  add(difference: number, wanted: number): void {
    this.count++;
    this.sum += difference;
    this.max = Math.max(this.max, difference);
    this.low = Math.min(this.low, wanted);
    this.high = Math.max(this.high, wanted);
    this.#total += wanted;
  }

  get middle(): number {
    return this.#total / this.count;
  }
}

function eachPair(results: readonly EpisodeResult[], body: Parameters<typeof forEachPair>[2]): void {
  for (const { episode, predictions } of results)
    for (const prediction of predictions) forEachPair(episode, prediction, body);
}

function gripperAgreement(results: readonly EpisodeResult[], names: readonly string[]): number | null {
  let same = 0;
  let compared = 0;
  for (const [d, middle] of gripperMiddles(results, names)) {
    eachPair(results, (theirs, ours) => {
      compared++;
      if (ours[d]! > middle === theirs[d]! > middle) same++;
    });
  }
  return compared === 0 ? null : same / compared;
}

/**
 * The middle of the demonstrator's range of each gripper that moves, by dimension. The range is that of whole episodes: within
 * one chunk the gripper may not move.
 */
export function gripperMiddles(
  results: readonly EpisodeResult[],
  names: readonly string[],
): ReadonlyMap<number, number> {
  const middles = new Map<number, number>();
  for (const [d, name] of names.entries()) {
    if (!/gripper/.test(name)) continue;
    let low = Number.POSITIVE_INFINITY;
    let high = Number.NEGATIVE_INFINITY;
    for (const { actions, shape } of results.map(({ episode }) => episode)) {
      for (let i = d; i < actions.length; i += shape[1]) {
        low = Math.min(low, actions[i]!);
        high = Math.max(high, actions[i]!);
      }
    }
    if (low < high) middles.set(d, (low + high) / 2);
  }
  return middles;
}

export const meanOf = (values: readonly number[]): number =>
  values.reduce((a, b) => a + b, 0) / values.length;
