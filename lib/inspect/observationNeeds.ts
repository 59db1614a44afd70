/** What a policy takes as an observation, and how a given one fits. */

import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { lowHigh } from '../transforms/bounds.ts';
import type { Observation, Platform } from '../types.ts';

/** What an observation of a policy holds. */
export interface ObservationNeeds {
  /** In the order of the input; frames of any size, RGB uint8, resized to `imageSize` squared. */
  readonly cameras: readonly string[];
  /** Pixels a side. */
  readonly imageSize: number;
  /** null: the policy takes no joint state. */
  readonly state: {
    readonly length: number;
    /** The dataset in whose units it is; null: several fit, and none was chosen. */
    readonly unnormKey: string | null;
    /** Ends of the range of the training data, one a number (q01 and q99, or min and max); empty where no dataset was chosen. */
    readonly low: readonly number[];
    readonly high: readonly number[];
  } | null;
}

/** One part of an observation: what is expected, what was found, and whether it fits. */
export interface ObservationPart {
  /** `image full_image`, `state`, `instruction`. */
  readonly part: string;
  readonly expected: string;
  readonly found: string;
  readonly fits: boolean;
}

/** @param unnormKey the chosen dataset; null: none was chosen */
export function observationNeeds(
  { config, statistics }: Pick<Checkpoint, 'config' | 'statistics'>,
  platform: Platform,
  unnormKey: string | null,
): ObservationNeeds {
  const { cameras, proprio, normalization } = platform;
  const needs = { cameras, imageSize: config.imageSize };
  if (!proprio) return { ...needs, state: null };
  const bounds = unnormKey === null ? null : (statistics.get(unnormKey)?.proprio ?? null);
  const { low, high } = bounds === null ? { low: [], high: [] } : lowHigh(bounds, normalization);
  return {
    ...needs,
    state: { length: bounds === null ? (config.proprioDim ?? 0) : low.length, unnormKey, low, high },
  };
}

/**
 * The observation beside what the policy takes: each camera, the joint state, the instruction; then frames that it does not use.
 *
 * @param needs `observation` of the report of `inspectCheckpoint`
 * @param given as `readObservation` returns it
 * @throws never
 */
export function compareObservation(
  needs: ObservationNeeds,
  given: { readonly observation: Observation; readonly instruction?: string },
): ObservationPart[] {
  const { observation, instruction } = given;
  const { images } = observation;
  const expected = expectedParts(needs);
  const cameras = needs.cameras.map((camera): ObservationPart => {
    const frame = Object.hasOwn(images, camera) ? images[camera] : undefined;
    const part = `image ${camera}`;
    const found = frame === undefined ? 'MISSING' : `RGB, ${frame.width} x ${frame.height}`;
    return { part, expected: expected[part]!, found, fits: frame !== undefined };
  });
  const unused = Object.keys(images).filter((camera) => !needs.cameras.includes(camera));
  return [
    ...cameras,
    statePart(needs, expected.state!, observation.state),
    {
      part: 'instruction',
      expected: expected.instruction!,
      found: instruction === undefined ? 'none' : JSON.stringify(instruction),
      fits: true,
    },
    ...unused.map((camera) => ({
      part: `image ${camera}`,
      expected: 'not used',
      found: 'ignored',
      fits: true,
    })),
  ];
}

/** What each part must be, in words. */
export function expectedParts({ cameras, imageSize, state }: ObservationNeeds): Record<string, string> {
  const units = state?.unnormKey == null ? '' : ` in the units of ${state.unnormKey}`;
  return {
    ...Object.fromEntries(
      cameras.map((camera) => [`image ${camera}`, `RGB, any size (made ${imageSize} x ${imageSize})`]),
    ),
    state: state === null ? 'not used' : `${state.length} numbers${units}`,
    instruction: 'a sentence, here or as --instruction',
  };
}

function statePart(
  { state: needed }: ObservationNeeds,
  expected: string,
  state: ArrayLike<number> | undefined,
): ObservationPart {
  const part = { part: 'state', expected };
  if (state === undefined)
    return { ...part, found: needed === null ? 'none' : 'MISSING', fits: needed === null };
  const numbers = `${state.length} numbers`;
  if (needed === null) return { ...part, found: `${numbers}, ignored`, fits: true };
  if (state.length !== needed.length) return { ...part, found: numbers, fits: false };
  const outside = Array.from(state).flatMap((value, i) =>
    value < (needed.low[i] ?? Number.NEGATIVE_INFINITY) ||
    value > (needed.high[i] ?? Number.POSITIVE_INFINITY)
      ? [i]
      : [],
  );
  const range =
    outside.length === 0
      ? ''
      : `; outside the range of training (clipped): number ${outside.join(', ')}, counted from 0`;
  return { ...part, found: numbers + range, fits: true };
}
