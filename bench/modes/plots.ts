/** The plots of a comparison, as descriptions that lib/plots draws: each a picture that stands by itself. Pure. */

import type { PlotSpec } from '../../lib/plots/drawPlot.ts';
import { type Figure, figure } from '../../lib/plots/html.ts';
import { color, series } from '../../lib/plots/palette.ts';
import type { Comparison, ModeResult, SweepPoint } from './compareModes.ts';
import { quantile, type Sample } from './figures.ts';

/** Told apart without their colours too. */
const shapes = ['circle', 'square', 'diamond', 'triangle-up', 'triangle-down', 'cross', 'triangle-right'];
/** Open loop in what recedes, asynchronous first among the others. */
const colors = [6, 4, 0, 1, 2, 3, 5].map((i) => series[i]!);

const colorOf = (i: number): string => colors[i % colors.length]!;

const quantitative = 'quantitative';

/** Title and explanation inside the picture, for files of their own. */
const heading = (text: string, ...subtitle: string[]): object => ({
  text,
  subtitle,
  fontSize: 16,
  frame: 'bounds',
  subtitlePadding: 5,
  offset: 16,
});

/** Colour and shape by mode, in the order of the modes. */
function byMode(modes: readonly ModeResult[], legend: object | null): { color: object; shape: object } {
  const domain = modes.map(({ name }) => name);
  const mode = { field: 'name', type: 'nominal', title: null, legend };
  return {
    color: { ...mode, scale: { domain, range: domain.map((_, i) => colorOf(i)) } },
    shape: { ...mode, scale: { domain, range: domain.map((_, i) => shapes[i % shapes.length]!) } },
  };
}

/** Smoothness against reaction: lower left is better. */
export function tradeFigure({ modes, ideal }: Comparison): Figure {
  const values = modes
    .map(({ name, figures: { jerk, reaction } }) => ({ name, jerk, ...reaction }))
    .filter(({ jerk, median, p90 }) => [jerk, median, p90].every(Number.isFinite));
  const best = { jerk: ideal.jerk, median: ideal.reaction.median, label: 'no latency' };
  const upTo = (most: number): object => ({ domain: [0, most], nice: false });
  const x = {
    type: quantitative,
    title: 'reaction, ms',
    scale: upTo(1.06 * Math.max(1, best.median || 0, ...values.map(({ p90 }) => p90))),
    axis: { grid: false, tickCount: 6 },
  };
  const y = {
    field: 'jerk',
    type: quantitative,
    title: 'jerk, RMS, rad/s³',
    // room for the words above the highest mark
    scale: upTo(1.16 * Math.max(1e-3, best.jerk || 0, ...values.map(({ jerk }) => jerk))),
    axis: { tickCount: 6 },
  };
  const at = { x: { field: 'median', ...x }, y };
  const noLatency = { data: { values: Number.isFinite(best.median) ? [best] : [] } };
  const styled = byMode(modes, { orient: 'right', offset: 28, symbolOpacity: 1, rowPadding: 6 });
  const spec = {
    title: heading(
      'Smooth or quick',
      'Reaction to a jump of the target (mark: median, bar: to what 9 of 10 stay under) and jerk of the commands',
    ),
    width: 500,
    height: 290,
    data: { values },
    layer: [
      { ...noLatency, mark: { type: 'rule', strokeDash: [4, 4] }, encoding: { x: at.x } },
      {
        ...noLatency,
        mark: { type: 'text', align: 'left', dx: 6, dy: 6, color: color.quiet },
        encoding: { x: at.x, y: { value: 0 }, text: { field: 'label' } },
      },
      {
        ...noLatency,
        mark: {
          type: 'point',
          size: 130,
          strokeWidth: 2,
          opacity: 1,
          stroke: color.quiet,
          fill: color.paper,
        },
        encoding: at,
      },
      // no bar over another mode's mark
      {
        mark: { type: 'rule', strokeWidth: 2.5 },
        encoding: { ...at, x2: { field: 'p90' }, color: styled.color },
      },
      { mark: { type: 'point', filled: true, size: 150, opacity: 1 }, encoding: { ...at, ...styled } },
    ],
  };
  return {
    id: 'trade',
    title: 'Jerk against reaction time for each mode',
    description: `Reaction in ms and jerk in rad/s³ of ${modes.length} modes, and of the same policy with no latency.`,
    spec: spec as unknown as PlotSpec,
    caption:
      'Lower left is better. Whoever reacts at once pays with jerk, also with no latency at all (hollow); what a mode has beyond that are its seams. A mode far right looks up too rarely, or averages new plans with old ones.',
  };
}

/** Idle ticks and ages of observations, one row a mode. */
export function costFigure({ modes }: Comparison): Figure {
  const values = modes.map(({ name, figures: { idle, newestAge, oldestAge } }) => {
    const ages = [...new Set([newestAge, oldestAge].map(Math.round))];
    return {
      name,
      idle: 100 * idle,
      newest: newestAge,
      oldest: oldestAge,
      idleLabel: figure(Math.round(1000 * idle) / 10),
      agesLabel: ages.map(figure).join(' to '),
    };
  });
  const most = (of: (value: (typeof values)[number]) => number): number =>
    Math.max(...values.map(of).filter(Number.isFinite));
  const { color: colorBy } = byMode(modes, null);
  const name = { field: 'name', type: 'nominal', sort: null, title: null };
  const bar = (field: string, fillOpacity: number): object => ({
    mark: { type: 'bar', height: { band: 0.6 }, fillOpacity },
    encoding: { x: { field }, color: colorBy },
  });
  const label = (field: string, text: string): object => ({
    mark: { type: 'text', align: 'left', dx: 5 },
    encoding: { x: { field }, text: { field: text } },
  });
  const panel = (title: string, high: number, axis: object | null, layer: readonly object[]): object => ({
    width: 262,
    height: { step: 30 },
    encoding: {
      // room for the label of the longest bar
      x: {
        type: quantitative,
        title,
        scale: { domain: [0, 1.34 * high], nice: false },
        axis: { tickCount: 5 },
      },
      y: { ...name, axis },
    },
    layer,
  });
  const spec = {
    title: heading(
      'Waiting and looking back',
      'Left: ticks without an action. Right: mean age of what an action rests on,',
      'newest (full) and oldest (pale) observation.',
    ),
    data: { values },
    spacing: 26,
    hconcat: [
      panel(
        'idle ticks, %',
        Math.max(
          5,
          most(({ idle }) => idle),
        ),
        { ticks: false, domain: false, labelPadding: 8 },
        [bar('idle', 1), label('idle', 'idleLabel')],
      ),
      panel(
        'age of observations, ms',
        Math.max(
          1,
          most(({ oldest }) => oldest),
        ),
        null,
        [bar('oldest', 0.35), bar('newest', 1), label('oldest', 'agesLabel')],
      ),
    ],
  };
  return {
    id: 'cost',
    title: 'Idle ticks and age of observations for each mode',
    description: `Share of ticks that held, and mean age in ms of the newest and the oldest observation behind an action, for ${modes.length} modes.`,
    spec: spec as unknown as PlotSpec,
    caption:
      'An idle tick holds the last position: the robot stutters. An old observation means acting on a world that has moved on; where several plans are mixed, the oldest still has its share.',
  };
}

/** Virtual seconds shown, and where they begin. */
const shown = { from: 6, seconds: 5 };

/** Commands around jumps of the target, one panel a mode; held ticks are marked. */
export function traceFigure({ modes, rate }: Comparison): Figure {
  const spec = {
    title: heading(
      'What the robot is sent',
      'Thin line: the target, which jumps. Thick: commands. Hollow marks below: ticks that held.',
    ),
    columns: 2,
    spacing: { row: 14, column: 22 },
    concat: modes.map((mode, i) => tracePanel(mode, colorOf(i), rate)),
  };
  return {
    id: 'trace',
    title: 'Commands over time for each mode',
    description: `Target and commands in rad over ${shown.seconds} seconds, with the ticks that held, for ${modes.length} modes.`,
    spec: spec as unknown as PlotSpec,
    caption: 'The same target for all. Look for flat pieces (waiting) and for teeth (seams between chunks).',
  };
}

function tracePanel({ name, samples }: ModeResult, stroke: string, rate: number): object {
  const seconds = ({ at }: Sample): number => at / 1000 - shown.from;
  const values = samples
    .filter((sample) => seconds(sample) >= 0 && seconds(sample) <= shown.seconds)
    .map((sample) => ({ s: seconds(sample), ...sample }));
  const x = {
    field: 's',
    type: quantitative,
    title: null,
    scale: { domain: [0, shown.seconds], nice: false },
    axis: { grid: false, tickCount: shown.seconds, labelExpr: "datum.label + ' s'" },
  };
  // the target stays within one radian; below it is room for the marks
  const y = (field: string): object => ({
    field,
    type: quantitative,
    title: null,
    scale: { domain: [-1.5, 1.12], nice: false, clamp: true },
    axis: { values: [-1, 0, 1], domain: false, ticks: false },
  });
  const line = { type: 'line', interpolate: 'step-after' };
  const height = 104;
  return {
    title: { text: name, offset: 2 },
    width: 346,
    height,
    data: { values: values.map(({ s, target, command }) => ({ s, target, command })) },
    layer: [
      { mark: { ...line, color: color.axis, strokeWidth: 1.2 }, encoding: { x, y: y('target') } },
      { mark: { ...line, color: stroke, strokeWidth: 2 }, encoding: { x, y: y('command') } },
      {
        // at most some hundred marks a panel
        data: { values: (rate <= 100 ? values.filter(({ held }) => held) : []).map(({ s }) => ({ s })) },
        mark: {
          type: 'point',
          shape: 'circle',
          filled: false,
          size: 16,
          strokeWidth: 1.4,
          opacity: 1,
          color: stroke,
        },
        encoding: { x, y: { value: height - 9 } },
      },
    ],
  };
}

/** What the horizon does, for the two modes that have one. */
export function horizonFigure({ sweeps, chunk }: Comparison): Figure {
  const modes = [
    { name: 'open loop', points: sweeps.openLoop },
    { name: 'asynchronous', points: sweeps.asynchronous },
  ];
  const domain = modes.map(({ name }) => name);
  const mode = { field: 'name', type: 'nominal', title: null, legend: { columns: 2 } };
  const styled = {
    color: { ...mode, scale: { domain, range: [colors[0], colors[2]] } },
    shape: { ...mode, scale: { domain, range: [shapes[0], shapes[2]] } },
  };
  const panels: readonly (readonly [string, (point: SweepPoint) => number])[] = [
    ['reaction, median, ms', ({ figures }) => figures.reaction.median],
    ['idle ticks, %', ({ figures }) => 100 * figures.idle],
    ['jerk, RMS, rad/s³', ({ figures }) => figures.jerk],
  ];
  const spec = {
    title: heading('Choosing a horizon', 'Rows executed before the next chunk is asked for'),
    spacing: 18,
    hconcat: panels.map(([title, of]) => {
      const values = modes
        .flatMap(({ name, points }) =>
          points.map((point) => ({ name, horizon: point.horizon, value: of(point) })),
        )
        .filter(({ value }) => Number.isFinite(value));
      const highest = Math.max(1, ...values.map(({ value }) => value));
      return {
        width: 188,
        height: 200,
        data: { values },
        encoding: {
          x: {
            field: 'horizon',
            type: quantitative,
            title: 'horizon, rows',
            scale: { domain: [0, chunk], nice: false },
            axis: { grid: false, tickCount: 4, tickMinStep: 1 },
          },
          y: {
            field: 'value',
            type: quantitative,
            title,
            scale: { domain: [0, highest], nice: 4 },
            axis: { tickCount: 4 },
          },
        },
        layer: [
          { mark: { type: 'line', strokeWidth: 2 }, encoding: { color: styled.color } },
          { mark: { type: 'point', filled: true, size: 70, opacity: 1 }, encoding: styled },
        ],
      };
    }),
  };
  return {
    id: 'horizon',
    title: 'Reaction, idle ticks and jerk against the horizon',
    description: `Median reaction in ms, idle ticks in per cent and jerk in rad/s³ for horizons up to ${chunk} rows, open loop and asynchronous.`,
    spec: spec as unknown as PlotSpec,
    caption:
      'Short horizons look more often. Open loop pays for each look with waiting; asynchronous does not, up to the horizon at which the rest of the chunk no longer covers the latency.',
    table: {
      caption: 'horizons',
      head: ['mode and rows', ...panels.map(([title]) => title)],
      rows: modes.flatMap(({ name, points }) =>
        points.map((point) => [`${name}, ${point.horizon}`, ...panels.map(([, of]) => of(point))]),
      ),
    },
  };
}

/** The latencies it was all done with. */
export function latencyFigure({ latencies, latency, rate }: Comparison): Figure {
  const bins = 60;
  const high = 1.02 * (quantile(latencies, 0.995) || 1);
  const counts = new Array<number>(bins).fill(0);
  for (const ms of latencies) if (ms < high) counts[Math.floor((ms / high) * bins)]!++;
  const values = counts.map((count, i) => ({ from: (i * high) / bins, to: ((i + 1) * high) / bins, count }));
  const tick = 1000 / rate;
  const x = { type: quantitative, scale: { domain: [0, high], nice: false } };
  const spec = {
    title: heading(
      `Latency: ${latency}`,
      `Median ${figure(quantile(latencies, 0.5))} ms, 99 of 100 under ${figure(quantile(latencies, 0.99))} ms. ` +
        (tick < high
          ? `Dashed: one tick, ${figure(tick)} ms`
          : `One tick: ${figure(tick)} ms, right of this`),
    ),
    width: 700,
    height: 120,
    layer: [
      {
        data: { values },
        mark: { type: 'bar', color: colors[2], binSpacing: 1 },
        encoding: {
          x: {
            field: 'from',
            bin: 'binned',
            ...x,
            title: 'latency, ms',
            axis: { grid: false, tickCount: 10 },
          },
          x2: { field: 'to' },
          y: { field: 'count', type: quantitative, axis: null },
        },
      },
      {
        data: { values: tick < high ? [{ tick }] : [] },
        mark: { type: 'rule', color: color.ink, strokeDash: [4, 4] },
        encoding: { x: { field: 'tick', ...x } },
      },
    ],
  };
  const shares = [0.01, 0.1, 0.5, 0.9, 0.99, 0.999];
  return {
    id: 'latency',
    title: `Histogram of latencies, ${latency}`,
    description: `How often which latency in ms was drawn, up to what 995 of 1000 stay under, and the length of a tick.`,
    spec: spec as unknown as PlotSpec,
    caption: 'What the modes were run with, without the slowest 5 of 1000.',
    table: {
      caption: 'latency that a share of the calls stays under, ms',
      head: ['', ...shares.map((share) => `${figure(100 * share)} %`)],
      rows: [[latency, ...shares.map((share) => quantile(latencies, share))]],
    },
  };
}
