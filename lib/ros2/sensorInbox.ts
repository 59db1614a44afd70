/** The newest message of each sensor, combined into observations: a new one when every camera and the state have changed. */

import type { ObservationGuard } from '../observation/observationGuard.ts';
import type { TimedObservation } from '../schedule/loopEvents.ts';
import type { ImageFrame } from '../types.ts';

interface Newest<T> {
  value: T | null;
  /** Monotonic milliseconds of its arrival. */
  at: number;
  isNew: boolean;
  stamp: string | null;
}

export class SensorInbox {
  /** Number of messages that repeated the previous stamp. */
  repeated = 0;
  /** Number of resets: messages still being decoded at a reset belong to the previous episode. */
  episode = 0;
  readonly #cameras: readonly string[];
  readonly #takesState: boolean;
  readonly #guard: ObservationGuard;
  readonly #frames: Map<string, Newest<ImageFrame>>;
  readonly #state: Newest<Float64Array> = { value: null, at: 0, isNew: false, stamp: null };
  #observation: TimedObservation | null = null;

  constructor(cameras: readonly string[], takesState: boolean, guard: ObservationGuard) {
    this.#cameras = cameras;
    this.#takesState = takesState;
    this.#guard = guard;
    this.#frames = new Map(
      cameras.map((camera) => [camera, { value: null, at: 0, isNew: false, stamp: null }]),
    );
  }

  /** @param stamp of the message's header; null when it has none. The same stamp twice in a row counts as a repetition. */
  putFrame(camera: string, frame: ImageFrame, at: number, stamp: string | null): void {
    this.#put(this.#frames.get(camera)!, frame, at, stamp);
  }

  putState(state: Float64Array, at: number, stamp: string | null): void {
    this.#put(this.#state, state, at, stamp);
  }

  /** Forgets everything seen before. */
  reset(): void {
    this.episode++;
    for (const newest of [...this.#frames.values(), this.#state]) {
      newest.value = null;
      newest.isNew = false;
    }
    this.#observation = null;
    this.#guard.reset();
  }

  /**
   * The newest observation, as old as its oldest part; null before the first one. Without new messages it is the same object.
   * @throws what the guard refuses; a refused observation is refused again until a new one is complete
   */
  observe(): TimedObservation | null {
    const parts: Newest<unknown>[] = [...this.#frames.values(), ...(this.#takesState ? [this.#state] : [])];
    if (parts.every(({ isNew }) => isNew)) {
      for (const part of parts) part.isNew = false;
      const images = Object.fromEntries(
        this.#cameras.map((camera) => [camera, this.#frames.get(camera)!.value!]),
      );
      const state = this.#state.value;
      this.#observation = {
        observation: this.#takesState && state !== null ? { images, state } : { images },
        at: Math.min(...parts.map(({ at }) => at)),
      };
    }
    const newest = this.#observation;
    if (newest !== null) this.#guard.check(newest.observation, newest.at);
    return newest;
  }

  #put<T>(newest: Newest<T>, value: T, at: number, stamp: string | null): void {
    if (stamp !== null && stamp === newest.stamp) {
      this.repeated++;
      return;
    }
    newest.value = value;
    newest.at = at;
    newest.isNew = true;
    newest.stamp = stamp;
  }
}
