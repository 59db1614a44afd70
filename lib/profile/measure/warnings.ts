/** Warnings derived from the numbers themselves: what to know before believing them. */

import type { Warning } from '../../machine/types.ts';
import { median, sorted } from '../../support/median.ts';
import type { StageName, SubjectResult, Summary } from '../types.ts';
import { percentileOf } from './percentiles.ts';

/** trtexec's limits (TensorRT, samples/common/sampleReporting.cpp). */
const enqueueShare = 0.8;
/** What a claim about a GPU needs: 1000 runs after 300 warm-ups. */
const claimChunks = 1000;
const claimWarmUps = 300;
/** Change of the median from the first to the last third of a run beyond which it is not noise. */
const driftLimit = 0.05;
const leastForDrift = 30;

/** Warnings of one subject. */
export function subjectWarnings({ subject, warmUp, chunks, summary }: SubjectResult): Warning[] {
  const drift = driftOf(chunks.map(({ stages }) => stages.total!)) ?? 0;
  const largest = chunks.length < 100 ? `; its p99 is the largest of ${chunks.length}` : '';
  const told: readonly (readonly [isTold: boolean, code: string, text: string])[] = [
    [
      !warmUp.stable,
      'warm-up-not-steady',
      `warm-up ended after ${warmUp.chunks} chunks before a steady state was seen: ${warmUp.because}. The figures may still move; give it longer with --warm-up, or end what else runs here.`,
    ],
    [
      subject.backend === 'tensorrt' && warmUp.chunks < claimWarmUps,
      'warm-up-short',
      `${warmUp.chunks} warm-up chunks; a GPU needs ${claimWarmUps} before its clocks have settled.`,
    ],
    [
      chunks.length < claimChunks,
      'few-chunks',
      `${chunks.length} chunks were measured, fewer than the ${claimChunks} that a claim needs${largest}. Measure longer with --iterations and --limit.`,
    ],
    ...gpuWarnings(summary).map(({ code, text }) => [true, code, text] as const),
    [
      Math.abs(drift) > driftLimit,
      'drift',
      `its median ${drift > 0 ? 'rose' : 'fell'} by ${(100 * Math.abs(drift)).toFixed(0)} % from the first to the last third of the run: clocks, temperature or other work changed meanwhile.`,
    ],
  ];
  return told.flatMap(([isTold, code, text]) => (isTold ? [{ code, text: `${subject.name}: ${text}` }] : []));
}

/** trtexec's own warnings, applied to medians. */
export function gpuWarnings(summary: Readonly<Partial<Record<StageName, Summary>>>): Warning[] {
  const { enqueue, compute } = summary;
  if (compute === undefined) return [];
  const gpu = `the GPU's ${compute.median.toFixed(3)} ms`;
  const warnings: Warning[] = [];
  if (enqueue !== undefined && enqueue.median > enqueueShare * compute.median) {
    warnings.push({
      code: 'enqueue-bound',
      text: `enqueueing takes ${enqueue.median.toFixed(3)} ms, more than ${enqueueShare} of ${gpu}: the host may hold the GPU up. Use CUDA graphs.`,
    });
  }
  for (const [name, what] of [
    ['h2d', 'copying to'],
    ['d2h', 'copying from'],
  ] as const) {
    const ms = summary[name]?.median ?? 0;
    const text = `${what} the device takes ${ms.toFixed(3)} ms, at least as long as ${gpu}: transfers bound the throughput.`;
    if (ms >= compute.median) warnings.push({ code: `${name}-bound`, text });
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
