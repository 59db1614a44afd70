/** A policy over the chosen episodes of datasets, one episode at a time. */

import { type ColumnOptions, chooseColumns } from '../dataset/columns.ts';
import type { Columns, Dataset, Episode, GripperKind } from '../dataset/dataset.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isolated } from '../support/isolated.ts';
import type { Policy } from '../types.ts';
import { type EpisodePrediction, type EpisodeResult, evaluateEpisode } from './evaluateEpisode.ts';
import type { KnownPrediction } from './resultsFile.ts';

/** A gripper whose lowest value is above this counts from 0. */
const mostlyZero = -0.25;

/** Episodes of one dataset. */
export interface Source {
  readonly dataset: Dataset;
  readonly numbers: readonly number[];
}

/** What the statistics of the policy say about its actions (`actionUnits`). */
export interface Units {
  readonly perUnit: readonly number[];
  readonly low: readonly number[];
}

/** What of a dataset is read, how it becomes observations, and who is told. */
export interface EvaluateDatasetOptions extends ColumnOptions {
  readonly instruction?: string;
  readonly every?: number;
  readonly unnormKey?: string;
  readonly units?: Units | null;
  /** Predictions of an earlier run, of the episode of that number; what was chosen to be read is known by then. */
  readonly known?: (number: number) => readonly KnownPrediction[];
  readonly signal?: AbortSignal;
  /** Called once, with what is read. */
  readonly onColumns?: (columns: Columns) => void;
  /** Called after each prediction. */
  readonly onPrediction?: (number: number, prediction: EpisodePrediction) => void;
  /** Called when an episode begins. */
  readonly onEpisode?: (index: number, episode: Episode) => void;
  /** Waited for when an episode is over. */
  readonly afterEpisode?: () => Promise<void>;
}

/**
 * Predicts along recorded episodes, one open at a time, and compares each chunk with what the demonstrator did.
 *
 * @throws (rejects) as `chooseColumns`, `Dataset.open` and `evaluateEpisode` do; OPTION_REQUIRED the gripper cannot be told
 */
export async function evaluateDataset(
  policy: Policy,
  { dataset, numbers }: Source,
  options: EvaluateDatasetOptions,
): Promise<EpisodeResult[]> {
  const { platform, dimensions, stateSize } = policy;
  const { units = null, known, instruction, every, unnormKey, signal } = options;
  const onColumns = isolated('onColumns of evaluateDataset', options.onColumns);
  const onEpisode = isolated('onEpisode of evaluateDataset', options.onEpisode);
  const onPrediction = isolated('onPrediction of evaluateDataset', options.onPrediction);
  const columns = chooseColumns(
    dataset,
    {
      cameras: platform.cameras,
      actionSize: dimensions.length,
      ...(platform.proprio ? (stateSize === undefined ? {} : { stateSize }) : { stateSize: 0 }),
    },
    { ...options, gripper: options.gripper ?? usualGripper(dataset, dimensions, units) },
  );
  onColumns(columns);
  const isGripperTold = options.gripper !== undefined || dataset.usual !== undefined;
  const results: EpisodeResult[] = [];
  for (const [index, number] of numbers.entries()) {
    signal?.throwIfAborted();
    const episode = await dataset.open(number, columns);
    if (!isGripperTold && units !== null) requireSameGripper(episode, dimensions, units);
    onEpisode(index, episode);
    const result = await evaluateEpisode(policy, episode, {
      ...(instruction === undefined ? {} : { instruction }),
      ...(every === undefined ? {} : { every }),
      ...(unnormKey === undefined ? {} : { unnormKey }),
      ...(signal === undefined ? {} : { signal }),
      known: known?.(number) ?? [],
      onPrediction: (prediction) => onPrediction(number, prediction),
    });
    results.push(result);
    await options.afterEpisode?.();
  }
  return results;
}

/** A policy that was trained on the simulator's own counting needs none of LIBERO's conversion. */
function usualGripper(
  { usual }: Dataset,
  dimensions: readonly string[],
  units: Units | null,
): GripperKind | undefined {
  const countsAlike = dimensions.some(
    (name, d) => /gripper/.test(name) && units !== null && units.low[d]! < mostlyZero,
  );
  return usual?.gripper === 'libero' && countsAlike ? 'same' : usual?.gripper;
}

/** A gripper counted from -1 beside a policy that counts from 0 would agree or not by chance. */
function requireSameGripper(
  { source, actions, shape }: Episode,
  dimensions: readonly string[],
  { low }: Units,
): void {
  for (const [d, name] of dimensions.entries()) {
    if (!/gripper/.test(name) || low[d]! < mostlyZero) continue;
    for (let i = d; i < actions.length; i += shape[1]) {
      if (actions[i]! >= -0.5) continue;
      throw new SemanticVlaError(
        'OPTION_REQUIRED',
        `${source}: expected ${name} of ${low[d]} or more, as in the policy's training data, found ${actions[i]}. Pass the option gripper: libero where the recording has ` +
          '-1 (open) to 1 (closed) and the training data 0 (closed) to 1 (open), else same.',
      );
    }
  }
}
