/** What the door for chunks costs: `node --import tsx bench/supervise/door.ts`. Microseconds a chunk, the best of 2,000 short rounds. */

import { checkedChunk } from '../../lib/support/checkedChunk.ts';
import type { ActionChunk } from '../../lib/types.ts';

const cases = {
  'LIBERO, 8 x 7, without a pruner': [8, 7, 0, 0],
  'LIBERO, 8 x 7, 2 cameras of 256 x 16 similarities': [8, 7, 2, 16],
  'ALOHA, 25 x 14, 3 cameras of 256 x 32 similarities': [25, 14, 3, 32],
} as const;

for (const [name, [rows, width, cameras, texts]] of Object.entries(cases)) {
  const dimensions = Array.from({ length: width }, (_, i) => `action_${i}`);
  const perCamera = <T>(array: T): Record<string, T> =>
    Object.fromEntries(Array.from({ length: cameras }, (_, i) => [`camera_${i}`, array]));
  const chunk: ActionChunk = {
    actions: new Float64Array(rows * width),
    normalized: new Float32Array(rows * width),
    shape: [rows, width],
    // a list of its own, as from a socket: the names are compared
    dimensions: [...dimensions],
    keptPatches: perCamera(Int32Array.from({ length: 16 }, (_, i) => 16 * i)),
    similarity: perCamera(new Float32Array(256 * texts).fill(0.5)),
    timings: { preprocess: 1, policy: 40, total: 41 },
    instruction: 'go',
    unnormKey: 'k',
  };
  const times: number[] = [];
  const turns = 50;
  for (let round = 0; round < 2000; round++) {
    const start = performance.now();
    for (let i = 0; i < turns; i++) checkedChunk(chunk, { dimensions, patchGrid: 16 });
    times.push(((performance.now() - start) * 1000) / turns);
  }
  console.log(`${name}: ${Math.min(...times).toFixed(1)} us`);
}
