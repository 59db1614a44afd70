/** The sentence, the figures, the frames, the list and the state. */

import { isLate, pictureOf, seen, shownNow } from './history.mjs';
import { byId, clock, duration, element, figure, quantile, shape } from './marks.mjs';

export function drawSentence(robot) {
  const shown = byId('sentence');
  shown.className = robot.instruction === '' ? 'quiet' : '';
  shown.textContent = robot.instruction === '' ? 'No request of this robot yet.' : `“${robot.instruction}”`;
}

export function drawTiles(robot, now) {
  const times = robot.requests.flatMap(({ ms }) => (ms === undefined ? [] : [ms]));
  const sorted = [...times].sort((a, b) => a - b);
  const last = robot.chunks.at(-1);
  const recent = robot.chunks.filter(({ at }) => at > now - 5000).length;
  const reported = (count) => (robot.reports ? String(count) : 'not reported');
  const { late, refused, held, limited } = robot.count;
  const tiles = [
    [
      times.length === 0 ? '–' : `${figure(times.at(-1))} ms`,
      'last request',
      last !== undefined && isLate(times.at(-1)),
    ],
    [`${figure(quantile(sorted, 0.5))} ms`, `p50 of ${sorted.length}`, isLate(quantile(sorted, 0.5))],
    [`${figure(quantile(sorted, 0.99))} ms`, `p99 of ${sorted.length}`, isLate(quantile(sorted, 0.99))],
    [figure(recent / 5), 'chunks a second'],
    [
      seen.facts.deadlineMs === null ? 'no deadline' : String(late),
      seen.facts.deadlineMs === null ? 'serve --deadline MS' : `over ${figure(seen.facts.deadlineMs)} ms`,
      late > 0,
    ],
    [String(refused), 'refused or gone', refused > 0],
    [reported(held), 'ticks held', held > 0],
    [reported(limited), 'actions limited'],
  ];
  byId('tiles').replaceChildren(
    ...tiles.map(([value, what, isBad = false]) =>
      element('div', isBad ? { class: 'bad' } : {}, element('dd', {}, value), element('dt', {}, what)),
    ),
  );
}

export function drawPictures(robot, now) {
  const picture = pictureOf(robot);
  byId('picture-note').textContent = seen.facts.withoutPictures ?? '';
  if (picture === undefined) {
    byId('cameras').replaceChildren();
    return;
  }
  const { grid, whole } = seen.facts;
  byId('cameras').replaceChildren(
    ...picture.cameras.map(({ camera, jpeg, kept }) => {
      const parts = [];
      if (jpeg !== null) {
        const place = { x: whole.offset, y: whole.offset, width: whole.side, height: whole.side };
        parts.push(
          shape('image', { ...place, preserveAspectRatio: 'none', href: `data:image/jpeg;base64,${jpeg}` }),
        );
      }
      if (kept !== null) {
        const line = {
          d: kept.outline,
          fill: 'none',
          'stroke-linecap': 'square',
          'vector-effect': 'non-scaling-stroke',
        };
        parts.push(
          shape('path', { d: kept.dropped, fill: '#0b1016', 'fill-opacity': 0.5, 'fill-rule': 'evenodd' }),
          shape('path', { ...line, stroke: '#0b1016', 'stroke-opacity': 0.5, 'stroke-width': 4 }),
          shape('path', { ...line, stroke: '#ffd23f', 'stroke-width': 2, class: 'kept' }),
        );
      }
      const note = kept === null ? 'all patches' : `${kept.count} of ${grid ** 2} patches kept`;
      const name = `${camera}, ${note}`;
      return element(
        'div',
        {},
        shape('svg', { viewBox: `0 0 ${grid} ${grid}`, role: 'img', 'aria-label': name }, ...parts),
        name,
      );
    }),
  );
  const chunk = robot.chunks.find(({ number }) => number === picture.number);
  const age =
    chunk === undefined
      ? ''
      : `Request ${picture.number} of ${clock(chunk.at)}, ${duration(now - chunk.at)} ago. `;
  byId('picture-note').textContent =
    `${age}${seen.facts.withoutPictures ?? 'Bright: the patches that the policy kept for this sentence.'}`;
}

export function drawLog() {
  const { robots, log } = shownNow();
  const shown = log.toReversed();
  byId('calm').hidden = shown.length > 0;
  byId('log').replaceChildren(
    ...shown.map(({ kind, at, until, robot, text, times }) => {
      const lasted = times === 1 ? '' : ` · ${times} times in ${duration(until - at)}`;
      const who = robots.size > 1 && robot !== '' ? `${robot}: ` : '';
      return element('li', { class: kind }, element('time', {}, clock(at)), `${who}${text}${lasted}`);
    }),
  );
}

export function drawState(robot) {
  const last = robot.chunks.at(-1);
  byId('state').textContent =
    last === undefined || last.state.length === 0 ? 'none' : last.state.map(figure).join('  ');
}
