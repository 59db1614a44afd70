/** An evaluation as a person reads it in a terminal, and as `--json` prints it. */

import type { Columns } from '../dataset/dataset.ts';
import type { ActionErrors } from '../evaluate/actionErrors.ts';
import { actionErrors } from '../evaluate/actionErrors.ts';
import type { Source } from '../evaluate/evaluateDataset.ts';
import type { EpisodeResult } from '../evaluate/evaluateEpisode.ts';
import { type Evaluation, evaluationErrors, predictionErrors, stageMedians } from '../evaluate/evaluation.ts';
import type { Counted, PairedChange } from '../evaluate/pairedChanges.ts';
import { formatMs, formatTable } from './format.ts';

/** What was read of a dataset, by which names and in whose units. */
export interface ReadSource extends Source {
  readonly columns: Columns;
  /** undefined: the policy's own default, which nobody tells. */
  readonly unnormKey: string | undefined;
}

/** Episodes beyond this many are told one a line. */
const fewEpisodes = 8;
/** Lines of episodes: those with the largest error. */
const mostLines = 20;

/** As `--json` prints what was read. */
export function sourceJson({ dataset, numbers, columns, unnormKey }: ReadSource): Record<string, unknown> {
  const { format, path, name, notes } = dataset;
  return { path, name, format, episodes: numbers, ...columns, unnormKey: unnormKey ?? null, notes };
}

/** Nothing is silent: which names were taken for what. */
export function sourceText({ dataset, numbers, columns, unnormKey }: ReadSource): string {
  const { format, path, notes, features } = dataset;
  const lines = [`${path}: ${format}, ${numbers.length} of ${dataset.numbers.length} episodes`];
  if (features !== null) {
    const cameras = Object.entries(columns.cameras).map(([camera, key]) => `${camera} = ${key}`);
    lines.push(
      `  images   ${cameras.join(', ')}${columns.turn === 0 ? '' : `, turned by ${columns.turn} degrees`}`,
      ...(columns.state.length === 0 ? [] : [`  state    ${columns.state.join(', ')}`]),
      `  actions  ${columns.action.join(', ')}${columns.gripper === 'libero' ? ', gripper from -1 open, 1 closed to 1 open, 0 closed' : ''}`,
    );
  }
  if (unnormKey !== undefined) lines.push(`  units    ${unnormKey}`);
  return [...lines, ...notes.map((note) => `  note     ${note}`)].join('\n');
}

/** As `--json` prints it. Errors are null where nobody demonstrated anything. */
export function evaluationJson(evaluation: Evaluation): Record<string, unknown> {
  const { name, policy, results, perUnit } = evaluation;
  return {
    name,
    variant: policy.variant,
    ...evaluationErrors(evaluation),
    milliseconds: Object.fromEntries(stageMedians(results).map(({ stage, ms }) => [stage, ms])),
    episodes: results.map((result) => ({
      name: result.episode.name,
      instruction: result.instruction,
      steps: result.episode.shape[0],
      ...actionErrors([result], perUnit),
      observations: result.predictions.map((prediction) => {
        const errors = predictionErrors(result, prediction, perUnit);
        return {
          step: prediction.step,
          mean: errors?.mean ?? null,
          normalized: errors?.normalized ?? null,
          milliseconds: prediction.chunk.timings.total,
        };
      }),
    })),
  };
}

const three = (value: number | undefined | null): string =>
  value === undefined || value === null ? '-' : value.toFixed(3);

function share(errors: ActionErrors | null): string {
  if (errors === null) return '-';
  return errors.gripper === null ? 'not moved' : `${(100 * errors.gripper).toFixed(1)} %`;
}

/** Each observation of a few episodes, or each episode of many, then each dimension. */
export function evaluationText(evaluation: Evaluation): string {
  const { name, results } = evaluation;
  const body =
    results.length <= fewEpisodes
      ? results.map(observationsText).join('\n')
      : `${episodesText(results, evaluation.perUnit)}\n`;
  const errors = evaluationErrors(evaluation);
  return `${name}\n\n${body}\n${errors === null ? timeText(results) : errorsText(errors)}`;
}

function observationsText(result: EpisodeResult): string {
  const rows = result.predictions.map((prediction) => {
    const errors = predictionErrors(result, prediction);
    const { chunk, step } = prediction;
    const kept = Object.entries(chunk.keptPatches).map(([camera, list]) => `${camera} ${list.length}`);
    return [
      String(step),
      three(errors?.mean),
      share(errors),
      formatMs(chunk.timings.total!),
      kept.join(', '),
    ];
  });
  const table = formatTable(
    [['step', 'error', 'gripper', 'time', 'kept patches'], ...rows],
    ['right', 'right', 'right', 'right', 'left'],
  );
  return `"${result.instruction}"\n${table}\n`;
}

function episodesText(results: readonly EpisodeResult[], perUnit: readonly number[] | undefined): string {
  const lines = results.map((result) => ({ result, errors: actionErrors([result], perUnit) }));
  const shown = lines
    .toSorted((a, b) => (b.errors?.mean ?? 0) - (a.errors?.mean ?? 0))
    .slice(0, mostLines)
    .map(({ result, errors }) => [
      result.episode.name,
      three(errors?.mean),
      three(errors?.normalized),
      share(errors),
      String(result.predictions.length),
      `"${result.instruction}"`,
    ]);
  const head = ['episode', 'error', 'normalized', 'gripper', 'observations', 'instruction'];
  const table = formatTable([head, ...shown], ['left', 'right', 'right', 'right', 'right', 'left']);
  return results.length <= mostLines
    ? table
    : `${table}\n(the ${mostLines} of ${results.length} episodes with the largest error; --json has all)`;
}

function errorsText({ compared, mean, normalized, dimensions, gripper, horizon }: ActionErrors): string {
  const rows = dimensions.map((one) => [
    one.name,
    three(one.mean),
    three(one.normalized),
    three(one.max),
    three(one.constant),
  ]);
  const table = formatTable([['dimension', 'error', 'normalized', 'largest', 'constant'], ...rows], ['left']);
  const far = formatTable(
    [
      ['row of the chunk', ...horizon.map(({ row }) => String(row))],
      ['error', ...horizon.map((one) => three(one.mean))],
      ...(normalized === null ? [] : [['normalized', ...horizon.map((one) => three(one.normalized))]]),
    ],
    ['left'],
  );
  const agrees = gripper === null ? 'not moved' : `${(100 * gripper).toFixed(1)} %`;
  return (
    `${table}\n\n${far}\n\n${compared} steps compared: mean error ${three(mean)}, gripper agrees in ${agrees}` +
    `${normalized === null ? '' : `\nnormalized L1 error ${three(normalized)}`}`
  );
}

function timeText(results: readonly EpisodeResult[]): string {
  const total = stageMedians(results).find(({ stage }) => stage === 'total');
  return `nobody demonstrated anything: no errors. A chunk took ${formatMs(total?.ms ?? 0)} (median of ${total?.chunks ?? 0})`;
}

/** Each policy beside the first, on the same observations. */
export function changesText(changes: readonly PairedChange[]): string {
  const counted = (one: Counted | null): string =>
    one === null ? '-' : `${one.count} of ${one.of} (${((100 * one.count) / one.of).toFixed(2)} %)`;
  const rows = changes.map((one) => [
    one.name,
    one.mean === 0 ? '0' : one.mean.toExponential(2),
    one.max === 0 ? '0' : one.max.toExponential(2),
    counted(one.gripperFlips),
    counted(one.sameKept),
  ]);
  const head = ['policy', 'mean change', 'largest', 'gripper flips', 'frames with the same kept patches'];
  return (
    `change of normalized actions from ${changes[0]!.reference}, ${changes[0]!.chunks} chunks\n` +
    formatTable([head, ...rows], ['left'])
  );
}
