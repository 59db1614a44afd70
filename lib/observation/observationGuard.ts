/**
 * Checks whether an observation is fit to act upon, before anything is computed: a refusal has a code and leads to no action.
 * The checks read a bounded number of bytes (bench/observationGuard.ts measures the time).
 *
 * Detected: wrong types and sizes, NaN and wrong lengths in the state, missing cameras, black frames, frozen frames, the same
 * frame under two names, cameras exchanged between two observations, repeated timestamps and timestamps that go back. Not
 * detected: cameras that were exchanged from the start (give `reference`) or that show much the same, mirrored or rotated
 * frames, swapped red and blue, a lens that is dirty, out of focus or half covered, a camera that moved, a frame that froze
 * except for a clock drawn into it, joints in another order or unit.
 */

import { type ErrorCode, SemanticVlaError } from '../support/errors.ts';
import { checkOptions, expected } from '../support/options.ts';
import { checkFrame } from '../transforms/imageFrame.ts';
import type { ImageFrame, Observation } from '../types.ts';
import { difference, FrameHistory, glance } from './frameHistory.ts';

/** What the guard checks observations against. */
export interface ObservationGuardOptions {
  /** Names of the cameras that every observation must contain, e.g. `policy.platform.cameras`. */
  readonly cameras: readonly string[];
  /** Length of the joint state; default: that of the first observation. `none`: the policy takes no state. */
  readonly stateLength?: number | 'none';
  /**
   * A camera counts as frozen when its frame has been identical, byte for byte, for this long in three or more observations.
   * Default 500 ms, since no sensor is without noise for longer. Number.POSITIVE_INFINITY for a simulator that draws no noise.
   */
  readonly frozenMs?: number;
  /** A frame is black if no sampled pixel exceeds this level (0..255) in any channel. Default 16, the black of video. */
  readonly blackLevel?: number;
  /** An observation known to be right; cameras that were exchanged from the start are noticed by comparing with it. */
  readonly reference?: Observation;
}

const optionNames = [
  'cameras',
  'stateLength',
  'frozenMs',
  'blackLevel',
  'reference',
] as const satisfies readonly (keyof ObservationGuardOptions)[];

/** Fewer observations than this do not prove a freeze: a loop may pass the frame of a slow camera twice. */
const frozenCount = 3;

/** Two views that differ by less (mean levels of 0..255) cannot be told apart. */
const leastDifference = 8;

/** Cameras count as exchanged if each frame is this many times closer to the other camera's last one than to its own. */
const exchangedRatio = 3;

/**
 * A guard for one robot.
 *
 * @throws OPTION_INVALID, OPTION_UNKNOWN, and what `check` throws if the reference itself is not right
 */
export function observationGuard(options: ObservationGuardOptions): ObservationGuard {
  return new ObservationGuard(options);
}

/** Refuses observations that no robot should act upon. Remembers what the cameras showed last. */
export class ObservationGuard {
  readonly #cameras: readonly string[];
  readonly #frozenMs: number;
  readonly #blackLevel: number;
  readonly #reference: Observation | undefined;
  readonly #givenLength: number | 'none' | undefined;
  #stateLength: number | 'none' | undefined;
  #histories = new Map<string, FrameHistory>();
  #last: { readonly observation: Observation; readonly at: number } | null = null;
  #verdict: SemanticVlaError | null = null;

  constructor(options: ObservationGuardOptions) {
    checkOptions(options, optionNames, 'observationGuard');
    const { cameras, stateLength, frozenMs = 500, blackLevel = 16 } = options;
    if (!Array.isArray(cameras) || cameras.length === 0 || !cameras.every((c) => typeof c === 'string')) {
      throw expected('OPTION_INVALID', 'a list of camera names', 'cameras', cameras);
    }
    if (
      stateLength !== undefined &&
      stateLength !== 'none' &&
      !(Number.isSafeInteger(stateLength) && stateLength > 0)
    ) {
      throw expected('OPTION_INVALID', "a positive integer or 'none'", 'stateLength', stateLength);
    }
    if (!(frozenMs > 0)) throw expected('OPTION_INVALID', 'milliseconds above 0', 'frozenMs', frozenMs);
    if (!(blackLevel >= 0 && blackLevel < 255)) {
      throw expected('OPTION_INVALID', 'a level in 0..254', 'blackLevel', blackLevel);
    }
    this.#cameras = [...cameras];
    this.#frozenMs = frozenMs;
    this.#blackLevel = blackLevel;
    this.#givenLength = stateLength;
    this.#stateLength = stateLength;
    this.#reference = options.reference;
    this.reset();
  }

  /** Forgets what was seen: for a new episode, or after cameras were corrected. */
  reset(): void {
    this.#histories = new Map(this.#cameras.map((camera) => [camera, new FrameHistory()]));
    this.#stateLength = this.#givenLength;
    this.#last = null;
    this.#verdict = null;
    if (this.#reference === undefined) return;
    const problem = this.#look(this.#reference, 0);
    if (problem !== null) throw problem;
    // the pixels are from another time, so only the thumbnails are kept
    for (const history of this.#histories.values()) history.sameCount = 0;
  }

  /**
   * Accepts the observation, or throws what is wrong with it. The same observation again gets the same answer.
   *
   * @param at when the sensors were read, milliseconds of a monotonic clock (`performance.now()`)
   * @throws OBSERVATION_INVALID, OBSERVATION_REPEATED, CAMERA_MISSING, CAMERA_EXCHANGED, CAMERA_DUPLICATE, IMAGE_INVALID,
   *   IMAGE_DTYPE, IMAGE_TOO_LARGE, IMAGE_BLACK, IMAGE_FROZEN, STATE_INVALID
   */
  check(observation: Observation, at: number): void {
    if (!Number.isFinite(at)) throw expected('OBSERVATION_INVALID', 'a monotonic time in ms', 'at', at);
    const last = this.#last;
    if (last !== null && last.observation === observation && last.at === at) {
      if (this.#verdict !== null) throw this.#verdict;
      return;
    }
    if (last !== null && at <= last.at) {
      throw refusal(
        'OBSERVATION_REPEATED',
        'Observation',
        `a time after the last one's (${last.at} ms)`,
        at === last.at ? 'the same time with another observation' : `${at} ms`,
        'Check the driver that stamps it; call reset() when the clock was set anew.',
      );
    }
    this.#last = { observation, at };
    this.#verdict = this.#look(observation, at);
    if (this.#verdict !== null) throw this.#verdict;
  }

  #look(observation: Observation, at: number): SemanticVlaError | null {
    try {
      const frames = this.#frames(observation);
      this.#checkState(observation.state);
      const thumbnails: Float32Array[] = [];
      for (const [i, frame] of frames.entries())
        thumbnails.push(this.#checkFrame(this.#cameras[i]!, frame, at));
      this.#checkDuplicates(frames);
      this.#checkExchange(thumbnails);
      for (const [i, camera] of this.#cameras.entries())
        this.#histories.get(camera)!.thumbnail = thumbnails[i]!;
      return null;
    } catch (error) {
      if (error instanceof SemanticVlaError) return error;
      throw error;
    }
  }

  /** The cameras' frames in order, checked for type and unchanged size. */
  #frames(observation: Observation): ImageFrame[] {
    const { images } = observation ?? {};
    if (typeof images !== 'object' || images === null) {
      throw expected(
        'OBSERVATION_INVALID',
        'an object of camera frames by name',
        'observation.images',
        images,
      );
    }
    const frames = this.#cameras.map((camera) => {
      const frame = Object.hasOwn(images, camera) ? images[camera] : undefined;
      if (frame === undefined) {
        throw refusal(
          'CAMERA_MISSING',
          'observation.images',
          `the cameras ${this.#cameras.join(', ')}`,
          `no ${camera}, but ${Object.keys(images).join(', ') || 'none'}`,
          'Check its cable and driver.',
        );
      }
      checkFrame(frame, camera);
      return frame;
    });
    for (const [i, { width, height }] of frames.entries()) this.#checkSize(this.#cameras[i]!, width, height);
    return frames;
  }

  #checkSize(camera: string, width: number, height: number): void {
    const history = this.#histories.get(camera)!;
    if (history.width === 0) {
      history.width = width;
      history.height = height;
      return;
    }
    if (history.width === width && history.height === height) return;
    const other = this.#cameras.find((name) => {
      const { width: w, height: h } = this.#histories.get(name)!;
      return name !== camera && w === width && h === height;
    });
    throw refusal(
      other === undefined ? 'IMAGE_INVALID' : 'CAMERA_EXCHANGED',
      `Image ${camera}`,
      `${history.width} x ${history.height} pixels as before`,
      `${width} x ${height}${other === undefined ? '' : `, the size of ${other}`}`,
      other === undefined
        ? "Keep a camera's format for an episode; reset() begins another."
        : 'Check which camera is which, then reset().',
    );
  }

  #checkState(state: Observation['state']): void {
    if (this.#stateLength === 'none') return;
    if (state === undefined) {
      if (this.#stateLength === undefined) return;
      throw refusal(
        'STATE_INVALID',
        'observation.state',
        `${this.#stateLength} numbers`,
        'none',
        'Add the joint state.',
      );
    }
    if (!Array.isArray(state) && !(ArrayBuffer.isView(state) && !(state instanceof DataView))) {
      throw expected('STATE_INVALID', 'a list of numbers', 'observation.state', state);
    }
    for (let i = 0; i < state.length; i++) {
      if (!Number.isFinite(state[i])) {
        throw expected('STATE_INVALID', 'a finite number', `observation.state[${i}]`, state[i]);
      }
    }
    this.#stateLength ??= state.length;
    if (state.length !== this.#stateLength) {
      const found = `${state.length}`;
      throw refusal(
        'STATE_INVALID',
        'observation.state',
        `${this.#stateLength} numbers`,
        found,
        'Check its source.',
      );
    }
  }

  #checkFrame(camera: string, frame: ImageFrame, at: number): Float32Array {
    const history = this.#histories.get(camera)!;
    const { brightest, thumbnail } = glance(frame);
    history.note(frame, at);
    if (brightest <= this.#blackLevel) {
      throw refusal(
        'IMAGE_BLACK',
        `Image ${camera}`,
        `a pixel brighter than ${this.#blackLevel}`,
        `${brightest} at most`,
        'Check its lens cap, light and exposure.',
      );
    }
    const frozenFor = at - history.sameSince;
    if (history.sameCount >= frozenCount && frozenFor >= this.#frozenMs) {
      throw refusal(
        'IMAGE_FROZEN',
        `Image ${camera}`,
        'a frame that differs from the last, if only by noise',
        `the same bytes for ${Math.round(frozenFor)} ms`,
        'Check its driver; for a simulator without noise set frozenMs to Infinity.',
      );
    }
    return thumbnail;
  }

  #checkDuplicates(frames: readonly ImageFrame[]): void {
    for (let i = 0; i < frames.length; i++) {
      for (let j = i + 1; j < frames.length; j++) {
        const [a, b] = [frames[i]!.data, frames[j]!.data];
        if (a.length !== b.length || Buffer.compare(a, b) !== 0) continue;
        throw refusal(
          'CAMERA_DUPLICATE',
          'observation.images',
          'one frame from each camera',
          `the same bytes for ${this.#cameras[i]} and ${this.#cameras[j]}`,
          'Check which topic or device each name reads.',
        );
      }
    }
  }

  /** Two cameras were exchanged if each frame looks like the other's last one and unlike its own. */
  #checkExchange(now: readonly Float32Array[]): void {
    const before = this.#cameras.map((camera) => this.#histories.get(camera)!.thumbnail);
    for (let i = 0; i < now.length; i++) {
      for (let j = i + 1; j < now.length; j++) {
        const [a, b, wasA, wasB] = [now[i]!, now[j]!, before[i], before[j]];
        if (!wasA || !wasB) continue;
        const straight = difference(a, wasA) + difference(b, wasB);
        const crossed = difference(a, wasB) + difference(b, wasA);
        if (straight < 2 * leastDifference || crossed * exchangedRatio > straight) continue;
        throw refusal(
          'CAMERA_EXCHANGED',
          'observation.images',
          `${this.#cameras[i]} and ${this.#cameras[j]} to show what they showed before`,
          'each showing what the other did',
          'Check which camera is which, then reset().',
        );
      }
    }
  }
}

function refusal(
  code: ErrorCode,
  what: string,
  wanted: string,
  found: string,
  next: string,
): SemanticVlaError {
  return new SemanticVlaError(code, `${what}: expected ${wanted}, found ${found}. ${next}`);
}
