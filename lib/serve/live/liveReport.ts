/**
 * What a robot's loop says about itself, for the live page: what it sent to the robot, and why it held or was limited. The
 * server decides nothing by it. `reportLoop` (lib/client) sends it, and anything else that can post JSON.
 */

import { invalidRequest } from '../ndarray.ts';

export const mostReportBytes = 64 * 1024;
export const mostNameLength = 64;
const mostRows = 256;
const mostColumns = 64;
const mostEvents = 64;
const mostText = 80;

const kinds = ['hold', 'limited', 'missed', 'reset'] as const;

/** Times are milliseconds before the report was sent, so that two clocks need not agree. */
export interface LiveReport {
  /** As in the field `robot` of the requests. */
  readonly robot: string;
  /** Milliseconds from one action to the next; null: not said. */
  readonly periodMs: number | null;
  /** What was sent to the robot, oldest first; `values` [A] in the units of the answers. */
  readonly sent: readonly {
    readonly ago: number;
    readonly values: readonly number[];
    readonly held: boolean;
  }[];
  readonly events: readonly LiveLoopEvent[];
  /** Rows and events that the loop had no room for. */
  readonly lost: number;
}

export interface LiveLoopEvent {
  readonly ago: number;
  readonly type: (typeof kinds)[number];
  /** Why it held, or which limits changed it, in the order of `dimensions`; empty: not said. */
  readonly reason: string;
  /** Which dimensions were limited, or were the reason. */
  readonly dimensions: readonly string[];
}

/** @throws REQUEST_INVALID */
export function readReport(text: string): LiveReport {
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch {
    throw invalidRequest('JSON', 'another text');
  }
  const { robot, periodMs = null, sent = [], events = [], lost = 0 } = objectOf(given, 'a report');
  if (typeof robot !== 'string' || robot === '' || robot.length > mostNameLength)
    throw invalidRequest(`a name of at most ${mostNameLength} characters in "robot"`, shown(robot));
  if (periodMs !== null && !(isNumber(periodMs) && periodMs > 0))
    throw invalidRequest('milliseconds above 0 in "periodMs"', shown(periodMs));
  return {
    robot,
    periodMs,
    sent: listOf(sent, 'sent', mostRows).map((row) => {
      const { ago, values, held = false } = objectOf(row, 'a row of "sent"');
      if (!Array.isArray(values) || values.length > mostColumns || !values.every(isNumber))
        throw invalidRequest(`at most ${mostColumns} finite numbers in "values"`, shown(values));
      return { ago: agoOf(ago), values, held: held === true };
    }),
    events: listOf(events, 'events', mostEvents).map((event) => {
      const { ago, type, reason = '', dimensions = [] } = objectOf(event, 'an event');
      const kind = kinds.find((one) => one === type);
      if (kind === undefined) throw invalidRequest(`${kinds.join(', ')} in "type"`, shown(type));
      return {
        ago: agoOf(ago),
        type: kind,
        reason: textOf(reason),
        dimensions: listOf(dimensions, 'dimensions', mostColumns).map(textOf),
      };
    }),
    lost: isNumber(lost) && lost > 0 ? Math.floor(lost) : 0,
  };
}

const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);

function agoOf(value: unknown): number {
  if (isNumber(value) && value >= 0) return value;
  throw invalidRequest('milliseconds from 0 on in "ago"', shown(value));
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value.slice(0, mostText);
  throw invalidRequest('a text', shown(value));
}

function objectOf(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Readonly<Record<string, unknown>>;
  throw invalidRequest(`an object for ${what}`, shown(value));
}

function listOf(value: unknown, name: string, most: number): readonly unknown[] {
  if (Array.isArray(value) && value.length <= most) return value as unknown[];
  throw invalidRequest(`a list of at most ${most} in "${name}"`, shown(value));
}

function shown(value: unknown): string {
  if (value === undefined) return 'none';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return typeof value === 'object' ? 'an object' : String(JSON.stringify(value)).slice(0, 40);
}
