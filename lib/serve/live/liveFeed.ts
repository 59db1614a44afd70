/**
 * What the server does, told to the pages that look at it. While nobody looks nothing is composed, copied or encoded: every
 * method returns at once. While somebody does, a prediction's frames are copied when no others are being encoded, so at most
 * one set of them is held, and a robot's pictures come at most every `pictureMs`.
 *
 * It only tells: whatever fails here is logged once, and no prediction fails with it.
 */

import { isInstalled } from '../../support/optionalPackage.ts';
import { installCommand } from '../../support/packageCommand.ts';
import type { ActionChunk, ImageFrame, Observation, Policy } from '../../types.ts';
import { frameJpeg } from '../../view/frameJpeg.ts';
import { droppedArea, patchOutline, wholeFrame } from '../../view/patchGeometry.ts';
import { ClientGone } from '../clientGone.ts';
import { failureOf } from '../failure.ts';
import type { Asker } from '../inferenceSlot.ts';
import type { ServerLog } from '../log.ts';
import type { Protocol } from '../serverMetrics.ts';
import type { WireFields } from '../wireFields.ts';
import { type LiveReport, mostNameLength } from './liveReport.ts';
import { sseEvent, type Viewer } from './viewer.ts';

/** The least time between two sets of pictures of one robot, milliseconds. */
const pictureMs = 100;
/** How often a page hears that the server lives, and a page that reads nothing is noticed. */
const beatMs = 2000;
/** A page that has taken nothing for so long is closed; it connects again when it can. */
const stuckMs = 15_000;
const mostViewers = 8;
/** Robots whose last picture is remembered. */
const mostRobots = 64;
const mostNumbers = 4096;
const mostStates = 64;
const mostText = 500;

/** Of the protocols that are no WebSocket. */
const httpPaths: Partial<Record<Protocol, string>> = { act: '/act', oip: '/v2' };
const clientGone = { code: 'CLIENT_GONE', message: 'The client left before its answer.' };

/** What the live page is told besides what happens. */
export interface LiveOptions {
  /** Milliseconds that a prediction may take, drawn as a line; default: none. */
  readonly deadlineMs?: number;
}

/** Who sent a request. */
export interface Sender extends Asker {
  /** Its port, which tells two WebSockets of one machine apart. */
  readonly port?: number | undefined;
}

/** A request that somebody looks at. */
export interface LiveRequest {
  readonly number: number;
  readonly robot: string;
  /** Milliseconds of `performance.now()`. */
  readonly at: number;
}

type LivePolicy = Pick<Policy, 'platform' | 'dimensions' | 'variant' | 'imageSize' | 'patchGrid'>;

/** Time of the day in milliseconds, of a time of `performance.now()`. */
const dayTime = (at: number): number => Math.round((performance.timeOrigin + at) * 10) / 10;

export class LiveFeed {
  readonly #policy: LivePolicy;
  readonly #options: LiveOptions;
  readonly #log: ServerLog;
  readonly #viewers = new Set<Viewer>();
  /** The name that a connection gave itself in its last request. */
  readonly #names = new WeakMap<Asker, string>();
  /** Errors that the pages know of. */
  readonly #refusals = new WeakSet<object>();
  /** When a robot's pictures were last made. */
  readonly #pictured = new Map<string, number>();
  readonly #hasSharp = isInstalled('sharp');
  #number = 0;
  #isEncoding = false;
  #hasFailed = false;
  #isClosed = false;
  #beat: NodeJS.Timeout | undefined;

  constructor(policy: LivePolicy, options: LiveOptions, log: ServerLog) {
    this.#policy = policy;
    this.#options = options;
    this.#log = log;
  }

  /** Whether somebody looks. */
  get isWatched(): boolean {
    return this.#viewers.size > 0;
  }

  /** Whether there is a place for one more page. */
  get hasPlace(): boolean {
    return this.#viewers.size < mostViewers && !this.#isClosed;
  }

  /** Adds a page; the caller removes it when its connection is gone. */
  add(viewer: Viewer): void {
    this.#viewers.add(viewer);
    viewer.send(sseEvent('hello', this.#hello()));
    this.#beat ??= setInterval(() => this.#keep(), beatMs).unref();
  }

  remove(viewer: Viewer): void {
    this.#viewers.delete(viewer);
    if (this.isWatched) return;
    clearInterval(this.#beat);
    this.#beat = undefined;
    this.#pictured.clear();
  }

  /** Ends every page. */
  close(): void {
    this.#isClosed = true;
    for (const viewer of this.#viewers) viewer.end();
  }

  /** A request has arrived: its sender may name itself in it. */
  heard(fields: WireFields, sender: Sender): void {
    if (!this.isWatched) return;
    const name = nameIn(fields);
    if (name === null) this.#names.delete(sender);
    else this.#names.set(sender, name);
  }

  /** A request can be read. null: nobody looks. */
  asked(protocol: Protocol, sender: Sender, instruction: string): LiveRequest | null {
    if (!this.isWatched) return null;
    return this.#told(() => {
      const request = {
        number: ++this.#number,
        robot: this.#robotOf(protocol, sender),
        at: performance.now(),
      };
      const { number, robot, at } = request;
      this.#send('asked', { number, robot, at: dayTime(at), instruction: instruction.slice(0, mostText) });
      return request;
    });
  }

  /**
   * The frames are the request's memory, so they are copied before this returns, if a picture is due; all else waits until the
   * answer has left.
   * @param start when the policy began, milliseconds of `performance.now()`
   */
  answered(request: LiveRequest, observation: Observation, chunk: ActionChunk, start: number): void {
    if (!this.isWatched) return;
    this.#told(() => {
      const now = performance.now();
      const { number, robot, at } = request;
      const state = Array.from(observation.state ?? [], round).slice(0, mostStates);
      const frames = this.#isPictureDue(robot, now) ? this.#copied(observation) : null;
      setImmediate(() => {
        this.#told(() => {
          const [rows, columns] = chunk.shape;
          const shown = Math.max(1, Math.min(rows, Math.floor(mostNumbers / columns)));
          this.#send('chunk', {
            number,
            robot,
            at: dayTime(at),
            answeredAt: dayTime(now),
            waitMs: round(start - at),
            policyMs: round(now - start),
            stages: Object.fromEntries(Object.entries(chunk.timings).map(([name, ms]) => [name, round(ms)])),
            state,
            rows: shown,
            actions: Array.from(chunk.actions.subarray(0, shown * columns), round),
          });
        });
        if (frames === null) return;
        void this.#encode(request, frames, chunk.keptPatches)
          .catch((error: unknown) => this.#failed(error))
          .finally(() => {
            this.#isEncoding = false;
          });
      });
    });
  }

  /**
   * A request ended without a chunk.
   * @param sender null: not known; an error that was told of with its sender is not told of again
   */
  refused(protocol: Protocol, sender: Sender | null, error: unknown): void {
    if (!this.isWatched) return;
    this.#told(() => {
      if (typeof error === 'object' && error !== null) {
        if (this.#refusals.has(error)) return;
        this.#refusals.add(error);
      }
      const { code, message } = error instanceof ClientGone ? clientGone : failureOf(error);
      this.#send('refused', {
        robot: sender === null ? null : this.#robotOf(protocol, sender),
        protocol,
        at: dayTime(performance.now()),
        code,
        message: message.slice(0, mostText),
      });
    });
  }

  reported({ robot, periodMs, sent, events, lost }: LiveReport): void {
    const now = performance.now();
    this.#send('loop', {
      robot,
      periodMs,
      lost,
      sent: sent.map(({ ago, values, held }) => ({
        at: dayTime(now - ago),
        values: values.map(round),
        held,
      })),
      events: events.map(({ ago, ...event }) => ({ ...event, at: dayTime(now - ago) })),
    });
  }

  #robotOf(protocol: Protocol, sender: Sender): string {
    const name = this.#names.get(sender);
    if (name !== undefined) return name;
    const place = sender.client === 'local' ? 'this machine' : sender.client;
    // an HTTP client may use a new connection for each request, so its port says nothing
    const path = httpPaths[protocol];
    return path === undefined ? `${place}:${sender.port ?? '?'} (${protocol})` : `${place} (${path})`;
  }

  #hello(): object {
    const { platform, dimensions, variant, imageSize, patchGrid } = this.#policy;
    const hasGrid = patchGrid > 0 && imageSize > 0;
    return {
      now: dayTime(performance.now()),
      variant,
      platform: platform.name,
      chunk: platform.chunk,
      dimensions,
      cameras: platform.cameras,
      grid: hasGrid ? patchGrid : 1,
      whole: hasGrid ? wholeFrame(this.#policy) : { offset: 0, side: 1 },
      deadlineMs: this.#options.deadlineMs ?? null,
      withoutPictures: this.#hasSharp
        ? null
        : `Frames need the optional package sharp, which is not installed where the server runs: ${installCommand(['sharp'])}`,
    };
  }

  /** Whether somebody wants a picture of this robot now; if so, it is on its way. */
  #isPictureDue(robot: string, now: number): boolean {
    const isWanted = [...this.#viewers].some(
      (viewer) => viewer.isReady && (viewer.robot === null || viewer.robot === robot),
    );
    const since = now - (this.#pictured.get(robot) ?? Number.NEGATIVE_INFINITY);
    if (!isWanted || since < pictureMs || this.#isEncoding) return false;
    this.#pictured.delete(robot);
    this.#pictured.set(robot, now);
    if (this.#pictured.size > mostRobots) this.#pictured.delete(this.#pictured.keys().next().value!);
    return true;
  }

  #copied({ images }: Observation): readonly (readonly [camera: string, ImageFrame])[] {
    const frames = this.#policy.platform.cameras.flatMap((camera): [string, ImageFrame][] => {
      const frame = this.#hasSharp ? images[camera] : undefined;
      return frame === undefined ? [] : [[camera, { ...frame, data: frame.data.slice() }]];
    });
    this.#isEncoding = true;
    return frames;
  }

  async #encode(
    { number, robot }: LiveRequest,
    frames: readonly (readonly [string, ImageFrame])[],
    keptPatches: ActionChunk['keptPatches'],
  ): Promise<void> {
    const { platform, patchGrid } = this.#policy;
    const jpegs = await Promise.all(
      frames.map(async ([camera, frame]) => {
        const jpeg = await frameJpeg('Live page', frame, platform.rotate?.includes(camera));
        return [camera, jpeg.toString('base64')] as const;
      }),
    );
    const byCamera = new Map(jpegs);
    const cameras = platform.cameras.map((camera) => {
      const kept = keptPatches[camera];
      const set = new Set(kept ?? []);
      const marks =
        kept === undefined || patchGrid <= 0
          ? null
          : {
              count: set.size,
              outline: patchOutline(set, patchGrid, 1),
              dropped: droppedArea(set, patchGrid),
            };
      return { camera, jpeg: byCamera.get(camera) ?? null, kept: marks };
    });
    const event = sseEvent('picture', { number, robot, cameras });
    for (const viewer of this.#viewers)
      if (viewer.robot === null || viewer.robot === robot) viewer.send(event, false);
  }

  #send(name: string, data: object): void {
    if (!this.isWatched) return;
    const event = sseEvent(name, data);
    for (const viewer of this.#viewers) viewer.send(event);
  }

  #keep(): void {
    const now = performance.now();
    for (const viewer of this.#viewers) if (viewer.blockedFor(now) > stuckMs) viewer.destroy();
    this.#send('beat', { now: dayTime(now) });
  }

  #told<T>(tell: () => T): T | null {
    try {
      return tell();
    } catch (error) {
      this.#failed(error);
      return null;
    }
  }

  #failed(error: unknown): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#log.warn({ err: error }, 'the live page lacks something; predictions go on');
  }
}

/** Six significant digits: finer than a pixel of any plot. */
function round(value: number): number {
  return Number(value.toPrecision(6));
}

/** The field `robot` of a request, a text; null: none that could be a name. */
function nameIn(fields: WireFields): string | null {
  try {
    const name = fields.find('robot');
    return typeof name === 'string' && name.trim() !== '' ? name.slice(0, mostNameLength) : null;
  } catch {
    // a field that nobody else reads
    return null;
  }
}
