/** A policy that computes nothing and answers what a LIBERO policy answers, in size: what is measured is the way. */

import type { ActionChunk, Policy } from '../../lib/types.ts';

const cameras = ['full_image', 'wrist_image'];
const dimensions = ['x', 'y', 'z', 'roll', 'pitch', 'yaw', 'gripper'];
const chunk = 8;

/** C = 8, A = 7; 32 of 256 patches kept and [256, 64] similarities a camera. */
export function nullChunk(instruction: string): ActionChunk {
  const each = <T>(make: () => T) => Object.fromEntries(cameras.map((camera) => [camera, make()]));
  return {
    actions: new Float64Array(chunk * dimensions.length),
    normalized: new Float32Array(chunk * dimensions.length),
    shape: [chunk, dimensions.length],
    dimensions,
    keptPatches: each(() => new Int32Array(32)),
    similarity: each(() => new Float32Array(256 * 64)),
    timings: { total: 0 },
    instruction,
    unnormKey: 'none',
  };
}

/** @param options.megabytes that the engine holds, as a real one does: the kernel takes time to free them when it dies */
export function createPolicy({ megabytes = 0 }: { readonly megabytes?: number } = {}): Policy {
  const held = Array.from({ length: megabytes }, () => Buffer.alloc(2 ** 20, 1));
  return {
    platform: {
      name: 'libero',
      cameras,
      proprio: true,
      centerCrop: true,
      jpeg: true,
      chunk,
      normalization: 'q99',
    },
    dimensions,
    variant: 'null',
    imageSize: 224,
    patchGrid: 16,
    notices: [],
    predict: async (_observation, { instruction }) => nullChunk(instruction),
    stages: async () => new Map(),
    close: async () => {
      held.length = 0;
    },
    async [Symbol.asyncDispose]() {},
  };
}
