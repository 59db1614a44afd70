/** What the live page remembers of what the server told it, within fixed bounds. */

import { figure, quantile } from './marks.mjs';

/** How much is remembered, of each robot and in all. */
export const most = {
  chunks: 600,
  sent: 6000,
  events: 400,
  pictures: 80,
  log: 100,
  robots: 32,
  requests: 240,
};

export const seen = {
  /** What the server said of itself; null before it did. */
  facts: null,
  /** Server's clock minus this one's, ms. */
  offset: 0,
  /** Name of the robot that is shown. */
  chosen: null,
  /** When the page was frozen, by the server's clock, and what was known then; null: it runs. */
  frozen: null,
  /** Which picture is shown while frozen: 0 the last, -1 the one before. */
  step: 0,
};

/** By name: what is known of it. */
const robots = new Map();
const log = [];

export const serverNow = () => seen.frozen?.at ?? Date.now() + seen.offset;

/** What is drawn: what is known, or was when the page was frozen. */
export const shownNow = () => seen.frozen ?? { robots, log };

export function freeze() {
  seen.step = 0;
  if (seen.frozen !== null) {
    seen.frozen = null;
    return;
  }
  const copies = [...robots].map(([name, robot]) => {
    const lists = ['chunks', 'requests', 'pictures', 'sent', 'events'].map((list) => [
      list,
      [...robot[list]],
    ]);
    return [name, { ...robot, ...Object.fromEntries(lists), count: { ...robot.count } }];
  });
  seen.frozen = { at: serverNow(), robots: new Map(copies), log: log.map((line) => ({ ...line })) };
}

export const isLate = (ms) => seen.facts.deadlineMs !== null && ms > seen.facts.deadlineMs;

function keep(list, item, count) {
  list.push(item);
  if (list.length > count) list.splice(0, list.length - count);
}

function robotOf(name) {
  let robot = robots.get(name);
  if (robot === undefined) {
    robot = {
      name,
      instruction: '',
      open: null,
      chunks: [],
      requests: [],
      pictures: [],
      sent: [],
      events: [],
      periodMs: null,
      reports: false,
      count: { answered: 0, late: 0, refused: 0, held: 0, limited: 0 },
    };
    robots.set(name, robot);
    if (robots.size > most.robots) robots.delete([...robots.keys()].find((one) => one !== seen.chosen));
    if (seen.chosen === null) seen.chosen = name;
  }
  return robot;
}

/** A line of the list; the same thing again within a second makes the last line longer. */
function note(kind, at, robot, text) {
  const last = log.at(-1);
  if (
    last !== undefined &&
    last.kind === kind &&
    last.text === text &&
    last.robot === robot &&
    at - last.until < 1000
  ) {
    last.times++;
    last.until = at;
  } else keep(log, { kind, at, until: at, robot, text, times: 1 }, most.log);
}

/** The picture that is shown: the last one, or the one walked back to. */
export const pictureOf = ({ pictures }) => pictures[Math.max(0, pictures.length - 1 + seen.step)];

/**
 * Milliseconds from row to row, and how that is known.
 * @param typed actions a second; 0: not typed
 */
export function rowStep(robot, typed) {
  if (typed > 0) return { ms: 1000 / typed, how: 'as typed above' };
  if (robot.periodMs !== null) return { ms: robot.periodMs, how: 'as its loop reports' };
  const last = robot.chunks.slice(-21);
  const gaps = last.slice(1).map(({ at }, i) => at - last[i].at);
  const gap = quantile(
    gaps.sort((a, b) => a - b),
    0.5,
  );
  const rows = last.at(-1)?.rows ?? 1;
  return {
    ms: Number.isFinite(gap) && gap > 0 ? gap / rows : 100,
    how: 'assumed, as if each chunk were played to its end',
  };
}

/** `HOLD: outOfRange (x)`, `Limited: x by step, z by range`. */
function wordsOf({ type, reason, dimensions }) {
  const limits = reason === '' ? [] : reason.split(', ');
  if (type === 'limited' && dimensions.length > 0)
    return `Limited: ${dimensions.map((one, i) => (limits[i] === undefined ? one : `${one} by ${limits[i]}`)).join(', ')}`;
  const words = { hold: 'HOLD', limited: 'Limited', missed: 'Ticks missed', reset: 'Reset' }[type];
  const which = dimensions.length === 0 ? '' : ` (${dimensions.join(', ')})`;
  return `${words}${reason === '' ? '' : `: ${reason}`}${which}`;
}

/** What each event of the server does. */
export const listeners = {
  hello(data) {
    const isOther =
      seen.facts !== null &&
      (seen.facts.dimensions.join() !== data.dimensions.join() || seen.facts.grid !== data.grid);
    if (isOther) robots.clear();
    seen.facts = data;
    seen.offset = data.now - Date.now();
  },
  beat(data) {
    seen.offset = data.now - Date.now();
  },
  asked({ robot: name, number, at, instruction }) {
    const robot = robotOf(name);
    robot.instruction = instruction;
    robot.open = { number, at };
  },
  chunk(data) {
    const robot = robotOf(data.robot);
    const ms = data.waitMs + data.policyMs;
    const late = isLate(ms);
    if (robot.open !== null && robot.open.number <= data.number) robot.open = null;
    robot.count.answered++;
    if (late) {
      robot.count.late++;
      note(
        'late',
        data.answeredAt,
        robot.name,
        `Late: ${figure(ms)} ms, the deadline is ${figure(seen.facts.deadlineMs)} ms`,
      );
    }
    keep(robot.chunks, data, most.chunks);
    keep(robot.requests, { at: data.at, ms, waitMs: data.waitMs }, most.requests);
  },
  picture(data) {
    keep(robotOf(data.robot).pictures, data, most.pictures);
  },
  refused({ robot: name, protocol, at, code, message }) {
    note('refused', at, name ?? protocol, `${code}: ${message}`);
    if (name === null) return;
    const robot = robotOf(name);
    robot.open = null;
    robot.count.refused++;
    keep(robot.requests, { at, code }, most.requests);
  },
  loop({ robot: name, periodMs, sent, events, lost }) {
    const robot = robotOf(name);
    robot.reports = true;
    robot.periodMs = periodMs ?? robot.periodMs;
    for (const row of sent) {
      if (row.held) robot.count.held++;
      keep(robot.sent, row, most.sent);
    }
    for (const event of events) {
      keep(robot.events, event, most.events);
      if (event.type === 'limited') robot.count.limited++;
      note(event.type, event.at, name, wordsOf(event));
    }
    if (lost > 0) note('skipped', serverNow(), name, `${lost} rows or events of the loop were left out`);
  },
  skipped({ events }) {
    note('skipped', serverNow(), '', `This page reads too slowly: ${events} events were left out`);
  },
};
