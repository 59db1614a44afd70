/** A measurement as one HTML file that needs nothing else: no network, no script, no other file. */

import { settingRows } from '../../machine/machineRows.ts';
import { type Figure, figure, paragraph, plotFigure, section } from '../../plots/html.ts';
import { page } from '../../plots/page.ts';
import { selfCheckText } from '../measure/selfCheck.ts';
import type { BenchReport } from '../types.ts';
import { histogramFigure, percentileFigure, timelineFigure } from './latencyFigures.ts';
import { machineFigure } from './machineFigure.ts';
import { totals } from './seriesData.ts';
import { blocksFigures, waterfallFigure } from './stageFigures.ts';
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
  const sensors = machineFigure(machine);
  const sections = [
    section('summary', 'Summary', [
      summaryTable(subjects),
      ...(gate.length === 0 ? [] : [gateTable(gate)]),
      subjectTable(subjects),
      startTable(subjects),
    ]),
    ...(await drawn('machine', 'Machine', [
      machineTable(machine),
      ...(sensors === null ? [] : [sensors]),
      paragraph(selfCheckText(selfCheck)),
    ])),
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
      blocksFigures(layers).flatMap((figure, i) => [layersTable(...layers[i]!), figure]),
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
