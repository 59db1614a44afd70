/** Stands in for your robot in the examples: cameras that show noise around a scene, joints that follow the actions. */

import type { ImageFrame, TimedObservation } from 'semanticvla';

export class FakeRobot {
  readonly #cameras: readonly string[];
  readonly #joints: Float64Array;
  readonly #actions: 'delta' | 'position';
  #moves = 0;
  #waiting: { readonly moves: number; readonly resolve: () => void } | null = null;

  /**
   * @param joints length of the joint state
   * @param actions what an action is: added to the joints, or where they are to be (ALOHA)
   */
  constructor(cameras: readonly string[], joints: number, actions: 'delta' | 'position' = 'delta') {
    this.#cameras = cameras;
    this.#actions = actions;
    this.#joints = new Float64Array(joints);
  }

  /** Reads all sensors: frames of 224 x 224 pixels, a view of its own for each camera, no two alike. */
  look(): TimedObservation {
    const images = Object.fromEntries(this.#cameras.map((camera, index) => [camera, this.#frame(index)]));
    return { observation: { images, state: this.#joints.slice() }, at: performance.now() };
  }

  /** Executes one action. */
  move(values: ArrayLike<number>): void {
    for (let i = 0; i < this.#joints.length; i++) {
      if (this.#actions === 'delta') this.#joints[i]! += values[i] ?? 0;
      else this.#joints[i] = values[i] ?? this.#joints[i]!;
    }
    this.#moves++;
    if (this.#waiting !== null && this.#moves >= this.#waiting.moves) this.#waiting.resolve();
  }

  /** Resolves when so many actions were executed. */
  moved(moves: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#moves >= moves) resolve();
      else this.#waiting = { moves, resolve };
    });
  }

  #frame(camera: number): ImageFrame {
    const side = 224;
    const data = new Uint8Array(side * side * 3);
    for (let i = 0; i < data.length; i++) {
      const scene = camera % 2 === 0 ? i % (side * 3) : Math.floor(i / (side * 3)) * 3;
      data[i] = 20 + ((scene * 200) / (side * 3) + Math.random() * 10);
    }
    return { width: side, height: side, data };
  }
}
