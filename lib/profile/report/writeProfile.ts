/** A profile as one HTML file, in the style of the report: layers, blocks and stages. */

import { figure, paragraph, plotFigure, section, table } from '../../plots/html.ts';
import { page } from '../../plots/page.ts';
import type { GraphProfile, ProfileReport } from '../types.ts';
import { layersTable, machineTable, warningList } from './factTables.ts';
import { machineFigure } from './machineFigure.ts';
import { blocksFigure } from './stageFigures.ts';

/** @returns the page as text; writing it is the caller's */
export async function writeProfile(profile: ProfileReport): Promise<string> {
  const { variant, source, runtime, backend, threads, promptTokens, cameras, graphs, layers } = profile;
  const policy = layers.filter(({ graph }) => graph === 'policy');
  const where = threads === null ? runtime : `${runtime}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`;
  const pictures =
    policy.length === 0
      ? []
      : [layersTable(source, policy), await plotFigure(blocksFigure(source, 0, policy))];
  const overTime = machineFigure(profile.machine);
  const sensors = overTime === null ? [] : [await plotFigure(overTime)];
  return page(`Profile of ${source}`, `${variant} on ${backend}: ${where}. ${profile.createdAt}.`, [
    warningList(profile.warnings),
    paragraph(`${cameras.length} camera(s), prompt of ${promptTokens} tokens, ${profile.iterations} chunks.`),
    section('graphs', 'Graphs', [graphTable(profile), stageTable(graphs)]),
    section('layers', 'Layers', pictures),
    section('machine', 'Machine', [machineTable(profile.machine), ...sensors]),
  ]);
}

function graphTable({ graphs, takesTurns }: ProfileReport): string {
  const order = takesTurns ? 'took turns' : 'ran one after the other';
  return table({
    caption: `what watching costs: the profiled and the plain session ${order}`,
    head: [
      'graph',
      'runs',
      'plain ms',
      'profiled ms',
      'slow-down',
      'layers ms',
      'between them ms',
      'with a block %',
    ],
    rows: graphs.map((graph) => [
      graph.graph,
      graph.runs,
      graph.plainMs,
      graph.profiledMs,
      `${figure(graph.slowDown)}x`,
      graph.layerMs,
      graph.betweenMs,
      graph.attributedPercent,
    ]),
  });
}

function stageTable(graphs: readonly GraphProfile[]): string {
  return table({
    caption: 'stages of the graphs, medians of the profiled runs',
    head: ['stage', 'graph', 'ms', 'share of its graph %'],
    rows: graphs.flatMap(({ graph, stages }) =>
      stages.map(({ stage, medianMs, percent }) => [stage, graph, medianMs, percent]),
    ),
  });
}
