/**
 * What the last predictions saw and answered, in memory of a fixed size. Frames are copied, since the caller may use its
 * buffers again; memory of scenes that drop out is used again, so a steady run allocates almost nothing.
 */

import type { ActionChunk, ImageFrame, Observation } from '../../types.ts';

/** A camera's frame as it came, uint8 [height, width, 3]. */
export type SceneFrame = Required<ImageFrame> & { readonly camera: string };

/** One prediction. Times are milliseconds of `performance.now()`. */
export interface Scene {
  readonly number: number;
  readonly at: number;
  readonly instruction: string;
  readonly frames: readonly SceneFrame[];
  /** Empty: the observation has none. */
  readonly state: Float64Array;
  /** null: none yet, or none at all. */
  answer: SceneAnswer | null;
}

/** The chunk, in the dataset's units. */
export interface SceneAnswer {
  readonly at: number;
  /** [C, A] row-major */
  readonly actions: Float64Array;
  readonly dimensions: readonly string[];
}

/** What `predict` was called with. */
export interface Asked {
  readonly observation: Observation;
  readonly instruction: string;
}

export class SceneRing {
  readonly #limit: number;
  #scenes: Scene[] = [];
  #bytes = 0;

  /** @param limit bytes of frames that are kept, > 0 */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * Copies what a prediction is asked. What is no observation is left to whoever checks it.
   * @param cameras of the policy; other images of an observation are not kept
   */
  begin(number: number, at: number, cameras: readonly string[], { observation, instruction }: Asked): void {
    const { images = {}, state } = (observation ?? {}) as Partial<Observation>;
    const whole = cameras.flatMap((camera) => {
      const frame = images[camera];
      return frame?.data instanceof Uint8Array && frame.data.length === frame.width * frame.height * 3
        ? [{ ...frame, camera }]
        : [];
    });
    const size = whole.reduce((sum, { data }) => sum + data.length, 0);
    if (size > this.#limit) return;
    const spare: Uint8Array[] = [];
    while (this.#bytes + size > this.#limit) spare.push(...this.#drop());
    const frames = whole.map(({ camera, width, height, order = 'rgb', data }): SceneFrame => {
      const fit = spare.findIndex((one) => one.length === data.length);
      const copy = fit < 0 ? new Uint8Array(data.length) : spare.splice(fit, 1)[0]!;
      copy.set(data);
      return { camera, width, height, order, data: copy };
    });
    this.#bytes += size;
    const said = typeof instruction === 'string' ? instruction : '';
    this.#scenes.push({
      number,
      at,
      instruction: said,
      frames,
      state: Float64Array.from(state ?? []),
      answer: null,
    });
  }

  /** Does nothing if the scene has dropped out in the meantime. */
  answer(number: number, at: number, chunk: Pick<ActionChunk, 'actions' | 'dimensions'>): void {
    const scene = this.#scenes.findLast((one) => one.number === number);
    if (scene === undefined || !(chunk.actions instanceof Float64Array)) return;
    scene.answer = { at, actions: chunk.actions.slice(), dimensions: [...chunk.dimensions] };
  }

  /**
   * Hands over what is kept, oldest first, and begins anew: at the moment of a missed deadline nothing as large as the
   * frames may be copied. So a scene is in one file only.
   */
  take(): Scene[] {
    const scenes = this.#scenes;
    this.#scenes = [];
    this.#bytes = 0;
    return scenes;
  }

  /** The oldest; returns its buffers. */
  #drop(): Uint8Array[] {
    const buffers = this.#scenes.shift()!.frames.map(({ data }) => data);
    for (const { length } of buffers) this.#bytes -= length;
    return buffers;
  }
}

/** Buffers of scenes, to be moved to another thread. */
export function buffersOf(scenes: readonly Scene[]): ArrayBuffer[] {
  return scenes.flatMap(({ frames }) => frames.map(({ data }) => data.buffer as ArrayBuffer));
}
