/** A comparison as one HTML file that needs nothing else. */

import { drawPlot } from '../../lib/plots/drawPlot.ts';
import { type Figure, figure, paragraph, percent, plotFigure, table } from '../../lib/plots/html.ts';
import { page } from '../../lib/plots/page.ts';
import { asFile } from './asFile.ts';
import type { Comparison } from './compareModes.ts';
import { costFigure, horizonFigure, latencyFigure, traceFigure, tradeFigure } from './plots.ts';

const figuresOf = (comparison: Comparison): readonly Figure[] =>
  [tradeFigure, costFigure, traceFigure, horizonFigure, latencyFigure].map((make) => make(comparison));

/** The plots by name, each an SVG file of its own. */
export async function comparisonPlots(comparison: Comparison): Promise<Readonly<Record<string, string>>> {
  const files: Record<string, string> = {};
  for (const plot of figuresOf(comparison)) files[plot.id] = asFile(await drawPlot(plot));
  return files;
}

/** A comparison as one HTML page. */
export async function comparisonPage(comparison: Comparison): Promise<string> {
  const { latency, rate, chunk, maxAge, lost, seconds, seed } = comparison;
  const drawn: string[] = [];
  for (const plot of figuresOf(comparison)) drawn.push(await plotFigure(plot));
  const calls = lost > 0 ? `, ${percent(lost)} of calls lost` : '';
  return page(
    'Choosing a mode',
    `Latency ${latency}${calls}, ${figure(rate)} ticks a second, chunks of ${chunk} rows, observations used up to ${figure(maxAge)}\u00a0ms.`,
    [
      paragraph(
        'One joint follows a target that jumps every few seconds; the policy plans an approach from what it sees, each plan a ' +
          'little wrong in its own way. This ranks modes for a latency. It says nothing about success on a task: try the two or ' +
          `three best on the robot. ${figure(seconds)} simulated seconds of each mode, seed ${seed}: the same numbers every time.`,
      ),
      figuresTable(comparison),
      ...drawn,
    ],
  );
}

function figuresTable({ modes, ideal }: Comparison): string {
  return table({
    caption: '',
    head: [
      'mode',
      'reaction, median ms',
      '9 of 10 under, ms',
      'jerk, RMS rad/s³',
      'idle %',
      'newest observation, ms',
      'oldest, ms',
    ],
    rows: [...modes, { name: 'no latency, asked every tick', figures: ideal }].map(({ name, figures }) => {
      const { reaction, jerk, idle, newestAge, oldestAge } = figures;
      const share = Math.round(1000 * idle) / 10;
      return [name, reaction.median, reaction.p90, jerk, share, newestAge, oldestAge];
    }),
  });
}
