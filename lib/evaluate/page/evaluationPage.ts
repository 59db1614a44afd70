/** An evaluation as one HTML page: frames with kept patches, actions beside the demonstrator's, errors and times. */

import { escaped } from '../../plots/escaped.ts';
import { type Cell, figure, paragraph, percent, section, type Table, table } from '../../plots/html.ts';
import { page } from '../../plots/page.ts';
import { color, series } from '../../plots/palette.ts';
import { readCpuModel } from '../../support/cpuModel.ts';
import { machineProbe } from '../../support/machineProbe.ts';
import { type ActionErrors, actionErrors } from '../actionErrors.ts';
import type { EpisodePrediction } from '../evaluateEpisode.ts';
import { type Evaluation, evaluationErrors, predictionErrors, stageMedians } from '../evaluation.ts';
import { type Counted, pairedChanges } from '../pairedChanges.ts';
import { type ActionScales, actionLines, actionScales } from './actionLines.ts';
import { type Drawn, filmStrip, momentsOf, round } from './filmStrip.ts';
import { horizonPlot } from './horizonPlot.ts';

/** Text on the page besides the figures. */
export interface PageTexts {
  readonly title: string;
  /** Paragraphs after the figures, e.g. what the policy cannot do. */
  readonly notes?: readonly string[];
}

const width = 820;
/** More would make a page that no browser scrolls through. */
const mostEpisodes = 12;

/**
 * Shows policies beside the demonstrator, as one HTML page that needs no network and runs no script. Of many episodes those with
 * the largest error of the first policy are drawn, and the page says so; figures and tables are of all.
 *
 * @param evaluations at least one, all of the same episodes
 * @returns HTML
 * @throws (rejects) as `Episode.observations` does, and PACKAGE_UNAVAILABLE
 */
export async function evaluationPage(
  evaluations: readonly Evaluation[],
  { title, notes = [] }: PageTexts,
): Promise<string> {
  const { results } = evaluations[0]!;
  const drawn = drawnEpisodes(evaluations[0]!);
  const episodes: string[] = [];
  // one after the other: each holds frames
  const scales = actionScales(evaluations.flatMap(({ results }) => drawn.map((index) => results[index]!)));
  for (const index of drawn) episodes.push(await episodeSection(evaluations, index, scales));
  const line = `${evaluations.map(({ name, policy }) => `${name} (${policy.variant})`).join(', ')} on ${readCpuModel(machineProbe)}`;
  const errors = evaluations.map(evaluationErrors);
  const left =
    drawn.length === results.length
      ? []
      : [
          paragraph(
            `Drawn are the ${drawn.length} of ${results.length} episodes with the largest error of ${evaluations[0]!.name}; figures and tables are of all.`,
          ),
        ];
  return page(title, line, [
    tiles(evaluations),
    ...left,
    ...episodes,
    ...(evaluations.length === 1 ? [] : [pairedSection(evaluations)]),
    ...(errors.every((one) => one !== null) ? [errorSection(evaluations, errors as ActionErrors[])] : []),
    section('time', 'Time', [table(timeTable(evaluations))]),
    ...(notes.length === 0 ? [] : [section('notes', 'What to know', notes.map(paragraph))]),
  ]);
}

/** Indices of the episodes that are drawn, in their order. */
function drawnEpisodes({ results }: Evaluation): readonly number[] {
  const all = [...results.keys()];
  if (all.length <= mostEpisodes) return all;
  const errors = results.map((result) => actionErrors([result])?.mean ?? 0);
  return all
    .sort((a, b) => errors[b]! - errors[a]!)
    .slice(0, mostEpisodes)
    .sort((a, b) => a - b);
}

function errorSection(evaluations: readonly Evaluation[], errors: readonly ActionErrors[]): string {
  const lines = evaluations.map(({ name }, i) => ({ name, horizon: errors[i]!.horizon }));
  return section('errors', 'How far from the demonstrator', [
    table(errorTable(evaluations, errors)),
    paragraph(
      'Mean of |policy - demonstrator| in the units of the data, over every step that both have; normalized, in the units of the policy’s head, about [-1, 1]. "Constant" is the same for ' +
        "whoever always does the demonstrator's mean action. A demonstrator is one way to do it, so a small error is a good sign and a large one a " +
        "question; what counts on a robot is whether the task is done. Range: the demonstrator's.",
    ),
    `<figure id="horizon">${horizonPlot(lines)}<figcaption>How the error grows with the distance from the observation: row 0 is the action of its own step.</figcaption></figure>`,
  ]);
}

function pairedSection(evaluations: readonly Evaluation[]): string {
  const counted = (one: Counted | null): string =>
    one === null ? 'none' : `${one.count} of ${one.of} (${percent(one.count / one.of)})`;
  const rows = pairedChanges(evaluations).map((one): Cell[] => [
    one.name,
    one.mean,
    one.max,
    counted(one.gripperFlips),
    counted(one.sameKept),
    counted(one.sharedPatches),
  ]);
  return section('paired', 'Side by side', [
    table({
      caption: `Change from ${evaluations[0]!.name}, on the same observations`,
      head: [
        'policy',
        'mean change, normalized',
        'largest',
        'gripper flips',
        'frames with the same kept patches',
        'patches both keep',
      ],
      rows,
    }),
  ]);
}

/** The main figures, shown large. */
function tiles(evaluations: readonly Evaluation[]): string {
  return evaluations
    .map((evaluation) => {
      const { name, policy, results } = evaluation;
      const errors = evaluationErrors(evaluation);
      const chunks = results.flatMap(({ predictions }) => predictions);
      const kept = keptWords(chunks[0]!, policy.patchGrid);
      const total = stageMedians(results).find(({ stage }) => stage === 'total')!;
      const facts: [string, string][] = [
        ...errorFacts(errors),
        ...(kept === null ? [] : [[kept, 'patches kept of each image'] as [string, string]]),
        [
          `${figure(total.ms)}\u00a0ms`,
          `a chunk of ${chunks[0]!.chunk.shape[0]} actions, median of ${chunks.length}`,
        ],
      ];
      const heading = evaluations.length === 1 ? '' : `<p><b>${escaped(name)}</b></p>`;
      return `${heading}<dl class="tiles">${facts.map(([value, what]) => `<div><dd>${escaped(value)}</dd><dt>${escaped(what)}</dt></div>`).join('')}</dl>`;
    })
    .join('');
}

function errorFacts(errors: ActionErrors | null): [string, string][] {
  if (errors === null) return [];
  const { mean, normalized, gripper } = errors;
  return [
    [figure(mean), `mean error; always the mean action: ${figure(constantOf(errors))}`],
    ...(normalized === null ? [] : [[figure(normalized), 'normalized L1 error'] as [string, string]]),
    ...(gripper === null
      ? []
      : [[percent(gripper), 'of the steps with the same gripper'] as [string, string]]),
  ];
}

/** For example `8 of 64`; null without a pruner. */
function keptWords({ chunk }: EpisodePrediction, patchGrid: number): string | null {
  const counts = new Set(Object.values(chunk.keptPatches).map(({ length }) => length));
  return counts.size === 0 ? null : `${[...counts].join(', ')} of ${patchGrid ** 2}`;
}

const constantOf = ({ dimensions }: ActionErrors): number =>
  dimensions.reduce((sum, { constant }) => sum + constant, 0) / dimensions.length;

async function episodeSection(
  evaluations: readonly Evaluation[],
  index: number,
  scales: ActionScales,
): Promise<string> {
  const results = evaluations.map((one) => one.results[index]!);
  const { episode, instruction, predictions } = results[0]!;
  const [steps] = episode.shape;
  const last = predictions.at(-1)!;
  const lastStep = Math.max(steps, last.step + last.chunk.shape[0]);
  const moments = momentsOf(predictions);
  // room for the names of dimensions, in the widest font that a browser may fall back to
  const longest = Math.max(...last.chunk.dimensions.map(({ length }) => length));
  const gutter = Math.max(96, Math.ceil(16 + 7.6 * longest));
  const place = { left: gutter, width: width - gutter - 8 };
  const names = legend(evaluations, gutter);
  const parts = [names.svg, momentTitles(results, moments, { ...place, top: names.height + 22 })];
  let top = names.height + 30;
  for (const [i, evaluation] of evaluations.entries()) {
    const steps = new Set(moments.map(({ step }) => step));
    if (evaluations.length > 1) {
      parts.push(
        `<circle cx="${gutter + 4}" cy="${top + 10}" r="4" fill="${series[i % series.length]!}"/>` +
          `<text x="${gutter + 14}" y="${top + 14}" font-size="12" fill="${color.ink}">${escaped(evaluation.name)}</text>`,
      );
      top += 22;
    }
    const own = results[i]!.predictions.filter(({ step }) => steps.has(step));
    const strip = await filmStrip(evaluation, results[i]!.episode, own, { ...place, top });
    parts.push(strip.svg);
    top += strip.height + 6;
  }
  top += 8;
  const lines = actionLines(results, lastStep, { ...place, top }, scales);
  parts.push(lines.svg);
  const height = top + lines.height;
  const id = `episode-${index}`;
  const description =
    `${moments.length} moments of an episode of ${steps} steps with the patches that the policy kept; below, for each of ` +
    `${episode.shape[1]} action dimensions, the demonstrator over time and the predicted chunks.`;
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" ` +
    `font-family="system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif" role="img" aria-labelledby="${id}-title" aria-describedby="${id}-desc">` +
    `<title id="${id}-title">${escaped(instruction)}</title><desc id="${id}-desc">${escaped(description)}</desc>${parts.join('')}</svg>`;
  const said = `Episode ${episode.name}, ${steps} steps at ${figure(episode.rate)} a second, ${predictions.length} observations. Each chunk starts at its dot; the policy sees one observation, no history.`;
  const numbers = table(momentTable(evaluations, index));
  return section(id, `“${instruction}”`, [
    `<figure id="${id}-figure" class="wide">${svg}<figcaption>${escaped(said)}</figcaption><details><summary>Numbers: each observation</summary>${numbers}</details></figure>`,
  ]);
}

/** Entries from left to right, on as many lines as they need. */
function legend(evaluations: readonly Evaluation[], left: number): Drawn {
  const rowHeight = 22;
  let x = left;
  let y = 14;
  let svg = '';
  const add = (swatch: (x: number, y: number) => string, words: string): void => {
    // measured in the widest font that a browser may fall back to
    const space = 30 + 7.6 * words.length;
    if (x > left && x + space > width) {
      x = left;
      y += rowHeight;
    }
    svg += `${swatch(x, y)}<text x="${round(x + 30)}" y="${y + 4}" font-size="12" fill="${color.ink}">${escaped(words)}</text>`;
    x += space + 16;
  };
  add(
    (at, middle) =>
      `<path d="M${round(at + 2)} ${middle}h20" stroke="${color.quiet}" stroke-opacity="0.75" stroke-width="5" stroke-linecap="round"/>`,
    'demonstrator',
  );
  for (const [i, { name }] of evaluations.entries()) {
    const ink = series[i % series.length]!;
    add(
      (at, middle) =>
        `<path d="M${round(at + 2)} ${middle}h20" stroke="${ink}" stroke-width="2"/><circle cx="${round(at + 2)}" cy="${middle}" r="3" fill="${ink}"/>`,
      evaluations.length === 1 ? 'policy, chunk by chunk' : name,
    );
  }
  if (keptWords(evaluations[0]!.results[0]!.predictions[0]!, 1) !== null) {
    add(
      (at, middle) =>
        `<rect x="${round(at + 5)}" y="${middle - 7}" width="14" height="14" fill="#c9d3dc" stroke="#ffd23f" stroke-width="2"/>`,
      'patches kept for this sentence',
    );
  }
  return { svg, height: y + rowHeight - 12 };
}

/** Above each column: its time, and the error of its chunk. */
function momentTitles(
  results: readonly Evaluation['results'][number][],
  moments: readonly EpisodePrediction[],
  place: { readonly left: number; readonly top: number; readonly width: number },
): string {
  const { episode } = results[0]!;
  return moments
    .map((moment, i) => {
      const x = place.left + (i * place.width) / moments.length;
      const when = `${figure(moment.step / episode.rate)} s`;
      const hasRoom = place.width / moments.length > 115;
      const error = results.length === 1 && hasRoom ? errorWords(predictionErrors(results[0]!, moment)) : '';
      return `<text x="${round(x)}" y="${place.top}" font-size="12" fill="${color.ink}">${when}<tspan fill="${color.quiet}">${error}</tspan></text>`;
    })
    .join('');
}

const errorWords = (errors: ActionErrors | null): string =>
  errors === null ? '' : `  error ${figure(errors.mean)}`;

function momentTable(evaluations: readonly Evaluation[], index: number): Table {
  const rows = evaluations.flatMap(({ name, results }) => {
    const result = results[index]!;
    return result.predictions.map((prediction): Cell[] => {
      const errors = predictionErrors(result, prediction);
      const { chunk, step } = prediction;
      const gripper = errors?.gripper ?? null;
      return [
        evaluations.length === 1 ? `step ${step}` : `${name}, step ${step}`,
        errors?.mean ?? null,
        gripper === null ? 'not moved' : percent(gripper),
        chunk.timings.total ?? null,
      ];
    });
  });
  return { caption: '', head: ['observation', 'mean error', 'same gripper', 'ms'], rows };
}

function errorTable(evaluations: readonly Evaluation[], all: readonly ActionErrors[]): Table {
  const many = evaluations.length > 1;
  // the units of the head are known of all policies or of none, where there is nothing to say of any dimension
  const isKnown = all.some(({ normalized }) => normalized !== null);
  const cells = (mean: number, normalized: number | null, max: Cell): Cell[] =>
    isKnown ? [mean, normalized, max] : [mean, max];
  const rows = all[0]!.dimensions.map(({ name, constant, range }, d): Cell[] => [
    name,
    ...all.flatMap(({ dimensions }) => {
      const { mean, normalized, max } = dimensions[d]!;
      return cells(mean, normalized, max);
    }),
    constant,
    range,
  ]);
  const named = (what: string, i: number): string => (many ? `${what}, ${evaluations[i]!.name}` : what);
  return {
    caption: `${all[0]!.compared} steps, episodes: ${evaluations[0]!.results.length}`,
    head: [
      'dimension',
      ...all.flatMap((_, i) =>
        (isKnown ? ['mean', 'normalized', 'largest'] : ['mean', 'largest']).map((what) => named(what, i)),
      ),
      'constant',
      'range',
    ],
    rows: [
      ...rows,
      ['all', ...all.flatMap(({ mean, normalized }) => cells(mean, normalized, '')), constantOf(all[0]!), ''],
    ],
  };
}

function timeTable(evaluations: readonly Evaluation[]): Table {
  const medians = evaluations.map(({ results }) => stageMedians(results));
  const stages = [...new Set(medians.flat().map(({ stage }) => stage))];
  return {
    caption:
      'Median milliseconds a chunk. Decode, resize and crop are parts of preprocess; a sentence is tokenized and encoded once',
    head: ['stage', ...evaluations.map(({ name }) => name), 'chunks'],
    rows: stages.map((stage): Cell[] => {
      const found = medians.map((list) => list.find((one) => one.stage === stage));
      return [stage, ...found.map((one) => one?.ms ?? null), String(found.find(Boolean)?.chunks ?? 0)];
    }),
  };
}
