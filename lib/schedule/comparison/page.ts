/** A comparison as one HTML file that needs nothing else. Pure. */

import type { Comparison } from './compareModes.ts';
import { costPlot, horizonPlot, latencyPlot, tracePlot, tradePlot } from './plots.ts';
import { escaped, figure } from './svg.ts';

/** The plots by name, each an SVG file of its own. */
export function comparisonPlots(comparison: Comparison): Readonly<Record<string, string>> {
  return {
    trade: tradePlot(comparison),
    cost: costPlot(comparison),
    trace: tracePlot(comparison),
    horizon: horizonPlot(comparison),
    latency: latencyPlot(comparison),
  };
}

const style = `
body { margin: 0; background: #f5f7fa; color: #1f2933; font: 16px/1.5 system-ui, "Segoe UI", sans-serif; }
main { max-width: 1000px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 26px; margin: 8px 0; }
figure { margin: 22px 0; background: #fff; border: 1px solid #e4e7eb; border-radius: 8px; padding: 14px; overflow-x: auto; }
figure svg { max-width: 100%; height: auto; display: block; }
figcaption { color: #52606d; font-size: 14px; margin-top: 8px; max-width: 75ch; }
table { border-collapse: collapse; width: 100%; background: #fff; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 6px 10px; border-bottom: 1px solid #e4e7eb; }
th:first-child, td:first-child { text-align: left; }
th { color: #52606d; font-weight: 600; }
p { max-width: 75ch; }
code { background: #e4e7eb; border-radius: 3px; padding: 0 4px; }`;

const captions: Readonly<Record<string, string>> = {
  trade:
    'Lower left is better. Whoever reacts at once pays with jerk, also with no latency at all (hollow); what a mode has beyond that are its seams. A mode far right looks up too rarely, or averages new plans with old ones.',
  cost: 'An idle tick holds the last position: the robot stutters. An old observation means acting on a world that has moved on; where several plans are mixed, the oldest still has its share.',
  trace: 'The same target for all. Look for flat pieces (waiting) and for teeth (seams between chunks).',
  horizon:
    'Short horizons look more often. Open loop pays for each look with waiting; asynchronous does not, up to the horizon at which the rest of the chunk no longer covers the latency.',
  latency: 'What the modes were run with.',
};

export function comparisonPage(comparison: Comparison): string {
  const { latency, rate, chunk, maxAge, lost, seconds, seed, modes, ideal } = comparison;
  const rows = [...modes, { name: 'no latency, asked every tick', figures: ideal }].map(
    ({ name, figures }) => {
      const { reaction, jerk, idle, newestAge, oldestAge } = figures;
      const cells = [
        reaction.median,
        reaction.p90,
        jerk,
        Math.round(1000 * idle) / 10,
        newestAge,
        oldestAge,
      ].map((value) => `<td>${figure(value)}</td>`);
      return `<tr><td>${escaped(name)}</td>${cells.join('')}</tr>`;
    },
  );
  const heads = [
    'mode',
    'reaction, median ms',
    '90 % ms',
    'jerk, RMS rad/s³',
    'idle %',
    'newest observation, ms',
    'oldest, ms',
  ];
  const figures = Object.entries(comparisonPlots(comparison)).map(
    ([name, svg]) => `<figure>${svg}<figcaption>${escaped(captions[name]!)}</figcaption></figure>`,
  );
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Choosing a mode</title>
<style>${style}</style>
<main>
<h1>Choosing a mode</h1>
<p>Latency <code>${escaped(latency)}</code>${lost > 0 ? `, ${figure(100 * lost)} % of calls lost` : ''}, ${figure(rate)} ticks a second,
chunks of ${chunk} rows, observations used up to ${figure(maxAge)} ms. ${seconds} simulated seconds of each mode, seed ${seed}: the same numbers every time.</p>
<p>One joint follows a target that jumps every few seconds; the policy plans an approach from what it sees, each plan a little wrong in
its own way. This ranks modes for a latency. It says nothing about success on a task: try the two or three best on the robot.</p>
<table><thead><tr>${heads.map((head) => `<th>${escaped(head)}</th>`).join('')}</tr></thead><tbody>${rows.join('')}</tbody></table>
${figures.join('\n')}
</main>
</html>
`;
}
