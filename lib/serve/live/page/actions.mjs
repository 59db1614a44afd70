/** Each dimension of the actions over time: chunk over chunk, what was sent, where it held or was limited. */

import { pictureOf, rowStep, seen } from './history.mjs';
import { byId, element, figure, gutter, label, shape, width } from './marks.mjs';

const rowHeight = 48;
const rowGap = 8;

/** Lowest and highest of each dimension. One that hardly moves is not magnified: its noise would look like motion. */
function extentsOf(chunks, sent, columns) {
  const extents = Array.from({ length: columns }, (_, d) => {
    let low = Number.POSITIVE_INFINITY;
    let high = Number.NEGATIVE_INFINITY;
    const take = (value) => {
      if (value < low) low = value;
      if (value > high) high = value;
    };
    for (const { actions } of chunks) for (let i = d; i < actions.length; i += columns) take(actions[i]);
    for (const { values } of sent) take(values[d]);
    return low <= high ? [low, high] : [-1, 1];
  });
  const least = 0.02 * Math.max(...extents.map(([low, high]) => high - low)) || 1;
  return extents.map(([low, high]) => {
    const more = Math.max(0, least - (high - low)) / 2;
    return [low - more, high + more];
  });
}

export function drawActions(robot, now) {
  const svg = byId('actions');
  const { ms: spacing, how } = rowStep(robot, Number(byId('rate').value));
  const columns = seen.facts.dimensions.length;
  const windowMs = 1000 * Number(byId('window').value);
  const chunks = robot.chunks.filter(({ at, rows }) => at + rows * spacing > now - windowMs);
  const picture = seen.frozen === null ? undefined : pictureOf(robot);
  const bold = chunks.find(({ number }) => number === picture?.number) ?? chunks.at(-1);
  const sent = robot.sent.filter(({ at, values }) => at > now - windowMs && values.length === columns);
  const events = robot.events.filter(({ at }) => at > now - windowMs);
  const ahead = bold === undefined ? 0 : Math.min(bold.rows * spacing, windowMs);
  const from = now - windowMs;
  const x = (at) => gutter + ((at - from) / (windowMs + ahead)) * (width - gutter);
  const height = columns * (rowHeight + rowGap) + 22;
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  const parts = [
    shape('clipPath', { id: 'in' }, shape('rect', { x: gutter, y: 0, width: width - gutter, height })),
  ];
  const held = sent.filter((row) => row.held);
  const extents = extentsOf(chunks, sent, columns);
  for (const [d, name] of seen.facts.dimensions.entries()) {
    const top = d * (rowHeight + rowGap);
    const [low, high] = extents[d];
    const room = 0.08 * (high - low);
    const y = (value) => top + rowHeight - ((value - low + room) / (high - low + 2 * room)) * rowHeight;
    const path = (chunk, first, count) =>
      Array.from({ length: Math.max(0, count) }, (_, i) => {
        const row = first + i;
        return `${i === 0 ? 'M' : 'L'}${x(chunk.at + row * spacing).toFixed(1)} ${y(chunk.actions[row * columns + d]).toFixed(1)}`;
      }).join('');
    parts.push(
      shape('rect', {
        x: gutter,
        y: top,
        width: width - gutter,
        height: rowHeight,
        fill: 'var(--grid)',
        'fill-opacity': 0.35,
      }),
      label(gutter - 10, top + 19, name, { 'text-anchor': 'end', fill: 'var(--ink)' }),
      label(gutter - 10, top + 35, `${figure(low)} to ${figure(high)}`, {
        'text-anchor': 'end',
        'font-size': 10,
      }),
    );
    const lines = shape('g', { 'clip-path': 'url(#in)', fill: 'none', 'stroke-linejoin': 'round' });
    for (const [i, chunk] of chunks.entries()) {
      if (chunk === bold) continue;
      const stroke = chunk.number % 2 === 0 ? 'var(--series1)' : 'var(--series3)';
      const next = chunks[i + 1];
      // up to the next answer it may have been played; what comes after it was replaced, if the client replaces
      const played = next === undefined ? chunk.rows : Math.ceil((next.answeredAt - chunk.at) / spacing) + 1;
      const until = Math.min(chunk.rows, Math.max(1, played));
      lines.append(
        shape('path', { d: path(chunk, until - 1, chunk.rows - until + 1), stroke, 'stroke-opacity': 0.25 }),
        shape('path', {
          d: path(chunk, 0, until),
          stroke,
          'stroke-opacity': 0.85,
          'stroke-width': 1.5,
          class: 'earlier',
        }),
      );
    }
    if (bold !== undefined) {
      lines.append(
        shape('path', {
          d: path(bold, 0, bold.rows),
          stroke: 'var(--ink)',
          'stroke-width': 2.4,
          class: 'bold',
        }),
      );
      for (let row = 0; row < bold.rows; row++)
        lines.append(
          shape('circle', {
            cx: x(bold.at + row * spacing),
            cy: y(bold.actions[row * columns + d]),
            r: 2.6,
            fill: 'var(--ink)',
          }),
        );
    }
    // what the loop says that it sent: each value stands until the next one
    const steps = sent.map(
      (row, i) =>
        `${i === 0 ? 'M' : `H${x(row.at).toFixed(1)}V`}${i === 0 ? `${x(row.at).toFixed(1)} ` : ''}${y(row.values[d]).toFixed(1)}`,
    );
    lines.append(
      shape('path', { d: steps.join(''), stroke: 'var(--series2)', 'stroke-width': 1.8, class: 'sent' }),
    );
    for (const row of held)
      lines.append(
        shape('path', {
          d: `M${x(row.at).toFixed(1)} ${top}v${rowHeight}`,
          stroke: 'var(--bad)',
          'stroke-opacity': 0.5,
          'stroke-width': 2,
          class: 'held',
        }),
      );
    for (const { at, dimensions, type } of events)
      if (type === 'limited' && dimensions.includes(name))
        lines.append(
          shape('path', {
            d: `M${(x(at) - 4).toFixed(1)} ${top}h8l-4 7z`,
            fill: 'var(--series5)',
            class: 'limited',
          }),
        );
    parts.push(lines);
  }
  const bottom = columns * (rowHeight + rowGap) - rowGap;
  parts.push(
    shape('path', { d: `M${x(now)} 0V${bottom}`, stroke: 'var(--axis)', 'stroke-dasharray': '3 3' }),
    label(x(now), bottom + 17, seen.frozen === null ? 'now' : 'frozen', { 'text-anchor': 'middle' }),
  );
  const tick = [0.5, 1, 2, 5, 10, 20].find((size) => windowMs / 1000 / size <= 8) ?? 20;
  for (let back = tick; back * 1000 <= windowMs; back += tick)
    parts.push(label(x(now - back * 1000), bottom + 17, `-${figure(back)} s`, { 'text-anchor': 'middle' }));
  svg.replaceChildren(...parts);
  byId('actions-note').textContent =
    `Row 0 stands at the time of its request, rows ${figure(spacing)} ms apart (${how}). A chunk is drawn full up to the next answer, faint after it. ` +
    (robot.reports
      ? 'What was sent is what its loop reports.'
      : 'What was sent to the robot is not known: its client reports nothing.');
}

export function drawLegend() {
  const line = (stroke, more = {}) =>
    shape('path', { d: 'M1 7h24', stroke, 'stroke-width': 2, fill: 'none', ...more });
  const entries = [
    [line('var(--ink)', { 'stroke-width': 2.6 }), 'newest chunk, or that of the picture'],
    [
      shape('g', {}, line('var(--series1)', { d: 'M1 5h13' }), line('var(--series3)', { d: 'M12 9h13' })),
      'earlier chunks in turns',
    ],
    [line('var(--series2)'), 'sent to the robot, as reported'],
    [line('var(--bad)', { d: 'M13 0v14' }), 'HOLD, as reported'],
    [shape('path', { d: 'M9 3h8l-4 7z', fill: 'var(--series5)' }), 'a limit changed it, as reported'],
  ];
  byId('legend').replaceChildren(
    ...entries.map(([mark, words]) =>
      element('span', {}, shape('svg', { width: 26, height: 14, 'aria-hidden': 'true' }, mark), words),
    ),
  );
}
