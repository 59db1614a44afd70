/** How long chunks took: histogram, percentile curve, and the run over time. */

import type { PlotSpec } from '../../plots/drawPlot.ts';
import { type Figure, figure } from '../../plots/html.ts';
import { color } from '../../plots/palette.ts';
import { sorted } from '../../support/median.ts';
import type { Timed } from '../types.ts';
import { byLine, colorOf, logTicks, plotWidth, quantity, stacked, titleLines } from './plotStyle.ts';
import {
  bodyRange,
  histogram,
  logHistogram,
  overTime,
  percentileCurve,
  quantile,
  quarters,
  runningMedian,
  totals,
} from './seriesData.ts';

const nameList = (subjects: readonly Timed[]): string =>
  subjects.map(({ subject }) => subject.name).join(', ');

export function histogramFigure(subjects: readonly Timed[]): Figure {
  const all = subjects.map(({ chunks }) => sorted(totals(chunks)));
  const [low, high] = bodyRange(all);
  const isWide = high / low > 3;
  const x = {
    scale: { type: isWide ? 'log' : 'linear', domain: [low * 0.98, high * 1.02], nice: false },
    axis: isWide ? { values: logTicks(low, high) } : { tickCount: 8, labelOverlap: 'greedy' },
  };
  // the same bins and the same height of a share for all: what looks alike is alike, however many chunks each has
  const binned = isWide ? logHistogram : histogram;
  const bins = Math.min(...all.map((values) => binned(values, low, high).length));
  const shared = all.map((values) =>
    binned(values, low, high, bins).map((bin) => ({ ...bin, share: (100 * bin.count) / values.length })),
  );
  const most = Math.max(...shared.flat().map(({ share }) => share));
  const rows = subjects.map(({ subject }, i) => {
    const values = all[i]!;
    const [middle, late] = [quantile(values, 0.5), quantile(values, 0.99)];
    const subtitle = `${figure(values.length)} chunks; dashed: median ${figure(middle)} ms and p99 ${figure(late)} ms`;
    return {
      title: { text: titleLines(subject.name), subtitle },
      width: plotWidth,
      height: 120,
      layer: [
        {
          data: { values: shared[i]! },
          mark: { type: 'rect', color: colorOf(i), stroke: color.paper, strokeWidth: 0.5 },
          encoding: {
            x: quantity('from', `latency, ms${isWide ? ', logarithmic' : ''}`, x),
            x2: { field: 'to' },
            y: quantity('share', '% of the chunks', { scale: { domain: [0, most] }, axis: { tickCount: 4 } }),
            y2: { datum: 0 },
          },
        },
        {
          data: { values: [{ ms: middle }, { ms: late }] },
          mark: { type: 'rule', color: color.ink, strokeDash: [4, 3] },
          encoding: { x: quantity('ms', undefined, x) },
        },
      ],
    };
  });
  const beyond = all.map((values) => values.filter((value) => value > high).length);
  const lost = beyond.reduce((sum, count) => sum + count, 0);
  return {
    id: 'histogram',
    title: 'Latency histogram',
    description: `How many chunks took how long, for ${nameList(subjects)}.`,
    spec: stacked(rows),
    caption:
      'How many chunks took how long, all on the same scales.' +
      (lost > 0 ? ` ${lost} lie right of the last bar; the two plots below show them.` : ''),
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

export function percentileFigure(subjects: readonly Timed[]): Figure {
  const all = subjects.map(({ chunks }) => sorted(totals(chunks)));
  const names = subjects.map(({ subject }) => subject.name);
  const points = all.flatMap((values, i) =>
    percentileCurve(values).map((at) => ({ ...at, subject: names[i] })),
  );
  const nines = Math.max(...points.map((point) => point.nines));
  const ticks = marked.map((p) => -Math.log10(1 - p)).filter((tick) => tick <= nines + 1e-9);
  const labels = marked.map((p) => `'p${figure(100 * p)}'`);
  const [low, high] = [Math.min(...all.map((values) => values[0]!)), Math.max(...all.map((v) => v.at(-1)!))];
  const isWide = high / low > 8;
  const line = byLine('subject', names);
  const spec = {
    width: plotWidth,
    height: 240,
    data: { values: points },
    mark: { type: 'line', interpolate: 'step-after', strokeWidth: 2 },
    encoding: {
      x: quantity('nines', 'percentile', {
        scale: { domain: [0, nines], nice: false },
        axis: {
          values: [0, ...ticks],
          labelOverlap: false,
          labelExpr: `['min', ${labels.join(', ')}][indexof([0, ${ticks.join(', ')}], datum.value)]`,
        },
      }),
      y: quantity('ms', `latency, ms${isWide ? ', logarithmic' : ''}`, {
        scale: isWide
          ? { type: 'log', domain: [0.95 * low, 1.05 * high], nice: false }
          : { type: 'linear', zero: false, nice: true },
        axis: isWide
          ? { values: logTicks(0.95 * low, 1.05 * high) }
          : { tickCount: 6, labelOverlap: 'greedy' },
      }),
      ...(subjects.length === 1 ? { color: { ...line.color, legend: null } } : line),
    },
  };
  const columns = all.some(({ length }) => length >= 1000) ? shares : shares.slice(0, -1);
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
      rows: all.map((values, i) => [names[i]!, ...columns.map((p) => quantile(values, p)), values.at(-1)!]),
    },
  };
}

export function timelineFigure(subjects: readonly Timed[]): Figure {
  const starts = subjects.flatMap(({ chunks }) => chunks.map(({ startMs }) => startMs / 1000));
  // warm-up came before the first and is not drawn
  const domain = [Math.min(...starts), Math.max(...starts)];
  const [low, high] = bodyRange(subjects.map(({ chunks }) => sorted(totals(chunks))));
  const rows = subjects.map(({ subject, chunks }, i) => {
    const values = sorted(totals(chunks));
    const points = overTime(chunks).map(({ seconds, value }) => ({
      seconds,
      ms: Math.min(value!, high),
      value,
    }));
    const beyond = points.filter(({ value }) => value! > high);
    const encoding = {
      x: quantity('seconds', 'since the start of the run, s', {
        scale: { domain, nice: false, zero: false },
      }),
      y: quantity('ms', 'latency, ms', {
        scale: { domain: [low, high], zero: false, nice: false },
        axis: { tickCount: 5 },
      }),
    };
    const mark = { type: 'point', filled: true, color: colorOf(i), size: 9, opacity: 0.45 };
    const triangle = { ...mark, shape: 'triangle-up', size: 70, opacity: 1 };
    const above = `; triangles: ${values.filter((value) => value > high).length} chunks above the frame, up to ${figure(values.at(-1)!)} ms`;
    return {
      title: {
        text: titleLines(subject.name),
        subtitle: `line: running median${beyond.length === 0 ? '' : above}`,
      },
      width: plotWidth,
      height: 130,
      layer: [
        { data: { values: points.filter(({ value }) => value! <= high) }, mark, encoding },
        ...(beyond.length === 0 ? [] : [{ data: { values: beyond }, mark: triangle, encoding }]),
        {
          data: { values: runningMedian(chunks).map(({ seconds, value }) => ({ seconds, ms: value })) },
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
    spec: stacked(rows),
    caption:
      'Each chunk in the order measured, from the first after warm-up on, and the running median, all on the same scales. A median that climbs is a board that warms and throttles, or memory that fills; single high dots are other work on the machine.',
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
