/** The live page itself: its connection to the server, its buttons, and when it draws. Nothing is fetched but the events. */

import { drawActions, drawLegend } from './actions.mjs';
import { freeze, listeners, seen, serverNow, shownNow } from './history.mjs';
import { drawLatency } from './latency.mjs';
import { byId, element, figure } from './marks.mjs';
import { drawLog, drawPictures, drawSentence, drawState, drawTiles } from './panels.mjs';

const redrawMs = 150;
/** The server says a word every two seconds. */
const silentMs = 7000;

let stream = null;
let heardAt = 0;
let isDue = false;
/** Names of robots on the buttons. */
let namesDrawn = '';

function link(kind, text) {
  const shown = byId('link');
  shown.className = kind;
  shown.textContent = text;
}

function connect() {
  stream?.close();
  const query =
    shownNow().robots.size > 1 && seen.chosen !== null ? `?robot=${encodeURIComponent(seen.chosen)}` : '';
  // not relative: a page opened as http://x:TOKEN@host may not ask for addresses with a password
  stream = new EventSource(`${location.origin}${location.pathname.replace(/\/$/, '')}/events${query}`);
  const own = stream;
  for (const [name, listen] of Object.entries(listeners)) {
    own.addEventListener(name, ({ data }) => {
      heardAt = performance.now();
      listen(JSON.parse(data));
      redraw();
    });
  }
  own.addEventListener('error', () => {
    if (own !== stream) return;
    link('lost', 'no connection, trying again');
    // a refusal ends an EventSource for good: no place, no token, another server
    if (own.readyState === EventSource.CLOSED) setTimeout(() => own === stream && connect(), 3000);
  });
}

function drawRobots() {
  const { robots } = shownNow();
  const names = JSON.stringify([seen.chosen, ...robots.keys()]);
  if (names === namesDrawn) return;
  namesDrawn = names;
  const shown = byId('robots');
  shown.replaceChildren(
    ...[...robots.keys()].map((name) => {
      const button = element(
        'button',
        { type: 'button', 'aria-pressed': String(name === seen.chosen) },
        name,
      );
      button.addEventListener('click', () => {
        seen.chosen = name;
        connect();
        draw();
      });
      return button;
    }),
  );
}

function redraw() {
  if (isDue || seen.frozen !== null) return;
  isDue = true;
  setTimeout(() => {
    isDue = false;
    draw();
  }, redrawMs);
}

function draw() {
  if (document.hidden || seen.facts === null) return;
  const robot = shownNow().robots.get(seen.chosen);
  const now = serverNow();
  drawRobots();
  drawLog();
  if (robot === undefined) return;
  drawSentence(robot);
  drawTiles(robot, now);
  drawPictures(robot, now);
  drawActions(robot, now);
  drawLatency(robot, now);
  drawState(robot);
}

function toggle() {
  freeze();
  byId('freeze').setAttribute('aria-pressed', String(seen.frozen !== null));
  for (const id of ['back', 'forward']) byId(id).disabled = seen.frozen === null;
  draw();
}

function walk(by) {
  if (seen.frozen === null) return;
  const count = shownNow().robots.get(seen.chosen)?.pictures.length ?? 0;
  seen.step = Math.min(0, Math.max(1 - count, seen.step + by));
  draw();
}

byId('freeze').addEventListener('click', toggle);
byId('back').addEventListener('click', () => walk(-1));
byId('forward').addEventListener('click', () => walk(1));
byId('window').addEventListener('change', draw);
byId('rate').addEventListener('input', draw);
document.addEventListener('keydown', (event) => {
  if (['INPUT', 'SELECT', 'BUTTON', 'SUMMARY'].includes(event.target.tagName)) return;
  if (event.key === ' ') toggle();
  else if (event.key === 'ArrowLeft') walk(-1);
  else if (event.key === 'ArrowRight') walk(1);
  else return;
  event.preventDefault();
});
document.addEventListener('visibilitychange', draw);
setInterval(() => {
  if (stream?.readyState === EventSource.OPEN) {
    const silent = performance.now() - heardAt;
    if (silent > silentMs) link('lost', `the server has said nothing for ${figure(silent / 1000)} s`);
    else link('', 'connected');
  }
  if (seen.frozen === null) draw();
}, 500);
drawLegend();
connect();
