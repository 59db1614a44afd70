/** A control loop that tells a server's live page what it sends, and why it holds. The loop waits for nothing of it. */

import { SentRing } from '../profile/recorder/sentRing.ts';
import type { ControlLoopOptions } from '../schedule/controlLoop.ts';
import type { LoopEvent } from '../schedule/loopEvents.ts';
import type { LiveLoopEvent } from '../serve/live/liveReport.ts';
import { isolated } from '../support/isolated.ts';
import { checkOptions, expected } from '../support/options.ts';
import { checkServerUrl } from './connect.ts';

/** As the server bounds a report (lib/serve/live/liveReport.ts). */
const mostRows = 256;
const mostEvents = 64;
const mostName = 64;
/** Between two reports while somebody looks; between two questions whether somebody does. Milliseconds. */
const reportMs = 100;
const askMs = 1000;
const patienceMs = 2000;

/** Where a loop reports to. */
export interface ReportOptions {
  /** The server's, started with `--live`: http://HOST:8777 or ws://HOST:8000. */
  readonly url: string;
  /** Name of the robot, at most 64 characters; `robot` of `connectAct` and `connectOpenpi` says the same of its requests. */
  readonly robot: string;
  readonly token?: string;
}

/** An event and when it was, milliseconds of `performance.now()`. */
type Noted = Omit<LiveLoopEvent, 'ago'> & { readonly at: number };

/**
 * Options of `startControlLoop` that report to the page of `serve --live`. While nobody looks at it, the loop asks once a
 * second whether somebody does, and keeps nothing. Reports leave ten times a second, beside the ticks; if one cannot be
 * delivered, a process warning says so once, and the loop goes on. The loop's clock must be the default one.
 *
 * @param options of the loop; its own `onEvent` and `act` are called too
 * @throws OPTION_INVALID, OPTION_UNKNOWN
 */
export function reportLoop(options: ControlLoopOptions, to: ReportOptions): ControlLoopOptions {
  checkOptions(to, ['url', 'robot', 'token'], 'reportLoop');
  const { robot } = to;
  if (typeof robot !== 'string' || robot.trim() === '' || robot.length > mostName)
    throw expected('OPTION_INVALID', `a name of at most ${mostName} characters`, 'robot', robot);
  const reporter = new Reporter(to, 1000 / options.rate);
  const { act } = options;
  const tell = isolated('onEvent of startControlLoop', options.onEvent);
  return {
    ...options,
    act: (action) => {
      reporter.sent(action.at, action.values, action.held !== null);
      return act(action);
    },
    onEvent: (event) => {
      const noted = notedOf(event);
      if (noted !== null) reporter.event(noted);
      tell(event);
    },
  };
}

function notedOf(event: LoopEvent): Noted | null {
  const { at } = event;
  if (event.type === 'hold') {
    const dimensions = event.dimension === null ? [] : [event.dimension];
    return { at, type: 'hold', reason: event.reason, dimensions };
  }
  if (event.type === 'limited')
    return { at, type: 'limited', reason: event.limits.join(', '), dimensions: event.dimensions };
  if (event.type === 'missed') return { at, type: 'missed', reason: String(event.ticks), dimensions: [] };
  return event.type === 'reset' ? { at, type: 'reset', reason: '', dimensions: [] } : null;
}

class Reporter {
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #robot: string;
  readonly #periodMs: number;
  readonly #rows = new SentRing(mostRows);
  #events: Noted[] = [];
  #lost = 0;
  #isWatched = false;
  #askedAt = Number.NEGATIVE_INFINITY;
  #isUnderWay = false;
  #isFailing = false;

  constructor({ url, robot, token: given }: ReportOptions, periodMs: number) {
    const { parsed, token } = checkServerUrl(url, given);
    this.#url = `${parsed.href.replace(/^ws/, 'http')}live/report`;
    this.#headers = {
      'content-type': 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    };
    this.#robot = robot;
    this.#periodMs = periodMs;
  }

  sent(at: number, values: ArrayLike<number>, isHeld: boolean): void {
    if (this.#isWatched) this.#rows.add(at, values, isHeld);
    this.#wake();
  }

  event(event: Noted): void {
    if (this.#isWatched) {
      this.#events.push(event);
      if (this.#events.length > mostEvents) {
        this.#events.shift();
        this.#lost++;
      }
    }
    this.#wake();
  }

  /** Sees to it that a report leaves soon, or a question whether one is wanted. */
  #wake(): void {
    const since = performance.now() - this.#askedAt;
    if (this.#isUnderWay || (!this.#isWatched && since < askMs)) return;
    this.#isUnderWay = true;
    setTimeout(() => void this.#report(), Math.max(0, reportMs - since)).unref();
  }

  async #report(): Promise<void> {
    const now = performance.now();
    this.#askedAt = now;
    const { at, values, held, lost } = this.#rows.take();
    const columns = values.length / at.length;
    const body = {
      robot: this.#robot,
      periodMs: this.#periodMs,
      sent: Array.from(at, (sentAt, row) => ({
        ago: Math.max(0, now - sentAt),
        values: Array.from(values.subarray(row * columns, (row + 1) * columns)),
        held: held[row] === 1,
      })),
      events: this.#events.map(({ at, ...event }) => ({ ...event, ago: Math.max(0, now - at) })),
      lost: this.#lost + lost,
    };
    this.#events = [];
    this.#lost = 0;
    try {
      const answer = await fetch(this.#url, {
        method: 'POST',
        headers: this.#headers,
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(patienceMs),
      });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const { watched } = (await answer.json()) as { watched: unknown };
      this.#isWatched = watched === true;
      this.#isFailing = false;
    } catch (error) {
      this.#isWatched = false;
      this.#failed(error);
    } finally {
      this.#isUnderWay = false;
    }
  }

  #failed(error: unknown): void {
    if (this.#isFailing) return;
    this.#isFailing = true;
    const reason = (error as Error).message;
    process.emitWarning(
      `reportLoop: expected a server with a live page at ${this.#url}, found: ${reason}. The loop goes on; the page does not ` +
        'show what it sends until a report is taken. Start the server with `semanticvla serve CHECKPOINT --live`.',
      { type: 'SemanticVlaWarning', code: 'SEMANTICVLA_REPORT_LOST' },
    );
  }
}
