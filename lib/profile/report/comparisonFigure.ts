/** Several subjects against each other: ratios with their intervals. */

import { type PlotSpec, plainLabels } from '../../plots/drawPlot.ts';
import { type Figure, figure } from '../../plots/html.ts';
import { color, series } from '../../plots/palette.ts';
import type { Comparison } from '../types.ts';
import { plotWidth } from './latencyFigures.ts';

/** What an interval lets one say. */
export function verdictOf({ low, high }: Comparison): string {
  if (low > 1) return 'faster';
  if (high < 1) return 'slower';
  return 'no difference seen';
}

export function comparisonFigure(comparisons: readonly Comparison[]): Figure {
  const [baseline, ...more] = new Set(comparisons.map((comparison) => comparison.baseline));
  const isOne = more.length === 0;
  const rows = comparisons.map((comparison) => ({
    pair: isOne ? comparison.subject : `${comparison.subject} against ${comparison.baseline}`,
    ...comparison,
    verdict: verdictOf(comparison),
    label: `${figure(comparison.ratio)}x`,
  }));
  const low = Math.min(1, ...comparisons.map((c) => c.low));
  const high = Math.max(1, ...comparisons.map((c) => c.high));
  const margin = (high / low) ** 0.12 * 1.02;
  const scale = { type: 'log', domain: [low / margin, high * margin], nice: false };
  const verdicts = ['faster', 'no difference seen', 'slower'];
  const byVerdict = {
    field: 'verdict',
    type: 'nominal',
    title: null,
    scale: { domain: verdicts, range: [series[2], series[6], series[1]] },
    legend: { columns: 3 },
  };
  const y = { field: 'pair', type: 'ordinal', sort: null, title: null };
  const spec = {
    width: plotWidth - 180,
    height: { step: 34 },
    data: { values: rows },
    encoding: { y },
    layer: [
      {
        data: { values: [{ one: 1 }] },
        mark: { type: 'rule', color: color.ink, strokeDash: [4, 3] },
        encoding: {
          x: { field: 'one', type: 'quantitative', scale },
          y: { value: 0 },
          y2: { value: { expr: 'height' } },
        },
      },
      {
        mark: { type: 'rule', strokeWidth: 3 },
        encoding: {
          x: {
            field: 'low',
            type: 'quantitative',
            scale,
            title: `times as fast as ${isOne ? baseline : 'the baseline'}, by medians`,
            axis: { ...plainLabels, tickCount: 6, labelOverlap: 'greedy' },
          },
          x2: { field: 'high' },
          color: byVerdict,
        },
      },
      {
        mark: { type: 'point', filled: true, size: 110, opacity: 1 },
        encoding: {
          x: { field: 'ratio', type: 'quantitative', scale },
          color: byVerdict,
          shape: {
            ...byVerdict,
            scale: { domain: verdicts, range: ['triangle-right', 'circle', 'triangle-left'] },
          },
        },
      },
      {
        mark: { type: 'text', dy: -11, color: color.ink },
        encoding: { x: { field: 'ratio', type: 'quantitative', scale }, text: { field: 'label' } },
      },
    ],
  };
  return {
    id: 'comparison',
    title: 'Comparison',
    description: `Ratio of median latencies with its interval for ${comparisons.length} pair(s) of subjects.`,
    spec: spec as unknown as PlotSpec,
    caption:
      'Right of the dashed line the subject is faster than its baseline. An interval that holds 1 says that no difference was seen, not that there is none.',
    isTableOpen: true,
    table: {
      caption: 'ratios of medians',
      head: ['subject', 'baseline', 'times as fast', 'low', 'high', 'confidence', 'rounds', 'verdict'],
      rows: comparisons.map((comparison) => [
        comparison.subject,
        comparison.baseline,
        comparison.ratio,
        comparison.low,
        comparison.high,
        `${figure(100 * comparison.confidence)} %`,
        comparison.rounds === 0 ? 'separate runs' : comparison.rounds,
        verdictOf(comparison),
      ]),
    },
  };
}
