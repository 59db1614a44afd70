/** An observation for who measures time and has none: noise of a fixed seed, whose values no kernel's time depends on. */

import type { PolicyParts } from '../../policy/policyParts.ts';
import { lowHigh } from '../../transforms/bounds.ts';
import type { Observation } from '../../types.ts';

/** Pixels of a side: what LIBERO's cameras deliver, so that the resize runs. */
const side = 256;

/** A sentence of the length that LIBERO's have. */
export const syntheticInstruction = 'pick up the black bowl next to the plate and place it on the plate';

/** The joint state is the middle of the dataset's bounds. */
export function syntheticObservation({ checkpoint, platform }: PolicyParts, unnormKey: string): Observation {
  const images = Object.fromEntries(
    platform.cameras.map((camera, i) => [
      camera,
      { data: noise(side * side * 3, i + 1), width: side, height: side },
    ]),
  );
  const bounds = checkpoint.statistics.get(unnormKey)?.proprio ?? null;
  if (!platform.proprio || bounds === null) return { images };
  const { low, high } = lowHigh(bounds, platform.normalization);
  return { images, state: low.map((value, i) => (value + high[i]!) / 2) };
}

function noise(bytes: number, seed: number): Uint8Array {
  const out = new Uint8Array(bytes);
  let state = seed;
  for (let i = 0; i < bytes; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    out[i] = state >>> 24;
  }
  return out;
}
