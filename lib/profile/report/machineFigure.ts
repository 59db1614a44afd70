/** The machine over the run: power, clocks, temperatures and load against time, throttling marked. */

import type { MachineSeries, MachineState, SensorSeries } from '../../machine/types.ts';
import { type Cell, type Figure, figure } from '../../plots/html.ts';
import { color } from '../../plots/palette.ts';
import { medianOf, sorted } from '../../support/median.ts';
import { byLine, quantity, stacked } from './plotStyle.ts';
import { thinned } from './seriesData.ts';

const kinds = { power: 'Power, W', clock: 'Clocks, MHz', temperature: 'Temperatures, °C', load: 'Busy, %' };

/** Lines of a plot that are told apart. */
const mostLines = 5;

/** Those that decide come first; of the rest, those that moved most. All are in the table, as is the slowest, idle core. */
function chosen(sensors: readonly SensorSeries[], kind: SensorSeries['kind']): SensorSeries[] {
  const decides = ({ name }: SensorSeries): number =>
    Number(/^(total|gpu|gpu-gpc-0|gpu-board|cpu|cpu fastest|emc|tj)$/.test(name));
  const move = ({ values }: SensorSeries): number => {
    const known = values.filter((value) => value !== null);
    return known.length === 0 ? -1 : Math.max(...known) - Math.min(...known);
  };
  return sensors
    .filter((sensor) => sensor.kind === kind && move(sensor) >= 0 && sensor.name !== 'cpu slowest')
    .sort((a, b) => decides(b) - decides(a) || move(b) - move(a))
    .slice(0, mostLines);
}

/** null if nothing was sampled. */
export function machineFigure({ series, sampling }: MachineState): Figure | null {
  if (!series || series.atMs.length < 2) return null;
  const rows = (Object.keys(kinds) as SensorSeries['kind'][]).flatMap((kind) => {
    const sensors = chosen(series.sensors, kind);
    return sensors.length === 0 ? [] : [{ kind, sensors }];
  });
  if (rows.length === 0) return null;
  const { atMs, throttling, measuredFromMs } = series;
  const spans = throttling.map(
    ({ reason, fromMs, toMs }) =>
      `${reason} from ${figure(fromMs / 1000)} s${toMs > fromMs ? ` to ${figure(toMs / 1000)} s` : ''}`,
  );
  const cost = sampling ? `, for ${figure(sampling.costPercent)} % of a core` : '';
  return {
    id: 'machine-series',
    title: 'Machine over the run',
    description: `${rows.map(({ kind }) => kinds[kind]).join('; ')} of the machine against time.`,
    spec: stacked(
      rows.map((row, i) => plotOf(series, row.kind, row.sensors, i === rows.length - 1)),
      10,
    ),
    caption:
      `The sensors as they were read while the policies ran, ${atMs.length} times${cost}. A line that is broken was not read there.` +
      (measuredFromMs === undefined ? '' : ' Measuring begins at the dashed line; before it is warm-up.') +
      (spans.length === 0 ? '' : ` Shaded: the machine was slowed (${spans.join('; ')}).`),
    table: tableOf(series),
  };
}

function plotOf(
  series: MachineSeries,
  kind: SensorSeries['kind'],
  sensors: readonly SensorSeries[],
  isLast: boolean,
): object {
  const { throttling, measuredFromMs } = series;
  const seconds = series.atMs.map((at) => at / 1000);
  const domain = [seconds[0]!, seconds.at(-1)!] as const;
  const line = byLine(
    'sensor',
    sensors.map(({ name }) => name),
  );
  const legend = { orient: 'right', offset: 6, symbolType: 'stroke', symbolSize: 160, labelLimit: 130 };
  const x = (field: string) =>
    quantity(field, isLast ? 'since the start of the run, s' : null, {
      scale: { domain, nice: false, zero: false },
      axis: { labels: isLast, ticks: isLast, grid: false },
    });
  const scale = kind === 'load' ? { domain: [0, 100] } : { zero: false, nice: true };
  // what a single sample saw is still a mark that is seen
  const least = (domain[1] - domain[0]) / 200;
  const slowed = throttling.map(({ fromMs, toMs }) => ({
    from: fromMs / 1000,
    to: Math.max(toMs / 1000, fromMs / 1000 + least),
  }));
  const points = sensors.flatMap(({ name, values }) =>
    thinned(
      values.map((value, i) => ({ seconds: seconds[i]!, value })),
      240,
    ).map((point) => ({ ...point, sensor: name })),
  );
  const shade = { type: 'rect', color: color.series2, opacity: 0.22 };
  const rule = { type: 'rule', color: color.ink, strokeDash: [4, 3], strokeWidth: 1 };
  const lines = { type: 'line', strokeWidth: 1.8, interpolate: kind === 'clock' ? 'step-after' : 'linear' };
  return {
    title: { text: kinds[kind] },
    // beside it stand the names of the lines
    width: 500,
    height: 74,
    layer: [
      ...(slowed.length === 0
        ? []
        : [{ data: { values: slowed }, mark: shade, encoding: { x: x('from'), x2: { field: 'to' } } }]),
      ...(measuredFromMs === undefined
        ? []
        : [{ data: { values: [{ at: measuredFromMs / 1000 }] }, mark: rule, encoding: { x: x('at') } }]),
      {
        data: { values: points },
        mark: lines,
        encoding: {
          x: x('seconds'),
          y: quantity('value', null, { scale, axis: { tickCount: 3 } }),
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
      const missing = `${atMs.length - known.length} of ${atMs.length}`;
      if (known.length === 0) return [`${kind} ${name}`, unit, null, null, null, null, null, missing];
      const ascending = sorted(known);
      const middle = [ascending[0]!, medianOf(ascending), ascending.at(-1)!];
      return [`${kind} ${name}`, unit, known[0]!, ...middle, known.at(-1)!, missing];
    }),
  };
}
