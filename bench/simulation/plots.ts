/** The pictures of docs/choosingAMode.md: success and steps over the latency, a line a mode. */

import { drawPlot, type PlotSpec } from '../../lib/plots/drawPlot.ts';
import { color, series } from '../../lib/plots/palette.ts';
import { asFile } from '../modes/asFile.ts';
import type { Cell } from './figures.ts';

const shapes = ['circle', 'square', 'diamond', 'triangle-up', 'triangle-down', 'cross'];

/** Latencies have to be numbers of milliseconds. */
export async function closedLoopPlots(cells: readonly Cell[]): Promise<Record<string, string>> {
  const [first] = cells;
  const known = cells.filter(({ latency }) => Number.isFinite(Number(latency)));
  if (first === undefined || known.length === 0) return {};
  const domain = [...new Set(known.map(({ mode }) => mode))];
  const values = known.map((cell) => ({
    ...cell,
    ms: Number(cell.latency),
    share: (100 * cell.success) / cell.count,
    low: 100 * cell.interval[0],
    high: 100 * cell.interval[1],
  }));
  const mode = { field: 'mode', type: 'nominal', title: null, sort: domain };
  const styled = {
    color: {
      ...mode,
      scale: { domain, range: domain.map((_, i) => series[i % series.length]!) },
      legend: { orient: 'right', symbolOpacity: 1 },
    },
    shape: { ...mode, scale: { domain, range: domain.map((_, i) => shapes[i % shapes.length]!) } },
  };
  const x = { field: 'ms', type: 'quantitative', title: 'latency, ms', axis: { grid: false } };
  const picture = (field: string, title: string, name: string, subtitle: string): PlotSpec =>
    ({
      title: { text: name, subtitle, fontSize: 16, frame: 'bounds', subtitlePadding: 5, offset: 16 },
      width: 460,
      height: 260,
      data: { values: values.filter((value) => value[field as keyof typeof value] !== null) },
      encoding: { x, y: { field, type: 'quantitative', title, axis: { tickCount: 6 } }, ...styled },
      layer: [
        { mark: { type: 'line', strokeWidth: 2 } },
        { mark: { type: 'point', filled: true, size: 90, opacity: 1, stroke: color.paper, strokeWidth: 1 } },
      ],
    }) as unknown as PlotSpec;
  const success = picture(
    'share',
    'success, %',
    'Success by mode and latency',
    `The named cube is lifted, ${first.count} scenes a point, simulator in the loop`,
  );
  const steps = picture(
    'steps',
    'steps, median of the successful',
    'How long it takes',
    'Steps of 50 ms from start to lift; episodes that succeeded',
  );
  const drawn = async (id: string, title: string, spec: PlotSpec): Promise<string> =>
    asFile(await drawPlot({ id, title, description: `${title}, by mode and latency.`, spec }));
  return {
    success: await drawn('success', 'Share of episodes in which the named cube is lifted', success),
    steps: await drawn('steps', 'Median number of steps', steps),
  };
}
