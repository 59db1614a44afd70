/** The machine over the run: power, clocks, temperatures and load against time, throttling marked. */

import { type PlotSpec, plainLabels } from '../../plots/drawPlot.ts';
import { type Cell, type Figure, figure } from '../../plots/html.ts';
import { color } from '../../plots/palette.ts';
import type { MachineSeries, MachineState, SensorSeries } from '../types.ts';
import { byLine } from './plotStyle.ts';
import { median, sorted } from './seriesData.ts';

const kinds = [
  { kind: 'power', title: 'Power', axis: 'W' },
  { kind: 'clock', title: 'Clocks', axis: 'MHz' },
  { kind: 'temperature', title: 'Temperatures', axis: '°C' },
  { kind: 'load', title: 'Busy', axis: '%' },
] as const;

/** Beside it stand the names of the lines. */
const width = 500;

/** Lines of a plot that are told apart. */
const mostLines = 5;

/** Those that decide come first; of the rest, those that moved most. All are in the table, as is the slowest, idle core. */
function chosen(sensors: readonly SensorSeries[]): readonly SensorSeries[] {
  const first = (name: string): boolean =>
    /^(total|gpu|gpu-gpc-0|gpu-board|cpu|cpu fastest|emc|tj)$/.test(name);
  const move = ({ values }: SensorSeries): number => {
    const known = sorted(values.filter((value) => value !== null));
    return known.length === 0 ? -1 : known.at(-1)! - known[0]!;
  };
  return sensors
    .filter((sensor) => move(sensor) >= 0 && sensor.name !== 'cpu slowest')
    .sort((a, b) => Number(first(b.name)) - Number(first(a.name)) || move(b) - move(a))
    .slice(0, mostLines);
}

/** The lowest and the highest of each stretch of time, so that a picture of many samples loses no dip and no gap. */
function thinnedPoints(
  { atMs }: MachineSeries,
  { name, values }: SensorSeries,
  most = 240,
): { readonly sensor: string; readonly seconds: number; readonly value: number | null }[] {
  const points = values.map((value, i) => ({ sensor: name, seconds: atMs[i]! / 1000, value }));
  if (points.length <= most) return points;
  const size = Math.ceil((2 * points.length) / most);
  return Array.from({ length: Math.ceil(points.length / size) }, (_, i) => {
    const stretch = points.slice(i * size, (i + 1) * size);
    const gap = stretch.find(({ value }) => value === null);
    const known = stretch.filter(({ value }) => value !== null);
    const low = known.reduce((a, b) => (b.value! < a.value! ? b : a), known[0]!);
    const high = known.reduce((a, b) => (b.value! > a.value! ? b : a), known[0]!);
    const kept = new Set(known.length === 0 ? [gap!] : gap === undefined ? [low, high] : [low, high, gap]);
    return stretch.filter((point) => kept.has(point));
  }).flat();
}

/** null where nothing was sampled. */
export function machineFigure(machine: MachineState): Figure | null {
  const { series, temperatureLimits = [] } = machine;
  const measuredFromMs = series?.measuredFromMs ?? null;
  if (!series || series.atMs.length < 2) return null;
  const rows = kinds.flatMap(({ kind, title, axis }) => {
    const sensors = chosen(series.sensors.filter((sensor) => sensor.kind === kind));
    return sensors.length === 0 ? [] : [{ kind, title, axis, sensors }];
  });
  if (rows.length === 0) return null;
  const domain = [series.atMs[0]! / 1000, series.atMs.at(-1)! / 1000] as const;
  const slowed = series.throttling.map(({ reason, fromMs, toMs }) => ({
    reason,
    from: fromMs / 1000,
    // seen by one sample: still a mark that is seen
    to: Math.max(toMs / 1000, fromMs / 1000 + (domain[1] - domain[0]) / 200),
  }));
  const hasNote = slowed.length > 0;
  const specs = rows.map(({ kind, title, axis, sensors }, i) =>
    plotOf({
      series,
      sensors,
      title: `${title}, ${axis}`,
      domain,
      slowed,
      measuredFrom: measuredFromMs === null ? null : measuredFromMs / 1000,
      limit: kind === 'temperature' ? lowestLimit(sensors, temperatureLimits) : null,
      isLast: i === rows.length - 1,
      isShare: kind === 'load',
      isStepped: kind === 'clock',
    }),
  );
  return {
    id: 'machine-series',
    title: 'Machine over the run',
    description: `${rows.map(({ title }) => title).join(', ')} of the machine against time${hasNote ? `; slowed by ${slowed.map(({ reason }) => reason).join(', ')}` : ''}.`,
    spec: { vconcat: specs, spacing: 10 } as unknown as PlotSpec,
    caption: captionOf(series, machine, measuredFromMs),
    table: tableOf(series),
  };
}

function captionOf(series: MachineSeries, { sampling }: MachineState, measuredFromMs: number | null): string {
  // before its first value a sensor was not there yet
  const gaps = series.sensors.filter(
    ({ values }) => values.lastIndexOf(null) > values.findIndex((value) => value !== null),
  ).length;
  const spans = series.throttling.map(
    ({ reason, fromMs, toMs }) =>
      `${reason} from ${figure(fromMs / 1000)} s${toMs > fromMs ? ` to ${figure(toMs / 1000)} s` : ''}`,
  );
  return [
    `The sensors as they were read while the policies ran, ${series.atMs.length} times${sampling ? `, for ${figure(sampling.costPercent)} % of a core` : ''}.`,
    measuredFromMs === null ? '' : 'Measuring begins at the dashed line; before it is warm-up.',
    spans.length === 0 ? '' : `Shaded: the machine was slowed (${spans.join('; ')}).`,
    gaps === 0 ? '' : 'A line that is broken was not read there.',
  ]
    .filter((sentence) => sentence !== '')
    .join(' ');
}

function lowestLimit(
  sensors: readonly SensorSeries[],
  limits: NonNullable<MachineState['temperatureLimits']>,
): number | null {
  const known = limits.filter(({ name }) => sensors.some((sensor) => sensor.name === name));
  const limit = Math.min(...known.map(({ value }) => value));
  const hottest = Math.max(...sensors.flatMap(({ values }) => values.filter((value) => value !== null)));
  // far away it would press the lines flat; the table of the machine has it
  return Number.isFinite(limit) && limit - hottest < 25 ? limit : null;
}

interface PlotOf {
  readonly series: MachineSeries;
  readonly sensors: readonly SensorSeries[];
  readonly title: string;
  readonly domain: readonly [number, number];
  readonly slowed: readonly { readonly from: number; readonly to: number }[];
  readonly measuredFrom: number | null;
  readonly limit: number | null;
  readonly isLast: boolean;
  readonly isShare: boolean;
  readonly isStepped: boolean;
}

function plotOf(plot: PlotOf): object {
  const { series, sensors, title, domain, slowed, measuredFrom, limit, isLast, isShare, isStepped } = plot;
  const line = byLine(
    'sensor',
    sensors.map(({ name }) => name),
  );
  const legend = { orient: 'right', offset: 6, symbolType: 'stroke', symbolSize: 160, labelLimit: 130 };
  const x = {
    type: 'quantitative',
    scale: { domain, nice: false, zero: false },
    title: isLast ? 'since the start of the run, s' : null,
    axis: { labels: isLast, ticks: isLast, grid: false },
  };
  const y = {
    type: 'quantitative',
    title: null,
    scale: isShare ? { domain: [0, 100] } : { zero: false, nice: true },
    axis: { tickCount: 3, ...plainLabels },
  };
  const rule = { type: 'rule', color: color.ink, strokeDash: [4, 3], strokeWidth: 1 };
  return {
    title: { text: limit === null ? title : `${title}; slowed from ${figure(limit)} on` },
    width,
    height: 74,
    layer: [
      ...(slowed.length === 0
        ? []
        : [
            {
              data: { values: slowed },
              mark: { type: 'rect', color: color.series2, opacity: 0.22 },
              encoding: { x: { field: 'from', ...x }, x2: { field: 'to' } },
            },
          ]),
      ...(measuredFrom === null
        ? []
        : [{ data: { values: [{ at: measuredFrom }] }, mark: rule, encoding: { x: { field: 'at', ...x } } }]),
      ...(limit === null
        ? []
        : [
            {
              data: { values: [{ at: limit }] },
              mark: { ...rule, color: color.series2, strokeDash: [1, 0] },
              encoding: { y: { field: 'at', ...y } },
            },
          ]),
      {
        data: { values: sensors.flatMap((sensor) => thinnedPoints(series, sensor)) },
        mark: { type: 'line', strokeWidth: 1.8, interpolate: isStepped ? 'step-after' : 'linear' },
        encoding: {
          x: { field: 'seconds', ...x },
          y: { field: 'value', ...y },
          color: { ...line.color, legend },
          strokeDash: line.strokeDash,
        },
      },
    ],
    resolve: { scale: { color: 'independent', strokeDash: 'independent' } },
  };
}

function tableOf({ sensors, atMs }: MachineSeries): NonNullable<Figure['table']> {
  return {
    caption: 'sensors over the run',
    head: ['sensor', 'unit', 'first', 'lowest', 'median', 'highest', 'last', 'not read'],
    rows: sensors.map(({ kind, name, unit, values }): Cell[] => {
      const known = values.filter((value) => value !== null);
      const ascending = sorted(known);
      const missing = `${atMs.length - known.length} of ${atMs.length}`;
      if (known.length === 0) return [`${kind} ${name}`, unit, null, null, null, null, null, missing];
      const [low, high] = [ascending[0]!, ascending.at(-1)!];
      return [`${kind} ${name}`, unit, known[0]!, low, median(known), high, known.at(-1)!, missing];
    }),
  };
}
