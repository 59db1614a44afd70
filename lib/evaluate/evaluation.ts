/** One policy over all episodes: what the page, the table and the JSON of an evaluation are made from. */

import type { Policy } from '../types.ts';
import { type ActionErrors, actionErrors } from './actionErrors.ts';
import type { EpisodePrediction, EpisodeResult } from './evaluateEpisode.ts';

/** A policy and its predictions for the episodes. */
export interface Evaluation {
  /** How the reader knows the policy, e.g. its folder. */
  readonly name: string;
  readonly policy: Pick<Policy, 'variant' | 'platform' | 'imageSize' | 'patchGrid' | 'dimensions'>;
  /** By dimension: units of the policy's head per unit of the dataset (`actionsPerUnit`); absent: not known. */
  readonly perUnit?: readonly number[];
  /** One result per episode, in the order of the episodes. */
  readonly results: readonly EpisodeResult[];
}

/** The errors over all episodes; null where nobody demonstrated anything. */
export function evaluationErrors({ results, perUnit }: Evaluation): ActionErrors | null {
  return actionErrors(results, perUnit);
}

/** Median milliseconds of one stage. */
export interface StageMedian {
  readonly stage: string;
  readonly ms: number;
  /** How many chunks ran this stage: an instruction is encoded only once. */
  readonly chunks: number;
}

/** Medians over all chunks, with the stages in the order in which the policy reports them. */
export function stageMedians(results: readonly EpisodeResult[]): StageMedian[] {
  const byStage = new Map<string, number[]>();
  for (const { predictions } of results) {
    for (const { chunk } of predictions) {
      for (const [stage, ms] of Object.entries(chunk.timings)) {
        // 0: the instruction had already been encoded
        if (!(ms > 0)) continue;
        const before = byStage.get(stage);
        if (before === undefined) byStage.set(stage, [ms]);
        else before.push(ms);
      }
    }
  }
  return [...byStage].map(([stage, all]) => ({ stage, ms: median(all), chunks: all.length }));
}

/** The errors of a single prediction, in the dataset's units; null where nobody demonstrated anything. */
export function predictionErrors(
  { episode, instruction }: EpisodeResult,
  prediction: EpisodePrediction,
  perUnit: readonly number[] | null = null,
): ActionErrors | null {
  return actionErrors([{ episode, instruction, predictions: [prediction] }], perUnit);
}

/** The middle value; of an even number of values, the lower of the two in the middle. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[(values.length - 1) >> 1]!;
}
