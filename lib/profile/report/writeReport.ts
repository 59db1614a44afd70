/** A measurement, or a profile, as one HTML file that needs nothing else: no network, no script, no other file. */

import { type Figure, figure, paragraph, plotFigure, section, table } from '../../plots/html.ts';
import { page } from '../../plots/page.ts';
import { settingRows } from '../machine/machineRows.ts';
import { selfCheckText } from '../measure/selfCheck.ts';
import type { BenchReport, MachineState, ProfileReport } from '../types.ts';
import { histogramFigure, percentileFigure, timelineFigure } from './latencyFigures.ts';
import { machineFigure } from './machineFigure.ts';
import { totals } from './seriesData.ts';
import { blocksFigure, waterfallFigure } from './stageFigures.ts';
import {
  comparisonTable,
  gateTable,
  layersTable,
  machineTable,
  rooflineTable,
  softwareTable,
  startTable,
  subjectTable,
  summaryTable,
  warningList,
} from './tables.ts';

/** A section with its pictures drawn; left out if it is empty. */
async function drawn(id: string, title: string, parts: readonly (Figure | string)[]): Promise<string[]> {
  const html: string[] = [];
  for (const part of parts) html.push(typeof part === 'string' ? part : await plotFigure(part));
  return html.length === 0 ? [] : [section(id, title, html)];
}

/** The machine's rows, its sensors over the run if there were any, and what else belongs to it. */
function machineSection(machine: MachineState, more: readonly string[] = []): Promise<string[]> {
  const overTime = machineFigure(machine);
  return drawn('machine', 'Machine', [
    machineTable(machine),
    ...(overTime === null ? [] : [overTime]),
    ...more,
  ]);
}

/**
 * A measurement as one HTML page.
 *
 * @returns the page as text; writing it is the caller's
 * @throws (rejects) PACKAGE_UNAVAILABLE vega or vega-lite is not installed
 */
export async function writeReport(report: BenchReport): Promise<string> {
  const { subjects, comparisons, warnings, gate = [], machine, selfCheck } = report;
  const timed = subjects.filter(({ chunks }) => totals(chunks).length > 1);
  const staged = subjects.filter(({ summary }) => summary.total !== undefined);
  const layers = Object.entries(report.layers).filter(([, list]) => list.length > 0);
  const rooflines = Object.entries(report.rooflines);
  const sections = [
    section('summary', 'Summary', [
      summaryTable(subjects),
      ...(gate.length === 0 ? [] : [gateTable(gate)]),
      subjectTable(subjects),
      startTable(subjects),
    ]),
    ...(await machineSection(machine, [paragraph(selfCheckText(selfCheck))])),
    ...(await drawn(
      'compared',
      'Comparison',
      comparisons.length === 0 ? [] : [comparisonTable(comparisons)],
    )),
    ...(await drawn(
      'latency',
      'Latency',
      timed.length === 0 ? [] : [histogramFigure(timed), percentileFigure(timed), timelineFigure(timed)],
    )),
    ...(await drawn('stages', 'Stages', staged.length === 0 ? [] : [waterfallFigure(staged)])),
    ...(await drawn(
      'layers',
      'Layers',
      layers.flatMap(([name, list], i) => [layersTable(name, list), blocksFigure(name, i, list)]),
    )),
    ...(await drawn(
      'roofline',
      'Roofline',
      rooflines.map(([name, roofline]) => rooflineTable(name, roofline)),
    )),
    section('made', 'How it was made', [softwareTable(report)]),
  ];
  const names = subjects.map(({ subject }) => subject.name);
  const title = `Latency of ${names.length === 1 ? names[0] : `${names.length} policies compared`}`;
  const isBare = rooflines.length + Object.keys(report.layers).length + comparisons.length === 0;
  const missing = isBare ? ' No layers and no roofline were asked for.' : '';
  const board = settingRows(machine)[0]?.[1] ?? machine.board;
  return page(title, `${board}, ${report.createdAt}.${missing}${headline(report)}`, [
    warningList(warnings),
    ...sections,
  ]);
}

/** The main numbers, above the warnings, with the count of warnings. */
function headline({ subjects, warnings }: BenchReport): string {
  const told = subjects.flatMap(({ subject, summary: { total } }) =>
    total === undefined
      ? []
      : [`${subject.name}: median ${figure(total.median)} ms, p99 ${figure(total.p99)} ms`],
  );
  if (told.length === 0) return '';
  const count = `${warnings.length} warning${warnings.length === 1 ? '' : 's'}`;
  const believe = warnings.length === 0 ? '' : ` How far to believe it: ${count}.`;
  return ` ${told.slice(0, 3).join('; ')}${told.length > 3 ? '; ...' : ''}.${believe}`;
}

/**
 * A profile as one HTML page, in the style of the report: layers, blocks and stages.
 *
 * @returns the page as text; writing it is the caller's
 * @throws (rejects) PACKAGE_UNAVAILABLE vega or vega-lite is not installed
 */
export async function writeProfile(profile: ProfileReport): Promise<string> {
  const { variant, source, runtime, backend, threads, promptTokens, cameras, graphs, takesTurns } = profile;
  const layers = profile.layers.filter(({ graph }) => graph === 'policy');
  const where = threads === null ? runtime : `${runtime}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`;
  const costs = table({
    caption: `what watching costs: the profiled and the plain session ${takesTurns ? 'took turns' : 'ran one after the other'}`,
    head: [
      ...['graph', 'runs', 'plain ms', 'profiled ms', 'slow-down'],
      ...['layers ms', 'between them ms', 'with a block %'],
    ],
    rows: graphs.map((graph) => [
      ...[graph.graph, graph.runs, graph.plainMs, graph.profiledMs, `${figure(graph.slowDown)}x`],
      ...[graph.layerMs, graph.betweenMs, graph.attributedPercent],
    ]),
  });
  const stages = table({
    caption: 'stages of the graphs, medians of the profiled runs',
    head: ['stage', 'graph', 'ms', 'share of its graph %'],
    rows: graphs.flatMap((graph) =>
      graph.stages.map(({ stage, medianMs, percent }) => [stage, graph.graph, medianMs, percent]),
    ),
  });
  return page(`Profile of ${source}`, `${variant} on ${backend}: ${where}. ${profile.createdAt}.`, [
    warningList(profile.warnings),
    paragraph(`${cameras.length} camera(s), prompt of ${promptTokens} tokens, ${profile.iterations} chunks.`),
    section('graphs', 'Graphs', [costs, stages]),
    ...(await drawn(
      'layers',
      'Layers',
      layers.length === 0 ? [] : [layersTable(source, layers), blocksFigure(source, 0, layers)],
    )),
    ...(await machineSection(profile.machine)),
  ]);
}
