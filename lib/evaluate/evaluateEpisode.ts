/** A policy asked about every observation of a recorded episode, beside what the demonstrator did from there. */

import { readObservation } from '../observation/readObservation.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isolated } from '../support/isolated.ts';
import type { ActionChunk, Policy } from '../types.ts';
import type { Episode } from './readEpisode.ts';

/** One chunk of an episode. */
export interface EpisodePrediction {
  /** Step of the observation; row r of the chunk is for step + r. */
  readonly step: number;
  /** Folder of the observation. */
  readonly folder: string;
  readonly chunk: ActionChunk;
  /** Rows that the recording has steps for, 1 to the chunk's length. */
  readonly rows: number;
}

/** What a policy said of one episode. */
export interface EpisodeResult {
  readonly episode: Episode;
  /** What the policy was told. */
  readonly instruction: string;
  readonly predictions: readonly EpisodePrediction[];
}

/** What is asked, and who hears of it. */
export interface EvaluateEpisodeOptions {
  /** Default: the episode's, else the observation's. */
  readonly instruction?: string;
  /** Fewest steps between two observations that are taken, default 1: every one that was recorded. */
  readonly every?: number;
  readonly signal?: AbortSignal;
  /** Told after each prediction. */
  readonly onPrediction?: (prediction: EpisodePrediction) => void;
}

/**
 * Asks a policy about every observation of an episode, one after the other.
 *
 * @throws (rejects) EPISODE_INVALID where the episode's actions have another width than the policy's, OPTION_REQUIRED without an
 *   instruction, and what `readObservation` and `predict` reject with
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
