/**
 * Layer times as trtexec writes them (--exportProfile), so that what reads those reads ours. Fields and their order are those
 * of TensorRT's public samples (sampleReporting.cpp).
 */

import type { LayerTime } from '../types.ts';

/**
 * @param layers of one graph, in the order in which they ran
 * @param runs how many runs were counted
 * @returns `[{count}, {name, timeMs, averageMs, medianMs, percentage}, ...]`; percentages of the total time, as trtexec's
 */
export function trtexecProfile(layers: readonly LayerTime[], runs: number): readonly object[] {
  const totalMs = layers.reduce((sum, { averageMs }) => sum + averageMs, 0);
  return [
    { count: runs },
    ...layers.map(({ name, averageMs, medianMs }) => ({
      name,
      timeMs: averageMs * runs,
      averageMs,
      medianMs,
      percentage: totalMs > 0 ? (100 * averageMs) / totalMs : 0,
    })),
  ];
}
