/**
 * The least time that a device needs for one chunk: max(operations / peak, bytes / bandwidth) of the language model plus the
 * same of the rest, since one follows the other. Measurements are compared with it.
 */

import type { PolicyConfig, VitConfig } from '../../lib/checkpoint/policyConfig.ts';
import { countTokens, type SequenceSizes } from '../../lib/graph/tokenCounts.ts';

export interface DevicePeaks {
  readonly match: RegExp;
  /** Dense bfloat16 TFLOP/s (float16 on Orin). */
  readonly teraflops: number;
  /** TB/s */
  readonly bandwidth: number;
}

/** NVIDIA's data sheets, dense, without boost above the stated clocks. */
export const devicePeaks: readonly DevicePeaks[] = [
  { match: /H200/, teraflops: 989, bandwidth: 4.8 },
  { match: /H100/, teraflops: 989, bandwidth: 3.35 },
  { match: /A800|A100/, teraflops: 312, bandwidth: 2.04 },
  { match: /RTX 4090/, teraflops: 165, bandwidth: 1.01 },
  { match: /RTX 5090/, teraflops: 210, bandwidth: 1.79 },
  { match: /Thor/, teraflops: 258, bandwidth: 0.273 },
  { match: /Orin/, teraflops: 42.5, bandwidth: 0.205 },
];

export interface Work {
  readonly flop: number;
  /** Weights in a 16-bit type. */
  readonly bytes: number;
}

export interface PolicyWork {
  readonly llm: Work;
  /** Towers and projector. */
  readonly vision: Work;
}

const dense = (parameters: number, rows: number): Work => ({
  flop: 2 * parameters * rows,
  bytes: 2 * parameters,
});
const sum = (...parts: readonly Work[]): Work => ({
  flop: parts.reduce((total, { flop }) => total + flop, 0),
  bytes: parts.reduce((total, { bytes }) => total + bytes, 0),
});

/** Matrix products only; attention's own products are 2 % of it. */
export function policyWork(config: PolicyConfig, sizes: SequenceSizes, promptLength: number): PolicyWork {
  const { llama, dinov2, siglip } = config;
  const { besidePrompt, perImage, fused } = countTokens(config, {
    ...sizes,
    actionDim: sizes.actionDim ?? 7,
  });
  const rows = besidePrompt + promptLength;
  const keys = llama.kvHeads * llama.headDim;
  const layer = 2 * llama.width ** 2 + 2 * llama.width * keys + 3 * llama.width * llama.mlpWidth;
  const tower = (vit: VitConfig): Work => {
    const tokens = vit.patches + vit.prefixTokens + vit.queries;
    const block = 4 * vit.width ** 2 + 2 * vit.width * vit.mlpWidth;
    return dense((vit.outputBlock + 1) * block, tokens * sizes.images);
  };
  const joined = dinov2.width + siglip.width;
  const projector = joined * 4 * joined + 4 * joined * llama.width + llama.width ** 2;
  const exchanges = config.exchangePairs.length * (2 * joined * joined + joined * joined);
  return {
    llm: dense(llama.layers * layer, rows),
    vision: sum(
      tower(dinov2),
      tower(siglip),
      dense(projector, (perImage > 0 ? fused : dinov2.patches) * sizes.images),
      dense(exchanges, dinov2.patches * sizes.images),
    ),
  };
}

/** Milliseconds; null for a device whose peaks are not listed. */
export function limitMs(device: string, work: PolicyWork): number | null {
  const peaks = devicePeaks.find(({ match }) => match.test(device));
  if (peaks === undefined) return null;
  const phase = ({ flop, bytes }: Work): number =>
    Math.max(flop / (peaks.teraflops * 1e9), bytes / (peaks.bandwidth * 1e9));
  return phase(work.llm) + phase(work.vision);
}
