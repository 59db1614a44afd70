/** A measurement as one HTML file that needs nothing else: no network, no script, no other file. */

import { type Figure, figure, paragraph, plotFigure, section } from '../../plots/html.ts';
import { page } from '../../plots/page.ts';
import { settingRows } from '../machine/machineRows.ts';
import type { BenchReport } from '../types.ts';
import {
  comparisonTable,
  gateTable,
  layersTable,
  machineTable,
  selfCheckText,
  softwareTable,
  startTable,
  subjectTable,
  summaryTable,
  warningList,
} from './factTables.ts';
import { histogramFigure, percentileFigure, timelineFigure } from './latencyFigures.ts';
import { machineFigure } from './machineFigure.ts';
import { rooflineFigure } from './rooflineFigure.ts';
import { totals } from './seriesData.ts';
import { blocksFigure, waterfallFigure } from './stageFigures.ts';

/**
 * A measurement as one HTML page.
 *
 * @returns the page as text; writing it is the caller's
 * @throws (rejects) PACKAGE_UNAVAILABLE vega or vega-lite is not installed
 */
export async function writeReport(report: BenchReport): Promise<string> {
  const { subjects, comparisons, rooflines, layers, warnings, gate, machine, selfCheck } = report;
  const names = subjects.map(({ subject }) => subject.name);
  const title =
    names.length === 1 ? `Latency of ${names[0]}` : `Latency of ${names.length} policies compared`;
  const sections = [
    section('summary', 'Summary', [
      summaryTable(subjects),
      ...(gate === undefined || gate.length === 0 ? [] : [gateTable(gate)]),
      subjectTable(subjects),
      startTable(subjects),
    ]),
    section('machine', 'Machine', [
      machineTable(machine),
      ...(await machinePlot(report)),
      paragraph(selfCheckText(selfCheck)),
    ]),
    ...(await plots(report)),
    section('made', 'How it was made', [softwareTable(report)]),
  ];
  const measured = Object.keys(rooflines).length + Object.keys(layers).length + comparisons.length;
  const missing = measured === 0 ? ' No layers and no roofline were asked for.' : '';
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
  const believe =
    warnings.length === 0
      ? ''
      : ` How far to believe it: ${warnings.length} warning${warnings.length === 1 ? '' : 's'}.`;
  return told.length === 0
    ? ''
    : ` ${told.slice(0, 3).join('; ')}${told.length > 3 ? '; ...' : ''}.${believe}`;
}

/** The sensors over the run, if there were any. */
async function machinePlot({ machine }: BenchReport): Promise<string[]> {
  const plot = machineFigure(machine);
  return plot === null ? [] : [await plotFigure(plot)];
}

/** Sections with pictures; one whose data is not there is left out. */
async function plots({ subjects, comparisons, rooflines, layers }: BenchReport): Promise<string[]> {
  const timed = subjects.filter(({ chunks }) => totals(chunks).length > 1);
  const drawn = async (id: string, title: string, parts: readonly (Figure | string)[]): Promise<string[]> => {
    if (parts.length === 0) return [];
    const html: string[] = [];
    for (const part of parts) html.push(typeof part === 'string' ? part : await plotFigure(part));
    return [section(id, title, html)];
  };
  const latency =
    timed.length === 0 ? [] : [histogramFigure(timed), percentileFigure(timed), timelineFigure(timed)];
  const staged = subjects.filter(({ summary }) => summary.total !== undefined);
  const layered = Object.entries(layers).filter(([, list]) => list.length > 0);
  return [
    ...(await drawn(
      'compared',
      'Comparison',
      comparisons.length === 0 ? [] : [comparisonTable(comparisons)],
    )),
    ...(await drawn('latency', 'Latency', latency)),
    ...(await drawn('stages', 'Stages', staged.length === 0 ? [] : [waterfallFigure(staged)])),
    ...(await drawn(
      'layers',
      'Layers',
      layered.flatMap(([name, list], i) => [layersTable(name, list), blocksFigure(name, i, list)]),
    )),
    ...(await drawn(
      'roofline',
      'Roofline',
      Object.entries(rooflines).map(([name, roofline], i) => rooflineFigure(name, i, roofline)),
    )),
  ];
}
