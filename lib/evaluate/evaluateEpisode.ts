/** Predicts from every observation of a recorded episode, to compare with what the demonstrator did next. */

import type { Episode } from '../dataset/dataset.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isolated } from '../support/isolated.ts';
import type { ActionChunk, Policy } from '../types.ts';

/** A chunk without its similarities, which are large: a long evaluation holds thousands. */
export type EvaluatedChunk = Omit<ActionChunk, 'similarity'>;

/** One predicted chunk. */
export interface EpisodePrediction {
  /** Step of the observation; row r of the chunk is for step + r. */
  readonly step: number;
  readonly chunk: EvaluatedChunk;
  /** Number of rows for which the recording has steps; 0 where nobody demonstrated anything. */
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
  /** Whose statistics (un)normalize; default: the policy's. */
  readonly unnormKey?: string;
  /** Predictions of an earlier run, which are not made again. */
  readonly known?: readonly Omit<EpisodePrediction, 'rows'>[];
  readonly signal?: AbortSignal;
  /** Called after each prediction. */
  readonly onPrediction?: (prediction: EpisodePrediction) => void;
}

/**
 * Predicts from the observations of an episode, one after the other.
 *
 * @throws (rejects) EPISODE_INVALID when the episode's actions do not have the policy's width, OPTION_REQUIRED without an
 *   instruction, and as `Episode.observations` and `predict` do
 */
export async function evaluateEpisode(
  policy: Pick<Policy, 'predict' | 'dimensions'>,
  episode: Episode,
  { instruction: given, every = 1, unnormKey, known = [], signal, onPrediction }: EvaluateEpisodeOptions = {},
): Promise<EpisodeResult> {
  const [length, width] = episode.shape;
  if (length > 0 && policy.dimensions.length !== width) {
    throw new SemanticVlaError(
      'EPISODE_INVALID',
      `${episode.source}: expected actions of ${policy.dimensions.length} dimensions (${policy.dimensions.join(' ')}), ` +
        `as the policy's are, found ${width}. Give episodes of the robot that the policy was trained for.`,
    );
  }
  const tell = isolated('onPrediction of evaluateEpisode', onPrediction);
  const rowsFrom = (step: number, chunk: EvaluatedChunk): number =>
    Math.max(0, Math.min(chunk.shape[0], length - step));
  const byStep = new Map(
    known.map(({ step, chunk }) => [step, { step, chunk, rows: rowsFrom(step, chunk) }]),
  );
  const used = spaced(episode.steps, every);
  const missing = used.filter((step) => !byStep.has(step));
  if (missing.length > 0) {
    for await (const recorded of episode.observations(missing, signal)) {
      const { step, observation, instruction: written } = recorded;
      signal?.throwIfAborted();
      const instruction = given ?? episode.instruction ?? written;
      if (instruction === undefined) {
        throw new SemanticVlaError(
          'OPTION_REQUIRED',
          `Expected an instruction: neither ${episode.source} nor its observation at step ${step} holds one, and the ` +
            'option instruction was not given. Say what the robot was told.',
        );
      }
      const { similarity: _, ...chunk } = await policy.predict(observation, {
        instruction,
        ...(unnormKey === undefined ? {} : { unnormKey }),
        ...(signal ? { signal } : {}),
      });
      const prediction = { step, chunk, rows: rowsFrom(step, chunk) };
      byStep.set(step, prediction);
      tell(prediction);
    }
  }
  const predictions = used.map((step) => byStep.get(step)!);
  return { episode, instruction: predictions[0]!.chunk.instruction, predictions };
}

/** The first step, and each that is at least `every` steps after the last one taken. */
function spaced(steps: readonly number[], every: number): number[] {
  const taken: number[] = [];
  for (const step of steps) if (taken.length === 0 || step >= taken.at(-1)! + every) taken.push(step);
  return taken;
}
