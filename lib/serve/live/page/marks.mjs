/** Elements, shapes and numbers of the live page. Whatever text it is given becomes a text node. */

const namespace = 'http://www.w3.org/2000/svg';

/** Of the plots, in pixels of their own. */
export const width = 1180;
/** Left of a plot, for the names of its rows. */
export const gutter = 120;

export const byId = (id) => document.getElementById(id);

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS(namespace, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export const label = (x, y, text, more = {}) =>
  shape('text', { x, y, 'font-size': 12, fill: 'var(--quiet)', ...more }, text);

/** Three significant digits: `12.3`, `28,600`, `1.2e-6`. */
export function figure(value) {
  if (!Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size > 0 && size < 0.001) return value.toExponential(1);
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(size)));
  return value.toLocaleString('en-US', { maximumFractionDigits: digits });
}

/** A time as people say it. */
export const duration = (ms) => (ms < 1000 ? `${figure(ms)} ms` : `${figure(ms / 1000)} s`);

export function clock(at) {
  const time = new Date(at);
  return `${time.toTimeString().slice(0, 8)}.${String(time.getMilliseconds()).padStart(3, '0')}`;
}

export function quantile(sorted, share) {
  return sorted.length === 0
    ? Number.NaN
    : sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
