/** Checking what a caller passes: one message shape, misspelled options recognised, nothing ignored. */

import { type ErrorCode, SemanticVlaError } from './errors.ts';

/**
 * The error of a value of the wrong type: "Expected X for NAME but received Y of type Z". To be thrown by the caller.
 * @param what expected, e.g. `a positive integer`
 */
export function expected(code: ErrorCode, what: string, name: string, value: unknown): SemanticVlaError {
  return new SemanticVlaError(
    code,
    `Expected ${what} for ${name} but received ${show(value)} of type ${typeName(value)}.`,
  );
}

/**
 * Refuses unknown options. A misspelling would otherwise pass silently, and its default would be used.
 * @param known names of all options
 * @param what whose options they are, e.g. `loadPolicy`
 * @throws OPTION_INVALID `given` is no object
 * @throws OPTION_UNKNOWN with the option that was probably meant
 */
export function checkOptions(given: object, known: readonly string[], what: string): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw expected('OPTION_INVALID', 'an object', `options of ${what}`, given);
  }
  for (const name of Object.keys(given)) {
    if (known.includes(name)) continue;
    const meant = nearest(name, known);
    throw new SemanticVlaError(
      'OPTION_UNKNOWN',
      meant === null
        ? `Unknown option ${name} of ${what}. Known: ${known.join(', ')}.`
        : `Misspelled option ${name} of ${what} should be ${meant}.`,
    );
  }
}

/**
 * For instance, a controller passed in place of its signal could never abort anything.
 * @throws OPTION_INVALID
 */
export function checkSignal(signal: unknown): void {
  if (signal === undefined || signal instanceof AbortSignal) return;
  throw expected('OPTION_INVALID', 'an AbortSignal', 'option signal', signal);
}

/**
 * The candidate that was probably meant: equal but for case and separators, else within an edit distance of a third of
 * its length; null when none is near.
 */
export function nearest(name: string, candidates: readonly string[]): string | null {
  const folded = fold(name);
  let best: string | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    const other = fold(candidate);
    const distance = editDistance(folded, other);
    if (distance < least && distance <= Math.floor(Math.max(folded.length, other.length) / 3)) {
      best = candidate;
      least = distance;
    }
  }
  return best;
}

function fold(name: string): string {
  return name.toLowerCase().replace(/[-_ .]/g, '');
}

/** Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment). */
function editDistance(a: string, b: string): number {
  // Names longer than this are not misspellings of an option; the bound keeps the table small.
  if (Math.abs(a.length - b.length) > 32 || a.length > 256) return Number.POSITIVE_INFINITY;
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(at(previous, j) + 1, at(row, j - 1) + 1, at(previous, j - 1) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, at(before, j - 2) + 1);
      }
      row.push(cost);
    }
    before = previous;
    previous = row;
  }
  return at(previous, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY;
}

const longestShown = 60;

function show(value: unknown): string {
  const text = render(value);
  return text.length > longestShown ? `${text.slice(0, longestShown)}...` : text;
}

/** Never throws: values come from outside, perhaps with a hostile `toJSON` or `toString`. */
function render(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.slice(0, longestShown + 1));
    case 'bigint':
      return `${value}n`;
    case 'function':
      return 'a function';
    case 'symbol':
      return 'a symbol';
    case 'object':
      if (value === null) return 'null';
      if (ArrayBuffer.isView(value)) return `${value.byteLength} bytes`;
      if (Array.isArray(value)) return `[${value.slice(0, 8).map(renderElement).join(', ')}]`;
      return 'an object';
    default:
      return String(value);
  }
}

/** Arrays within arrays are only named: they may hold themselves. */
function renderElement(value: unknown): string {
  return Array.isArray(value) ? 'an array' : render(value);
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'object') {
    // Object.prototype.toString reads a tag that a hostile object may throw from.
    try {
      return Object.prototype.toString.call(value).slice(8, -1);
    } catch {
      return 'object';
    }
  }
  return typeof value;
}

/** The fields that are not undefined: for options whose fields may be absent, but not undefined. */
export function present<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
