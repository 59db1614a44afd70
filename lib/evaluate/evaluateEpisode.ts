/** Predicts from every observation of a recorded episode, to compare with what the demonstrator did next. */

import { readObservation } from '../observation/readObservation.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isolated } from '../support/isolated.ts';
import type { ActionChunk, Policy } from '../types.ts';
import type { Episode } from './readEpisode.ts';

/** One predicted chunk. */
export interface EpisodePrediction {
  /** Step of the observation; row r of the chunk is for step + r. */
  readonly step: number;
  /** Folder of the observation. */
  readonly folder: string;
  readonly chunk: ActionChunk;
  /** Number of rows for which the recording has steps, from 1 to the length of the chunk. */
  readonly rows: number;
}

/** A policy's predictions for one episode. */
export interface EpisodeResult {
  readonly episode: Episode;
  /** The instruction the policy was given. */
  readonly instruction: string;
  readonly predictions: readonly EpisodePrediction[];
}

/** Instruction, observations to use, and callbacks. */
export interface EvaluateEpisodeOptions {
  /** Default: the episode's instruction, else the observation's. */
  readonly instruction?: string;
  /** The least distance, in steps, between two observations used. Default 1: every recorded one. */
  readonly every?: number;
  readonly signal?: AbortSignal;
  /** Called after each prediction. */
  readonly onPrediction?: (prediction: EpisodePrediction) => void;
}

/**
 * Predicts from the observations of an episode, one after the other.
 *
 * @throws (rejects) EPISODE_INVALID when the episode's actions do not have the policy's width, OPTION_REQUIRED without an
 *   instruction, and as `readObservation` and `predict` do
 */
export async function evaluateEpisode(
  policy: Pick<Policy, 'predict' | 'dimensions'>,
  episode: Episode,
  { instruction: given, every = 1, signal, onPrediction }: EvaluateEpisodeOptions = {},
): Promise<EpisodeResult> {
  const [steps, width] = episode.shape;
  if (policy.dimensions.length !== width) {
    throw new SemanticVlaError(
      'EPISODE_INVALID',
      `${episode.folder}: expected actions of ${policy.dimensions.length} dimensions (${policy.dimensions.join(' ')}), ` +
        `as the policy's are, found ${width}. Give episodes of the robot that the policy was trained for.`,
    );
  }
  const tell = isolated('onPrediction of evaluateEpisode', onPrediction);
  const predictions: EpisodePrediction[] = [];
  let told: string | undefined;
  for (const { step, folder } of episode.observations) {
    const last = predictions.at(-1);
    if (last !== undefined && step < last.step + every) continue;
    signal?.throwIfAborted();
    const { observation, instruction: written } = await readObservation(folder);
    const instruction = given ?? episode.instruction ?? written;
    if (instruction === undefined) {
      throw new SemanticVlaError(
        'OPTION_REQUIRED',
        `Expected an instruction: neither ${episode.folder}/episode.json nor ${folder}/observation.json holds one, and the ` +
          'option instruction was not given. Say what the robot was told.',
      );
    }
    told ??= instruction;
    const chunk = await policy.predict(observation, { instruction, ...(signal ? { signal } : {}) });
    const prediction = { step, folder, chunk, rows: Math.min(chunk.shape[0], steps - step) };
    predictions.push(prediction);
    tell(prediction);
  }
  return { episode, instruction: told!, predictions };
}
