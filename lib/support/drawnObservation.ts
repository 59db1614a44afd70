/** A made-up observation for predictions that only serve as preparation: their results are ignored. */

import type { Observation } from '../types.ts';

/**
 * @param stateSize numbers of the joint state; 0: none
 * @param size [width, height] of every frame
 */
export function drawnObservation(
  cameras: readonly string[],
  stateSize: number,
  [width, height]: readonly [number, number],
): Observation {
  const frame = { data: noise(width * height * 3), width, height };
  return {
    images: Object.fromEntries(cameras.map((camera) => [camera, frame])),
    ...(stateSize === 0 ? {} : { state: new Float64Array(stateSize) }),
  };
}

/** Noise from a fixed seed. */
function noise(bytes: number): Uint8Array {
  const out = new Uint8Array(bytes);
  let state = 1;
  for (let i = 0; i < bytes; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    out[i] = state >>> 24;
  }
  return out;
}
