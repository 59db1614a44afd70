/** A policy that keeps what it was asked and what it said. */

import type { ImageFrame, Policy } from '../../lib/types.ts';

export interface Seen {
  readonly images: Readonly<Record<string, ImageFrame>>;
  readonly state: readonly number[];
  readonly instruction: string;
  /** The rows of its chunk. */
  readonly actions: readonly (readonly number[])[];
}

/** Hands on to `policy` and adds to `seen`, with copies of the frames: those of a request are the server's memory. */
export function watchedPolicy(policy: Policy, seen: Seen[]): Policy {
  const { platform, dimensions, variant, imageSize, patchGrid, notices } = policy;
  return {
    ...{ platform, dimensions, variant, imageSize, patchGrid, notices },
    async predict(observation, options) {
      const images = Object.fromEntries(
        Object.entries(observation.images).map(([camera, frame]) => {
          const { data, width, height } = frame as ImageFrame;
          return [camera, { data: Uint8Array.from(data), width, height }];
        }),
      );
      const { actions, ...rest } = await policy.predict(observation, options);
      const [count, wide] = rest.shape;
      const rows = Array.from({ length: count }, (_, i) => [...actions.slice(i * wide, (i + 1) * wide)]);
      seen.push({
        images,
        state: Array.from(observation.state ?? []),
        instruction: options.instruction,
        actions: rows,
      });
      return { ...rest, actions };
    },
    stages: (observation, options) => policy.stages(observation, options),
    close: () => policy.close(),
    [Symbol.asyncDispose]: () => policy.close(),
  };
}
