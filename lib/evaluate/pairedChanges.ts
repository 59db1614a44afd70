/** Two policies, or one at two precisions, on the same observations: what changes from the first to the second. */

import { gripperMiddles } from './actionErrors.ts';
import type { EpisodePrediction, EpisodeResult } from './evaluateEpisode.ts';
import type { Evaluation } from './evaluation.ts';

/** A share that says of how many. */
export interface Counted {
  readonly count: number;
  readonly of: number;
}

/** One policy beside the first, chunk by chunk. */
export interface PairedChange {
  readonly name: string;
  readonly reference: string;
  /** Chunks that both predicted from the same observation. */
  readonly chunks: number;
  /** Mean and largest |change| of the normalized actions. */
  readonly mean: number;
  readonly max: number;
  /**
   * Actions whose gripper is on the other side of the middle of the demonstrator's range (of the first policy's range, where
   * nobody demonstrated); null: no dimension is called gripper, or none moves.
   */
  readonly gripperFlips: Counted | null;
  /** Frames of which exactly the same patches are kept; null: a policy has no pruner. */
  readonly sameKept: Counted | null;
  /** Patches that both keep, of those that the first keeps; null: a policy has no pruner. */
  readonly sharedPatches: Counted | null;
}

/**
 * Each evaluation but the first beside the first.
 *
 * @param evaluations of the same episodes
 * @returns changes of normalized actions, [-1, 1]; counts of gripper flips and kept patches
 * @throws never
 */
export function pairedChanges([first, ...others]: readonly Evaluation[]): PairedChange[] {
  if (first === undefined) return [];
  const { dimensions } = first.policy;
  const middles = middlesOf(first.results, dimensions);
  return others.map((other) => changeOf(first, other, middles));
}

function changeOf(first: Evaluation, other: Evaluation, middles: ReadonlyMap<number, number>): PairedChange {
  let [chunks, values, sum, max] = [0, 0, 0, 0];
  const flips = { count: 0, of: 0 };
  const frames = { count: 0, of: 0 };
  const patches = { count: 0, of: 0 };
  for (const [a, b] of pairsOf(first.results, other.results)) {
    chunks++;
    const width = a.chunk.shape[1];
    const length = Math.min(a.chunk.actions.length, b.chunk.actions.length);
    for (let i = 0; i < length; i++) {
      const change = Math.abs(a.chunk.normalized[i]! - b.chunk.normalized[i]!);
      values++;
      sum += change;
      max = Math.max(max, change);
      const middle = middles.get(i % width);
      if (middle === undefined) continue;
      flips.of++;
      if (a.chunk.actions[i]! > middle !== b.chunk.actions[i]! > middle) flips.count++;
    }
    for (const [camera, kept] of Object.entries(a.chunk.keptPatches)) {
      const others = b.chunk.keptPatches[camera];
      if (others === undefined) continue;
      const theirs = new Set(others);
      const shared = kept.filter((patch) => theirs.has(patch)).length;
      frames.of++;
      if (shared === kept.length && shared === theirs.size) frames.count++;
      patches.of += kept.length;
      patches.count += shared;
    }
  }
  return {
    name: other.name,
    reference: first.name,
    chunks,
    mean: values === 0 ? 0 : sum / values,
    max,
    gripperFlips: flips.of === 0 ? null : flips,
    sameKept: frames.of === 0 ? null : frames,
    sharedPatches: frames.of === 0 ? null : patches,
  };
}

function* pairsOf(
  first: readonly EpisodeResult[],
  others: readonly EpisodeResult[],
): Generator<readonly [EpisodePrediction, EpisodePrediction]> {
  for (const [i, { predictions }] of first.entries()) {
    const byStep = new Map(others[i]?.predictions.map((prediction) => [prediction.step, prediction]));
    for (const prediction of predictions) {
      const other = byStep.get(prediction.step);
      if (other !== undefined) yield [prediction, other];
    }
  }
}

function middlesOf(
  results: readonly EpisodeResult[],
  dimensions: readonly string[],
): ReadonlyMap<number, number> {
  if (results.some(({ episode }) => episode.shape[0] > 0)) return gripperMiddles(results, dimensions);
  const played = results.flatMap(({ episode, predictions }) =>
    predictions.map((prediction) => ({
      episode: { ...episode, actions: prediction.chunk.actions, shape: prediction.chunk.shape },
      instruction: '',
      predictions: [],
    })),
  );
  return gripperMiddles(played, dimensions);
}
