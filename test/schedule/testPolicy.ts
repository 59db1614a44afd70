/** What the policies of these tests have in common, apart from their answers. */

import type { Policy } from '../../lib/types.ts';

/** @param chunk rows of one answer */
export function testPolicy(dimensions: readonly string[], predict: Policy['predict'], chunk = 8): Policy {
  return {
    platform: {
      name: 'custom',
      cameras: [],
      proprio: true,
      centerCrop: false,
      jpeg: false,
      chunk,
      normalization: 'minmax',
    },
    dimensions,
    variant: 'test',
    imageSize: 224,
    patchGrid: 16,
    notices: [],
    predict,
    stages: async () => new Map(),
    close: async () => {},
    [Symbol.asyncDispose]: async () => {},
  };
}
