/** How long chunks took: histogram with every outlier, percentile curve, and the run over time. */

import { type PlotSpec, plainLabels } from '../../plots/drawPlot.ts';
import { type Figure, figure } from '../../plots/html.ts';
import { color } from '../../plots/palette.ts';
import type { SubjectResult } from '../types.ts';
import { byLine, colorOf, plotWidth, titleLines } from './plotStyle.ts';
import {
  bodyRange,
  histogram,
  overTime,
  percentileCurve,
  quantile,
  quarters,
  runningMedian,
  sorted,
  thinned,
  totals,
} from './seriesData.ts';

const nameList = (subjects: readonly SubjectResult[]): string =>
  subjects.map(({ subject }) => subject.name).join(', ');

export function histogramFigure(subjects: readonly SubjectResult[]): Figure {
  const all = subjects.map(({ chunks }) => sorted(totals(chunks)));
  const [low, high] = bodyRange(all);
  const most = Math.max(...all.map((values) => quantile(values, 1)));
  const isWide = most / low > 3;
  const rows = subjects.flatMap(({ subject }, i): PlotSpec[] => {
    const values = all[i]!;
    const [middle, late] = [quantile(values, 0.5), quantile(values, 0.99)];
    // one scale for the histogram and the strip below it, so that a value stands at one place in both
    const x = {
      type: 'quantitative',
      scale: { type: isWide ? 'log' : 'linear', domain: [low * 0.98, most * 1.02], nice: false },
      axis: { tickCount: isWide ? 5 : 8, labelOverlap: 'greedy', ...plainLabels },
    };
    const body = {
      title: {
        text: titleLines(subject.name),
        subtitle: `${figure(values.length)} chunks; dashed: median ${figure(middle)} ms and p99 ${figure(late)} ms`,
      },
      width: plotWidth,
      height: 120,
      layer: [
        {
          data: { values: histogram(values, low, high) },
          mark: { type: 'rect', color: colorOf(i), stroke: color.paper, strokeWidth: 0.5 },
          encoding: {
            x: { field: 'from', ...x, title: `latency, ms${isWide ? ', logarithmic' : ''}` },
            x2: { field: 'to' },
            y: { field: 'count', type: 'quantitative', title: 'chunks' },
            y2: { datum: 0 },
          },
        },
        {
          data: { values: [{ ms: middle }, { ms: late }] },
          mark: { type: 'rule', color: color.ink, strokeDash: [4, 3] },
          encoding: { x: { field: 'ms', ...x } },
        },
      ],
    };
    const strip = {
      width: plotWidth,
      height: 24,
      data: { values: thinned(values, isWide ? Math.log : (ms) => ms).map((ms) => ({ ms })) },
      mark: { type: 'tick', color: colorOf(i), thickness: 1.5, opacity: 0.65 },
      encoding: {
        x: {
          field: 'ms',
          ...x,
          axis: { ...x.axis, grid: false },
          title: `every chunk, ms${isWide ? ', logarithmic' : ''}`,
        },
      },
    };
    return [body, strip] as unknown as PlotSpec[];
  });
  const beyond = all.map((values) => values.filter((value) => value > high).length);
  return {
    id: 'histogram',
    title: 'Latency histogram',
    description: `How many chunks took how long, for ${nameList(subjects)}; below each, one mark for every chunk.`,
    spec: { vconcat: rows, spacing: 14 } as unknown as PlotSpec,
    caption:
      'How many chunks took how long. The strip below has a mark for every chunk: nothing is left out' +
      (beyond.some((count) => count > 0)
        ? `; ${beyond.reduce((sum, count) => sum + count, 0)} lie right of the last bar and are seen there alone.`
        : '.'),
    table: {
      caption: 'latency histogram',
      head: ['subject', 'fastest ms', 'in the histogram up to ms', 'chunks in it', 'beyond it', 'slowest ms'],
      rows: subjects.map(({ subject }, i) => {
        const values = all[i]!;
        return [subject.name, values[0]!, high, values.length - beyond[i]!, beyond[i]!, values.at(-1)!];
      }),
    },
  };
}

const shares = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999];
/** Those with room on the axis. */
const marked = [0.5, 0.9, 0.99, 0.999, 0.9999];

export function percentileFigure(subjects: readonly SubjectResult[]): Figure {
  const all = subjects.map(({ chunks }) => sorted(totals(chunks)));
  const points = subjects.flatMap(({ subject }, i) =>
    percentileCurve(all[i]!).map((point) => ({ ...point, subject: subject.name })),
  );
  const nines = Math.max(...points.map((point) => point.nines));
  const ticks = marked.map((p) => -Math.log10(1 - p)).filter((tick) => tick <= nines + 1e-9);
  const labels = marked.map((p) => `'p${figure(100 * p)}'`);
  const lows = all.map((values) => values[0]!);
  const highs = all.map((values) => values.at(-1)!);
  const isWide = Math.max(...highs) / Math.min(...lows) > 8;
  const names = subjects.map(({ subject }) => subject.name);
  const line = byLine('subject', names);
  const spec = {
    width: plotWidth,
    height: 240,
    data: { values: points },
    mark: { type: 'line', interpolate: 'step-after', strokeWidth: 2 },
    encoding: {
      x: {
        field: 'nines',
        type: 'quantitative',
        title: 'percentile',
        scale: { domain: [0, nines], nice: false },
        axis: {
          values: [0, ...ticks],
          labelOverlap: false,
          labelExpr: `['min', ${labels.join(', ')}][indexof([0, ${ticks.join(', ')}], datum.value)]`,
        },
      },
      y: {
        field: 'ms',
        type: 'quantitative',
        title: `latency, ms${isWide ? ', logarithmic' : ''}`,
        scale: isWide
          ? { type: 'log', domain: [0.95 * Math.min(...lows), 1.05 * Math.max(...highs)], nice: false }
          : { type: 'linear', zero: false, nice: true },
        axis: { tickCount: 6, labelOverlap: 'greedy', ...plainLabels },
      },
      ...(subjects.length === 1 ? { color: { ...line.color, legend: null } } : line),
    },
  };
  const rare = Math.max(...all.map((values) => values.length)) >= 1000;
  const columns = rare ? shares : shares.slice(0, -1);
  return {
    id: 'percentiles',
    title: 'Percentile curve',
    description: `Latency that a share of the chunks stays under, for ${nameList(subjects)}, from the fastest chunk to the slowest.`,
    spec: spec as unknown as PlotSpec,
    caption:
      'Latency that a share of the chunks stays under, with as much room for the slowest hundredth as for the slowest tenth. A flat line is a steady policy; where it bends up, deadlines are missed.',
    isTableOpen: true,
    table: {
      caption: 'percentiles, ms',
      head: ['subject', ...columns.map((p) => `p${figure(100 * p)}`), 'slowest'],
      rows: subjects.map(({ subject }, i) => [
        subject.name,
        ...columns.map((p) => quantile(all[i]!, p)),
        all[i]!.at(-1)!,
      ]),
    },
  };
}

export function timelineFigure(subjects: readonly SubjectResult[]): Figure {
  const starts = subjects.flatMap(({ chunks }) => chunks.map(({ startMs }) => startMs / 1000));
  // warm-up came before the first and is not drawn
  const [first, last] = [Math.min(...starts), Math.max(...starts)];
  const rows = subjects.map(({ subject, chunks }, i) => {
    const values = sorted(totals(chunks));
    const [low, high] = bodyRange([values]);
    const points = overTime(chunks);
    const inside = points.filter(({ ms }) => ms <= high);
    const beyond = points.filter(({ ms }) => ms > high).map((point) => ({ ...point, ms: high }));
    const encoding = {
      x: {
        field: 'seconds',
        type: 'quantitative',
        title: 'since the start of the run, s',
        scale: { domain: [first, last], nice: false, zero: false },
      },
      y: {
        field: 'ms',
        type: 'quantitative',
        title: 'latency, ms',
        scale: { domain: [low, high], zero: false, nice: false },
        axis: { tickCount: 5 },
      },
    };
    const point = { type: 'point', filled: true, color: colorOf(i) };
    return {
      title: {
        text: titleLines(subject.name),
        subtitle:
          beyond.length === 0
            ? 'line: running median'
            : `line: running median; triangles: ${values.filter((value) => value > high).length} chunks above the frame, up to ${figure(values.at(-1)!)} ms`,
      },
      width: plotWidth,
      height: 130,
      layer: [
        { data: { values: inside }, mark: { ...point, size: 9, opacity: 0.45 }, encoding },
        ...(beyond.length === 0
          ? []
          : [
              {
                data: { values: beyond },
                mark: { ...point, shape: 'triangle-up', size: 70, opacity: 1 },
                encoding,
              },
            ]),
        {
          data: { values: runningMedian(chunks) },
          mark: { type: 'line', color: color.ink, strokeWidth: 1.8, clip: true },
          encoding,
        },
      ],
    };
  });
  return {
    id: 'timeline',
    title: 'Latency over time',
    description: `Latency of each chunk in the order measured, with the running median, for ${nameList(subjects)}.`,
    spec: { vconcat: rows, spacing: 14 } as unknown as PlotSpec,
    caption:
      'Each chunk in the order measured, from the first after warm-up on, and the running median. A median that climbs is a board that warms and throttles, or memory that fills; single high dots are other work on the machine.',
    table: {
      caption: 'median of each quarter of the run, ms',
      head: ['subject', 'first', 'second', 'third', 'last', 'last against first'],
      rows: subjects.map(({ subject, chunks }) => {
        const medians = quarters(chunks);
        const change = medians[3]! / medians[0]! - 1;
        return [subject.name, ...medians, `${change >= 0 ? '+' : ''}${figure(100 * change)} %`];
      }),
    },
  };
}
