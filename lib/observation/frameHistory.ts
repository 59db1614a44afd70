/** What the guard remembers of one camera: enough to see that it froze, went dark or became another camera. */

import type { ImageFrame } from '../types.ts';

/** Frames up to this many bytes are compared completely, larger ones in evenly spaced blocks, which bounds the cost. */
const comparedBytes = 2 ** 18;
const blocks = 64;

/** Samples per side of the grid on which brightness is measured; a thumbnail has a quarter as many cells per side. */
const grid = 64;
const cells = 16;
const samplesPerCell = (grid / cells) ** 2;

/** A brief look at a frame. */
export interface FrameGlance {
  /** Largest channel value of the sampled pixels, 0..255. */
  readonly brightest: number;
  /** [16, 16] mean of each cell's sampled pixels' largest channel, 0..255. */
  readonly thumbnail: Float32Array;
}

/** Reads 64 x 64 pixels, whatever the frame's size. */
export function glance({ data, width, height }: ImageFrame): FrameGlance {
  const thumbnail = new Float32Array(cells * cells);
  let brightest = 0;
  for (let i = 0; i < grid; i++) {
    const row = Math.floor(((i + 0.5) * height) / grid) * width;
    const cellRow = (i >> 2) * cells;
    for (let j = 0; j < grid; j++) {
      const at = (row + Math.floor(((j + 0.5) * width) / grid)) * 3;
      const red = data[at]!;
      const green = data[at + 1]!;
      const blue = data[at + 2]!;
      const most = red > green ? (red > blue ? red : blue) : green > blue ? green : blue;
      if (most > brightest) brightest = most;
      thumbnail[cellRow + (j >> 2)]! += most / samplesPerCell;
    }
  }
  return { brightest, thumbnail };
}

/** Mean absolute difference of two thumbnails, in levels of 0..255. */
export function difference(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += Math.abs(a[i]! - b[i]!);
  return sum / a.length;
}

export class FrameHistory {
  /** [16, 16] thumbnail of the last frame known to be this camera's own; null before the first. */
  thumbnail: Float32Array | null = null;
  width = 0;
  height = 0;
  /** Since when, and in how many observations, the frame has been the same. Milliseconds of the caller's clock. */
  sameSince = 0;
  sameCount = 0;
  #compared: Uint8Array = new Uint8Array(0);

  /** Records the next frame; exact for frames up to 256 KiB. */
  note({ data }: ImageFrame, at: number): void {
    if (this.sameCount > 0 && this.#isSame(data)) {
      this.sameCount++;
      return;
    }
    this.sameSince = at;
    this.sameCount = 1;
    const length = Math.min(data.length, comparedBytes);
    if (this.#compared.length !== length) this.#compared = new Uint8Array(length);
    for (const [from, to, n] of spans(data.length)) this.#compared.set(data.subarray(from, from + n), to);
  }

  #isSame(data: Uint8Array): boolean {
    if (this.#compared.length !== Math.min(data.length, comparedBytes)) return false;
    for (const [from, to, n] of spans(data.length)) {
      if (Buffer.compare(data.subarray(from, from + n), this.#compared.subarray(to, to + n)) !== 0)
        return false;
    }
    return true;
  }
}

/** [start in the frame, start in the copy, bytes] of each part that is compared. */
function spans(length: number): (readonly [number, number, number])[] {
  if (length <= comparedBytes) return [[0, 0, length]];
  const n = comparedBytes / blocks;
  return Array.from({ length: blocks }, (_, i) => [Math.floor((i * (length - n)) / (blocks - 1)), i * n, n]);
}
