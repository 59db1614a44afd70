/** Warnings derived from the numbers themselves: what to know before believing them. */

import type { StageName, SubjectResult, Summary, Warning } from '../types.ts';
import { median, percentileOf, sorted } from './percentiles.ts';

/** trtexec's limits (TensorRT, samples/common/sampleReporting.cpp). */
const enqueueShare = 0.8;
/** What a claim about a GPU needs: 1000 runs after 300 warm-ups. */
export const claimChunks = 1000;
export const claimWarmUps = 300;
/** Change of the median from the first to the last third of a run beyond which it is not noise. */
const driftLimit = 0.05;
const leastForDrift = 30;

/** Warnings of one subject. */
export function subjectWarnings(result: SubjectResult): Warning[] {
  const { subject, warmUp, chunks, summary } = result;
  const about = (code: string, text: string): Warning => ({ code, text: `${subject.name}: ${text}` });
  const warnings: Warning[] = [];
  if (!warmUp.stable) {
    warnings.push(
      about(
        'warm-up-not-steady',
        `warm-up ended after ${warmUp.chunks} chunks before a steady state was seen: ${warmUp.because}. The figures may still move; give it longer with --warm-up, or end what else runs here.`,
      ),
    );
  }
  if (subject.backend === 'tensorrt' && warmUp.chunks < claimWarmUps) {
    warnings.push(
      about(
        'warm-up-short',
        `${warmUp.chunks} warm-up chunks; a GPU needs ${claimWarmUps} before its clocks have settled.`,
      ),
    );
  }
  if (chunks.length < claimChunks) {
    warnings.push(
      about(
        'few-chunks',
        `${chunks.length} chunks were measured, fewer than the ${claimChunks} that a claim needs${chunks.length < 100 ? `; its p99 is the largest of ${chunks.length}` : ''}. Measure longer with --iterations and --limit.`,
      ),
    );
  }
  warnings.push(...gpuWarnings(summary).map(({ code, text }) => about(code, text)));
  const drift = driftOf(chunks.map(({ stages }) => stages.total!));
  if (drift !== null && Math.abs(drift) > driftLimit) {
    warnings.push(
      about(
        'drift',
        `its median ${drift > 0 ? 'rose' : 'fell'} by ${(100 * Math.abs(drift)).toFixed(0)} % from the first to the last third of the run: clocks, temperature or other work changed meanwhile.`,
      ),
    );
  }
  return warnings;
}

/** trtexec's own warnings, applied to medians. */
export function gpuWarnings(summary: Readonly<Partial<Record<StageName, Summary>>>): Warning[] {
  const { enqueue, compute, h2d, d2h } = summary;
  if (compute === undefined) return [];
  const warnings: Warning[] = [];
  if (enqueue !== undefined && enqueue.median > enqueueShare * compute.median) {
    warnings.push({
      code: 'enqueue-bound',
      text: `enqueueing takes ${enqueue.median.toFixed(3)} ms, more than ${enqueueShare} of the GPU's ${compute.median.toFixed(3)} ms: the host may hold the GPU up. Use CUDA graphs.`,
    });
  }
  for (const [name, transfer] of [
    ['h2d', h2d],
    ['d2h', d2h],
  ] as const) {
    if (transfer === undefined || transfer.median < compute.median) continue;
    warnings.push({
      code: `${name}-bound`,
      text: `${name === 'h2d' ? 'copying to' : 'copying from'} the device takes ${transfer.median.toFixed(3)} ms, at least as long as the GPU's ${compute.median.toFixed(3)} ms: transfers bound the throughput.`,
    });
  }
  return warnings;
}

/** Median of the last third / median of the first - 1; null if there are too few chunks. */
export function driftOf(times: readonly number[]): number | null {
  if (times.length < leastForDrift) return null;
  const third = Math.floor(times.length / 3);
  const first = sorted(times.slice(0, third));
  const last = sorted(times.slice(-third));
  // if the quartile ranges overlap, it is noise
  const apart =
    percentileOf(first, 75) < percentileOf(last, 25) || percentileOf(last, 75) < percentileOf(first, 25);
  return apart ? median(last) / median(first) - 1 : 0;
}
