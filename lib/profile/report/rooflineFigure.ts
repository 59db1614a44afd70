/** The stages of a policy under the roof of a device: log-log, operations a byte of weights against operations a second. */

import { type PlotSpec, plainLabels } from '../../plots/drawPlot.ts';
import { type Cell, type Figure, figure, percent, type Table } from '../../plots/html.ts';
import { color, series } from '../../plots/palette.ts';
import type { Roofline, RooflineRow } from '../types.ts';
import { plotWidth } from './plotStyle.ts';

/** With weights and in every chunk; the pruner has none, the instruction runs once a sentence: both are in the table. */
const stages = ['vision', 'fuser', 'llm', 'heads', 'policy'] as const;
const shapes = ['circle', 'triangle-up', 'square', 'diamond', 'triangle-down'];
const colors = [0, 4, 1, 2, 6].map((i) => series[i]!);

/** Operations a byte of weights; null where a stage reads none. */
const intensity = ({ flops, weightBytes }: RooflineRow): number | null =>
  weightBytes > 0 && flops > 0 ? flops / weightBytes : null;

const tflops = ({ flops }: RooflineRow, ms: number): number => flops / (ms * 1e9);

export function rooflineFigure(subject: string, index: number, roofline: Roofline): Figure {
  const { rows, peakTflops, bandwidthGBs, device, precision } = roofline;
  const placed = rows.flatMap((row) => {
    const x = intensity(row);
    if (x === null || !stages.some((stage) => stage === row.stage)) return [];
    const { stage, limitMs, measuredMs } = row;
    const point = { stage, x, limit: tflops(row, limitMs) };
    return [measuredMs === null ? point : { ...point, reached: tflops(row, measuredMs) }];
  });
  const peaks = [...new Set([peakTflops, ...rows.flatMap((row) => row.peakTflops ?? [])])];
  const xs = placed.map(({ x }) => x);
  const ys = placed.flatMap((point) => [point.limit, ...('reached' in point ? [point.reached] : [])]);
  const ridge = (peak: number): number => (1000 * peak) / bandwidthGBs;
  const low = Math.min(...xs, ridge(Math.min(...peaks))) / 3;
  const high = Math.max(...xs, ridge(Math.max(...peaks))) * 3;
  const roof = peaks.flatMap((peak) =>
    [low, ridge(peak), high].map((x) => ({ x, y: Math.min(peak, (x * bandwidthGBs) / 1000), peak })),
  );
  const bottom = Math.min(...ys, (low * bandwidthGBs) / 1000) / 2.2;
  const top = Math.max(...peaks) * 2;
  const x = { field: 'x', type: 'quantitative', scale: { type: 'log', domain: [low, high], nice: false } };
  const scale = { type: 'log', domain: [bottom, top], nice: false };
  const log = { axis: { tickCount: 6, labelOverlap: 'greedy', ...plainLabels } };
  const y = { type: 'quantitative', scale };
  const shown = stages.filter((stage) => placed.some((point) => point.stage === stage));
  const at = (list: readonly string[]): string[] => shown.map((stage) => list[stages.indexOf(stage)]!);
  const byStage = {
    color: {
      field: 'stage',
      type: 'nominal',
      title: null,
      legend: { columns: 5 },
      scale: { domain: shown, range: at(colors) },
    },
    shape: {
      field: 'stage',
      type: 'nominal',
      title: null,
      legend: { columns: 5 },
      scale: { domain: shown, range: at(shapes) },
    },
  };
  const measured = placed.filter((point) => 'reached' in point);
  const spec = {
    width: plotWidth,
    height: 300,
    layer: [
      {
        data: { values: roof },
        mark: { type: 'line', color: color.ink, strokeWidth: 2 },
        encoding: {
          x: { ...x, title: 'operations a byte of weights', ...log },
          y: { field: 'y', ...y, title: 'TFLOPS', ...log },
          detail: { field: 'peak' },
        },
      },
      {
        data: {
          values: peaks.map((peak) => ({ x: high, y: peak, label: `${figure(peak)} TFLOPS` })),
        },
        mark: { type: 'text', align: 'right', dx: -4, dy: -8, color: color.ink },
        encoding: { x, y: { field: 'y', ...y }, text: { field: 'label' } },
      },
      {
        data: {
          values: [{ x: low, y: (low * bandwidthGBs) / 1000, label: `${figure(bandwidthGBs)} GB/s` }],
        },
        mark: { type: 'text', align: 'left', dx: 8, dy: 12, baseline: 'top', color: color.ink },
        encoding: { x, y: { field: 'y', ...y }, text: { field: 'label' } },
      },
      ...(measured.length === 0
        ? []
        : [
            {
              data: { values: measured },
              mark: { type: 'rule', strokeDash: [2, 3] },
              encoding: { x, y: { field: 'reached', ...y }, y2: { field: 'limit' } },
            },
          ]),
      {
        data: { values: placed },
        mark: { type: 'point', filled: false, size: 110, strokeWidth: 2 },
        encoding: { x, y: { field: 'limit', ...y }, ...byStage },
      },
      ...(measured.length === 0
        ? []
        : [
            {
              data: { values: measured },
              mark: { type: 'point', filled: true, size: 120, opacity: 1 },
              encoding: { x, y: { field: 'reached', ...y }, ...byStage },
            },
          ]),
    ],
  };
  return {
    id: `roofline-${index}`,
    title: `Roofline of ${subject} on ${device}`,
    description: `Stages by operations a byte of weights and TFLOPS, under the roof of ${figure(bandwidthGBs)} GB/s and ${figure(peakTflops)} TFLOPS.`,
    spec: spec as unknown as PlotSpec,
    caption:
      `${device}, ${precision}. Left of the corner memory bounds a stage, right of it arithmetic. Hollow marks are the limits` +
      (measured.length > 0
        ? ', full marks what was measured; the gap between is what could be had.'
        : '; nothing was measured here.') +
      ` Peaks: ${roofline.source}.`,
    table: rooflineTable(subject, roofline),
    isTableOpen: true,
  };
}

function rooflineTable(subject: string, { rows, limitMs }: Roofline): Table {
  return {
    caption: `roofline of ${subject}; the limit of a chunk is ${figure(limitMs)} ms; -: not measured alone`,
    head: [
      'stage',
      'GFLOP',
      'weights GB',
      'activa\u00adtions GB',
      'limit ms',
      'bound by',
      'measured ms',
      'of the limit',
      'reached TFLOPS',
      'reached GB/s',
    ],
    rows: rows.map((row): Cell[] => {
      const {
        stage,
        flops,
        weightBytes,
        activationBytes,
        limitMs: limit,
        boundBy,
        measuredMs,
        fraction,
      } = row;
      const name =
        stage === 'policy'
          ? 'policy (a chunk)'
          : stage === 'instruction'
            ? 'instruction (once a sentence)'
            : stage;
      return [
        name,
        flops / 1e9,
        weightBytes / 1e9,
        activationBytes / 1e9,
        limit,
        boundBy,
        measuredMs ?? '-',
        fraction === null ? '' : percent(fraction),
        measuredMs === null ? '' : tflops(row, measuredMs),
        measuredMs === null ? '' : weightBytes / (measuredMs * 1e6),
      ];
    }),
  };
}
