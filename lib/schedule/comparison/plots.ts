/** The four plots of a comparison, each a picture that stands by itself. Pure. */

import type { Comparison, ModeResult } from './compareModes.ts';
import { quantile, type Sample } from './figures.ts';
import { axes, bar, dot, figure, ink, line, palette, path, picture, scale, text } from './svg.ts';

const colorOf = (i: number): string => palette[i % palette.length]!;

/** Commands around jumps of the target, one panel a mode; held ticks are marked. */
export function tracePlot({ modes, rate }: Comparison): string {
  const width = 960;
  const columns = 2;
  const panel = { width: 400, height: 110, gapX: 60, gapY: 46, left: 50, top: 62 };
  const rows = Math.ceil(modes.length / columns);
  const height = panel.top + rows * (panel.height + panel.gapY) + 6;
  const seconds = 5;
  const from = 6000;
  const parts = [
    text(20, 24, 'What the robot is sent', { size: 16, bold: true }),
    text(
      20,
      43,
      'Thin line: the target, which jumps. Colour: commands. Hollow marks on the base line: ticks that held.',
      {
        color: ink.quiet,
      },
    ),
  ];
  modes.forEach(({ name, samples }, i) => {
    const left = panel.left + (i % columns) * (panel.width + panel.gapX);
    const top = panel.top + Math.floor(i / columns) * (panel.height + panel.gapY) + 18;
    const x = scale(0, seconds, left, left + panel.width);
    const y = scale(-1, 1, top + panel.height - 22, top + 4, 2);
    const shown = samples.filter(({ at }) => at >= from && at <= from + 1000 * seconds);
    const at = (sample: Sample): number => x((sample.at - from) / 1000);
    parts.push(
      text(left, top - 5, name, { bold: true, color: colorOf(i) }),
      ...[-1, 0, 1].map((tick) => line(left, y(tick), left + panel.width, y(tick), ink.grid)),
      ...[-1, 0, 1].map((tick) =>
        text(left - 7, y(tick) + 4, String(tick), { size: 11, anchor: 'end', color: ink.quiet }),
      ),
      ...x.ticks.map((tick) =>
        text(x(tick), top + panel.height + 6, `${tick} s`, { size: 11, anchor: 'middle', color: ink.quiet }),
      ),
      path(steps(shown.map((sample) => [at(sample), y(sample.target)])), ink.axis, 1.2),
      path(steps(shown.map((sample) => [at(sample), y(sample.command)])), colorOf(i), 1.8),
      // at most some hundred marks a panel
      ...(rate <= 100 ? shown.filter(({ held }) => held) : []).map((sample) =>
        dot(at(sample), top + panel.height - 12, colorOf(i), 2.2, true),
      ),
    );
  });
  return picture(width, height, 'Commands over time for each mode', parts);
}

/** Commands are kept until the next. */
function steps(points: readonly (readonly [number, number])[]): (readonly [number, number])[] {
  return points.flatMap(([x, y], i) =>
    i === 0 ? [[x, y] as const] : [[x, points[i - 1]![1]] as const, [x, y] as const],
  );
}

/** Smoothness against reaction: lower left is better. */
export function tradePlot({ modes, ideal }: Comparison): string {
  const frame = { left: 74, top: 84, width: 600, height: 320 };
  const reactions = modes.map(({ figures }) => figures.reaction.p90);
  const jerks = modes.map(({ figures }) => figures.jerk);
  const x = scale(
    0,
    Math.max(...reactions, ideal.reaction.median) * 1.05,
    frame.left,
    frame.left + frame.width,
  );
  const y = scale(0, Math.max(...jerks, ideal.jerk) * 1.05, frame.top + frame.height, frame.top);
  const best = x(ideal.reaction.median);
  const parts = [
    text(20, 24, 'Smooth or quick', { size: 16, bold: true }),
    text(
      20,
      43,
      'Reaction to a jump of the target (dot: median, bar: to what 9 of 10 stay under) and jerk of the commands.',
      {
        color: ink.quiet,
      },
    ),
    ...axes(frame, x, y, 'reaction, ms', 'jerk, RMS, rad/s³'),
    line(best, frame.top, best, frame.top + frame.height, ink.axis, 1, '4 4'),
    dot(best, y(ideal.jerk), ink.axis, 6, true),
    text(best + 6, frame.top + 12, 'no latency', { size: 11, color: ink.quiet }),
    // no bar over another mode's dot
    ...modes.map(({ figures: { jerk, reaction } }, i) =>
      line(x(reaction.median), y(jerk), x(reaction.p90), y(jerk), colorOf(i), 2),
    ),
    ...modes.map(({ figures: { jerk, reaction } }, i) => dot(x(reaction.median), y(jerk), colorOf(i), 6)),
    ...legend(modes, frame.left + frame.width + 36, frame.top + 10),
  ];
  return picture(960, frame.top + frame.height + 52, 'Jerk against reaction time for each mode', parts);
}

function legend(modes: readonly ModeResult[], left: number, top: number): string[] {
  return modes.flatMap(({ name }, i) => [
    dot(left, top + 24 * i, colorOf(i), 6),
    text(left + 14, top + 24 * i + 4, name),
  ]);
}

/** Idle ticks and ages of observations, one row a mode. */
export function costPlot({ modes }: Comparison): string {
  const label = 190;
  const barHeight = 18;
  const rowHeight = 32;
  const top = 92;
  const left = { idle: label, age: label + 370 };
  const width = 300;
  const bottom = top + modes.length * rowHeight;
  const idle = scale(
    0,
    Math.max(5, ...modes.map(({ figures }) => 100 * figures.idle)),
    left.idle,
    left.idle + width,
    4,
  );
  const age = scale(
    0,
    Math.max(...modes.map(({ figures }) => figures.oldestAge)),
    left.age,
    left.age + width,
    4,
  );
  const parts = [
    text(20, 24, 'Waiting and looking back', { size: 16, bold: true }),
    text(
      20,
      43,
      'Left: ticks without an action. Right: mean age of what an action rests on: newest (full) and oldest (pale) observation.',
      {
        color: ink.quiet,
      },
    ),
    text(left.idle, top - 12, 'idle ticks, %', { color: ink.quiet }),
    text(left.age, top - 12, 'age of observations, ms', { color: ink.quiet }),
    ...[idle, age].flatMap((x) =>
      x.ticks.flatMap((tick) => [
        line(x(tick), top - 4, x(tick), bottom, ink.grid),
        text(x(tick), bottom + 15, figure(tick), { size: 11, anchor: 'middle', color: ink.quiet }),
      ]),
    ),
  ];
  modes.forEach(({ name, figures }, i) => {
    const y = top + i * rowHeight + (rowHeight - barHeight) / 2;
    const share = 100 * figures.idle;
    const ages = [...new Set([figures.newestAge, figures.oldestAge].map(Math.round))];
    parts.push(
      text(label - 12, y + 13, name, { anchor: 'end' }),
      bar(left.idle, y, idle(share) - left.idle, barHeight, colorOf(i)),
      text(idle(share) + 6, y + 13, figure(Math.round(share * 10) / 10), { size: 11 }),
      bar(left.age, y, age(figures.oldestAge) - left.age, barHeight, colorOf(i), 0.3),
      bar(left.age, y, age(figures.newestAge) - left.age, barHeight, colorOf(i)),
      text(age(figures.oldestAge) + 6, y + 13, ages.map(figure).join(' to '), { size: 11 }),
    );
  });
  return picture(960, bottom + 30, 'Idle ticks and age of observations for each mode', parts);
}

/** What the horizon does, for the two modes that have one. */
export function horizonPlot({ sweeps, chunk }: Comparison): string {
  const frames = [
    { left: 64, top: 84, width: 250, height: 210 },
    { left: 380, top: 84, width: 250, height: 210 },
    { left: 696, top: 84, width: 250, height: 210 },
  ];
  const series = [
    { name: 'open loop', color: palette[0]!, points: sweeps.openLoop },
    { name: 'asynchronous', color: palette[2]!, points: sweeps.asynchronous },
  ];
  const all = series.flatMap(({ points }) => points);
  const values = [
    { name: 'reaction, median, ms', of: (p: (typeof all)[number]) => p.figures.reaction.median },
    { name: 'idle ticks, %', of: (p: (typeof all)[number]) => 100 * p.figures.idle },
    { name: 'jerk, RMS, rad/s³', of: (p: (typeof all)[number]) => p.figures.jerk },
  ];
  const parts = [
    text(20, 24, 'Choosing a horizon', { size: 16, bold: true }),
    text(20, 43, 'Rows executed before the next chunk is asked for.', { color: ink.quiet }),
    ...series.flatMap(({ name, color }, i) => [
      dot(420 + 130 * i, 39, color, 5),
      text(432 + 130 * i, 43, name),
    ]),
  ];
  values.forEach(({ name, of }, i) => {
    const frame = frames[i]!;
    const x = scale(0, chunk, frame.left, frame.left + frame.width, 4);
    const y = scale(
      0,
      Math.max(1, ...all.map(of).filter(Number.isFinite)),
      frame.top + frame.height,
      frame.top,
      4,
    );
    parts.push(...axes(frame, x, y, 'horizon, rows', name));
    for (const { color, points } of series) {
      const drawn = points.filter((point) => Number.isFinite(of(point)));
      parts.push(
        path(
          drawn.map((point) => [x(point.horizon), y(of(point))]),
          color,
        ),
        ...drawn.map((point) => dot(x(point.horizon), y(of(point)), color, 3.5)),
      );
    }
  });
  return picture(960, 348, 'Reaction, idle ticks and jerk against the horizon', parts);
}

/** The latencies it was all done with. */
export function latencyPlot({ latencies, latency, rate }: Comparison): string {
  const frame = { left: 64, top: 74, width: 850, height: 120 };
  const high = quantile(latencies, 0.995);
  const x = scale(0, high || 1, frame.left, frame.left + frame.width, 10);
  const bins = 60;
  const counts = new Array<number>(bins).fill(0);
  for (const ms of latencies) {
    const bin = Math.floor((ms / x.domain[1]) * bins);
    if (bin < bins) counts[bin]!++;
  }
  const most = Math.max(...counts);
  const binWidth = frame.width / bins;
  const bottom = frame.top + frame.height;
  const parts = [
    text(20, 24, `Latency: ${latency}`, { size: 16, bold: true }),
    text(
      20,
      43,
      `Median ${figure(quantile(latencies, 0.5))} ms, 99 of 100 under ${figure(quantile(latencies, 0.99))} ms. Dashed: one tick, ${figure(1000 / rate)} ms.`,
      { color: ink.quiet },
    ),
    ...counts.map((count, i) => {
      const height = (count / most) * frame.height;
      return bar(frame.left + i * binWidth, bottom - height, binWidth - 1, height, palette[2]!, 0.75);
    }),
    line(frame.left, bottom, frame.left + frame.width, bottom, ink.axis),
    ...x.ticks.map((tick) =>
      text(x(tick), bottom + 17, figure(tick), { size: 11, anchor: 'middle', color: ink.quiet }),
    ),
    text(frame.left + frame.width / 2, bottom + 35, 'ms', { anchor: 'middle', color: ink.quiet }),
    ...(1000 / rate <= x.domain[1]
      ? [line(x(1000 / rate), frame.top - 6, x(1000 / rate), bottom, ink.text, 1, '4 4')]
      : []),
  ];
  return picture(960, bottom + 46, `Histogram of latencies, ${latency}`, parts);
}
