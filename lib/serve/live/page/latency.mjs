/** The last requests as bars, the deadline as a line. */

import { isLate, seen } from './history.mjs';
import { byId, figure, gutter, label, quantile, shape, width } from './marks.mjs';

/** Bars for which there is room at least: few are not drawn as wide as the page. */
const fewest = 60;

export function drawLatency(robot, now) {
  const height = 130;
  const svg = byId('latency');
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  const { requests } = robot;
  const open = robot.open !== null && seen.frozen === null ? now - robot.open.at : 0;
  const times = requests.map(({ ms = 0 }) => ms);
  const { deadlineMs } = seen.facts;
  const sorted = requests.flatMap(({ ms }) => (ms === undefined ? [] : [ms])).sort((a, b) => a - b);
  const top = 1.2 * Math.max(1, deadlineMs ?? 0, open, ...times);
  const y = (ms) => height - 8 - (ms / top) * (height - 16);
  const slot = (width - gutter) / Math.max(fewest, requests.length + 1);
  const left = (i) => width - slot * (requests.length + 1 - i);
  const bar = (i, from, to, fill, more = {}) =>
    shape('rect', {
      x: left(i).toFixed(1),
      y: y(to).toFixed(1),
      width: Math.max(1, slot - 1),
      height: Math.max(0, y(from) - y(to)).toFixed(1),
      fill,
      ...more,
    });
  const parts = [];
  for (const [i, { ms, waitMs, code }] of requests.entries()) {
    if (code !== undefined) {
      parts.push(
        shape('path', {
          d: `M${left(i)} ${y(0) - 7}l5 6m0 -6l-5 6`,
          stroke: 'var(--series2)',
          'stroke-width': 1.8,
          class: 'refused',
        }),
      );
      continue;
    }
    parts.push(
      bar(i, 0, waitMs, 'var(--axis)'),
      bar(i, waitMs, ms, isLate(ms) ? 'var(--bad)' : 'var(--series1)', { class: 'request' }),
    );
  }
  if (open > 0)
    parts.push(
      bar(requests.length, 0, open, isLate(open) ? 'var(--bad)' : 'var(--warn-edge)', { class: 'open' }),
    );
  const line = (ms, text, stroke, dash) => {
    if (!Number.isFinite(ms)) return;
    parts.push(
      shape('path', {
        d: `M${gutter} ${y(ms).toFixed(1)}H${width}`,
        stroke,
        'stroke-dasharray': dash,
        'stroke-width': 1.4,
        class: 'line',
      }),
      label(gutter - 10, y(ms) + 4, text, { 'text-anchor': 'end', fill: 'var(--ink)' }),
    );
  };
  const p50 = quantile(sorted, 0.5);
  const p99 = quantile(sorted, 0.99);
  line(p50, `p50 ${figure(p50)} ms`, 'var(--quiet)', '2 4');
  // names of lines that lie close together would cover each other
  if (Math.abs(y(p99) - y(p50)) > 13) line(p99, `p99 ${figure(p99)} ms`, 'var(--quiet)', '6 4');
  if (deadlineMs !== null) {
    line(deadlineMs, '', 'var(--bad)', 'none');
    const place = { 'font-size': 11, fill: 'var(--bad)' };
    parts.push(label(gutter + 4, y(deadlineMs) - 4, `deadline ${figure(deadlineMs)} ms`, place));
  }
  svg.replaceChildren(...parts);
  byId('latency-note').textContent =
    `The last ${requests.length} requests, from a request that is read to its chunk. Grey: waiting for a turn; red: over the deadline; a cross: refused or gone; ` +
    `amber: under way. ${deadlineMs === null ? 'No deadline was given (serve --deadline MS).' : `Red line: the deadline, ${figure(deadlineMs)} ms.`}`;
}
