/** What the page, the table and the JSON of an evaluation are made of: one policy over all episodes. */

import type { Policy } from '../types.ts';
import { type ActionErrors, actionErrors } from './actionErrors.ts';
import type { EpisodePrediction, EpisodeResult } from './evaluateEpisode.ts';

/** A policy and what it said of the episodes. */
export interface Evaluation {
  /** What the reader calls the policy, e.g. its folder. */
  readonly name: string;
  readonly policy: Pick<Policy, 'variant' | 'platform' | 'imageSize' | 'patchGrid' | 'dimensions'>;
  /** One an episode, in the order of the episodes. */
  readonly results: readonly EpisodeResult[];
}

/** Median milliseconds of one stage. */
export interface StageMedian {
  readonly stage: string;
  readonly ms: number;
  /** How many chunks had that stage: an instruction is encoded once a sentence. */
  readonly chunks: number;
}

/** Over all chunks, in the order in which the policy names its stages. */
export function stageMedians(results: readonly EpisodeResult[]): StageMedian[] {
  const byStage = new Map<string, number[]>();
  for (const { chunk } of results.flatMap(({ predictions }) => predictions)) {
    for (const [stage, ms] of Object.entries(chunk.timings)) {
      // 0: the instruction was encoded before
      if (ms > 0) byStage.set(stage, [...(byStage.get(stage) ?? []), ms]);
    }
  }
  return [...byStage].map(([stage, all]) => ({ stage, ms: median(all), chunks: all.length }));
}

/** Figures of one prediction alone, in the dataset's units. */
export function predictionErrors(
  { episode, instruction }: EpisodeResult,
  prediction: EpisodePrediction,
): ActionErrors {
  return actionErrors([{ episode, instruction, predictions: [prediction] }]);
}

/** The middle value, or the lower of two. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[(values.length - 1) >> 1]!;
}
