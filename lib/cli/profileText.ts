/** A profile as a person reads it in a terminal. */

import type { BlockTime, GraphProfile, LayerTime, ProfileReport } from '../profile/types.ts';
import { formatMs, formatTable } from './format.ts';

/** @param top rows of the tables of blocks and of layers */
export function profileText(report: ProfileReport, top: number): string {
  const {
    variant,
    runtime,
    threads,
    promptTokens,
    cameras,
    iterations,
    takesTurns,
    graphs,
    stages,
    warnings,
  } = report;
  const times = Object.entries(stages)
    .map(([stage, ms]) => `${stage} ${formatMs(ms)}`)
    .join(', ');
  return [
    `policy        ${variant}, ${runtime}${threads === null ? '' : `, ${threads} thread(s)`}`,
    `input         ${cameras.join(', ')}; ${promptTokens} prompt tokens`,
    `runs          ${iterations} with the profiler and ${iterations} without, ${takesTurns ? 'taking turns' : 'one kind after the other'}`,
    `a chunk       ${times} (medians, without the profiler)`,
    ...graphs.flatMap((graph) => ['', ...graphText(graph, report.layers, top)]),
    ...(warnings.length === 0
      ? []
      : ['', ...warnings.map(({ code, text }) => `warning       ${code}: ${text}`)]),
  ].join('\n');
}

function graphText(graph: GraphProfile, layers: readonly LayerTime[], top: number): string[] {
  const { plainMs, profiledMs, slowDown, layerMs, betweenMs, attributedPercent } = graph;
  const own = layers.filter((layer) => layer.graph === graph.graph);
  const blocks = largest(graph.blocks, top);
  const first = largest(own, top);
  return [
    `${graph.graph} graph: ${formatMs(plainMs)} a run, ${formatMs(profiledMs)} under the profiler, which slows it ${slowDown.toFixed(2)}x`,
    `${own.length} layers take ${formatMs(layerMs)} (median of ${graph.runs} runs), ${formatMs(betweenMs)} pass between them; ` +
      `${attributedPercent.toFixed(1)} % of the layers' time has a block`,
    '',
    formatTable(
      [
        ['stage', 'mean', 'median', 'share'],
        ...graph.stages.map(({ stage, averageMs, medianMs, percent }) => [
          stage,
          formatMs(averageMs),
          formatMs(medianMs),
          share(percent),
        ]),
        ['all layers', '', formatMs(layerMs), share(100)],
      ],
      ['left'],
    ),
    '',
    formatTable(
      [
        [headOf('block', blocks.length, graph.blocks.length), 'layers', 'mean', 'median', 'share'],
        ...blocks.map(({ block, layers: count, averageMs, medianMs, percent }) => [
          block,
          String(count),
          formatMs(averageMs),
          formatMs(medianMs),
          share(percent),
        ]),
        ...rest(graph.blocks, blocks),
      ],
      ['left'],
    ),
    '',
    formatTable(
      [
        [headOf('layer', first.length, own.length), 'kind', 'block', 'mean', 'median', 'share'],
        ...first.map(({ name, kind, block, averageMs, medianMs, percent }) => [
          short(name),
          kind,
          block,
          formatMs(averageMs),
          formatMs(medianMs),
          share(percent),
        ]),
      ],
      ['left', 'left', 'left'],
    ),
  ];
}

function largest<T extends { readonly percent: number }>(rows: readonly T[], top: number): T[] {
  return [...rows].sort((a, b) => b.percent - a.percent).slice(0, top);
}

function headOf(what: string, shown: number, all: number): string {
  return shown < all ? `${what} (${shown} of ${all})` : what;
}

function rest(all: readonly BlockTime[], shown: readonly BlockTime[]): string[][] {
  const left = all.filter((block) => !shown.includes(block));
  if (left.length === 0) return [];
  const sum = (pick: (block: BlockTime) => number): number =>
    left.reduce((total, one) => total + pick(one), 0);
  return [
    [
      `${left.length} more`,
      String(sum(({ layers }) => layers)),
      formatMs(sum(({ averageMs }) => averageMs)),
      '',
      share(sum(({ percent }) => percent)),
    ],
  ];
}

function share(percent: number): string {
  return `${percent.toFixed(1)} %`;
}

/** TensorRT joins dozens of names into one. */
function short(name: string): string {
  return name.length > 60 ? `${name.slice(0, 57)}...` : name;
}
