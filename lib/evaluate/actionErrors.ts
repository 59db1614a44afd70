/** How far a policy's actions are from the demonstrator's: plain means over all steps compared. */

import type { EpisodePrediction, EpisodeResult } from './evaluateEpisode.ts';
import type { Episode } from './readEpisode.ts';

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
}

/** Errors of one policy over everything that was compared. */
export interface ActionErrors {
  /** Number of pairs of a predicted and a demonstrated action. */
  readonly compared: number;
  /** Mean of |policy - demonstrator| over dimensions and steps. */
  readonly mean: number;
  readonly dimensions: readonly DimensionError[];
  /**
   * Share of steps at which the policy's gripper is on the same side as the demonstrator's of the middle of the demonstrator's
   * range; null if no dimension is called gripper, or if the demonstrator never moved it.
   */
  readonly gripper: number | null;
}

/** Calls `body` with the policy's and the demonstrator's action for each step that has both. */
export function forEachPair(
  { actions, shape: [, width] }: Episode,
  { chunk, rows, step }: Pick<EpisodePrediction, 'chunk' | 'rows' | 'step'>,
  body: (policy: Float64Array, demonstrator: Float64Array) => void,
): void {
  for (let row = 0; row < rows; row++) {
    body(
      chunk.actions.subarray(row * width, (row + 1) * width),
      actions.subarray((step + row) * width, (step + row + 1) * width),
    );
  }
}

/**
 * The error over all episodes, in total and by dimension.
 *
 * @param results at least one, all of one policy
 */
export function actionErrors(results: readonly EpisodeResult[]): ActionErrors {
  const names = results[0]!.predictions[0]!.chunk.dimensions;
  const policy: number[][] = names.map(() => []);
  const demonstrator: number[][] = names.map(() => []);
  for (const { episode, predictions } of results) {
    for (const prediction of predictions) {
      forEachPair(episode, prediction, (theirs, ours) => {
        for (const d of names.keys()) {
          policy[d]!.push(theirs[d]!);
          demonstrator[d]!.push(ours[d]!);
        }
      });
    }
  }
  const dimensions = names.map((name, d): DimensionError => {
    const wanted = demonstrator[d]!;
    const differences = policy[d]!.map((value, i) => Math.abs(value - wanted[i]!));
    const middle = meanOf(wanted);
    return {
      name,
      mean: meanOf(differences),
      max: largest(differences),
      constant: meanOf(wanted.map((value) => Math.abs(value - middle))),
      range: largest(wanted) - smallest(wanted),
    };
  });
  return {
    compared: policy[0]!.length,
    mean: meanOf(dimensions.map(({ mean }) => mean)),
    dimensions,
    gripper: gripperAgreement(results, names, policy, demonstrator),
  };
}

function gripperAgreement(
  results: readonly EpisodeResult[],
  names: readonly string[],
  policy: readonly (readonly number[])[],
  demonstrator: readonly (readonly number[])[],
): number | null {
  let same = 0;
  let all = 0;
  for (const [d, name] of names.entries()) {
    if (!/gripper/.test(name)) continue;
    // the range is that of whole episodes: within one chunk the gripper may not move
    const whole = results.flatMap(({ episode: { actions, shape } }) =>
      Array.from({ length: shape[0] }, (_, step) => actions[step * shape[1] + d]!),
    );
    const [low, high] = [smallest(whole), largest(whole)];
    if (low === high) continue;
    const middle = (low + high) / 2;
    const wanted = demonstrator[d]!;
    all += wanted.length;
    same += wanted.filter((value, i) => value > middle === policy[d]![i]! > middle).length;
  }
  return all === 0 ? null : same / all;
}

const meanOf = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const largest = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b));
const smallest = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b));
