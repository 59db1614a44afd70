/** The parts of `npm run gpu` that run a policy: golden cases and latency. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { openTensorRt } from '../../lib/engine/openTensorRt.ts';
import { recordedImages, recordedInput } from '../../lib/engine/recordedInput.ts';
import { readObservation } from '../../lib/observation/readObservation.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import { resolvePlatform } from '../../lib/policy/platform.ts';
import { policySizes } from '../../lib/policy/policyParts.ts';
import { goldenCheckpoint } from '../../test/helpers/golden.ts';
import {
  type GoldenName,
  type GoldenSample,
  goldenCase,
  goldenOptions,
  goldenRoot,
  maxAbsDifference,
} from '../../test/helpers/goldenCase.ts';
import { limitMs, policyWork } from './limit.ts';

export interface GoldenRow {
  readonly golden: string;
  readonly sample: string;
  /** Of the normalized actions, max abs. */
  readonly difference: number;
  readonly allowed: number;
  /** The CPU's patches. In low precision a near tie may fall the other way; then actions are not comparable. */
  readonly samePatches: boolean;
  readonly passed: boolean;
}

type NoisySample = GoldenSample & { readonly bf16_forced_selection_vs_fp32_max_abs_normalized?: number };

/** Three times the reference's own bfloat16 noise with the same selection; 0.05 where a case does not state it. */
const noiseFactor = 3;
const unstatedNoise = 0.05;

export async function measureGoldens(names: readonly GoldenName[]): Promise<GoldenRow[]> {
  const rows: GoldenRow[] = [];
  for (const name of names) {
    await using policy = await loadPolicy(await goldenCheckpoint(name), {
      ...goldenOptions[name],
      backend: 'tensorrt',
    });
    for (const sample of goldenCase(name).samples as readonly NoisySample[]) {
      const { observation } = await readObservation(join(goldenRoot, name, sample.observation));
      const { instruction, unnorm_key: unnormKey } = sample;
      const chunk = await policy.predict(observation, { instruction, unnormKey });
      const difference = maxAbsDifference(chunk.normalized, sample.normalized_fp32.flat());
      const allowed =
        noiseFactor * (sample.bf16_forced_selection_vs_fp32_max_abs_normalized ?? unstatedNoise);
      const kept = Object.values(chunk.keptPatches).map((patches) => [...patches]);
      const samePatches = JSON.stringify(kept) === JSON.stringify(sample.kept_patches_fp32 ?? []);
      const passed = samePatches ? difference <= allowed : Number.isFinite(difference);
      rows.push({
        golden: name,
        sample: `${sample.observation}, ${instruction}`,
        difference,
        allowed,
        samePatches,
        passed,
      });
    }
  }
  return rows;
}

export interface LatencyRow {
  readonly what: string;
  readonly runs: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  /** By the device's clock, median. */
  readonly deviceP50: number;
  readonly limitMs: number | null;
}

export interface LatencyOptions {
  readonly checkpoint: string;
  readonly weights: 'bound' | 'baked';
  readonly label: string;
  readonly warmUps: number;
  readonly runs: number;
}

/** Frames in host memory to actions in host memory, and the same from preprocessed images; batch 1. */
export async function measureLatency(options: LatencyOptions): Promise<LatencyRow[]> {
  const checkpoint = await openCheckpoint(options.checkpoint);
  const platform = resolvePlatform(checkpoint, { platform: 'libero' });
  const sizes = policySizes(checkpoint, platform);
  const session = await openTensorRt(checkpoint, sizes, { threads: 4, weights: options.weights });
  try {
    const promptLength = 32;
    const recorded = recordedInput(checkpoint.config, sizes, promptLength, 0);
    const { instruction, proprio } = recorded;
    const input = { images: await recordedImages(recorded, checkpoint.config, 4), proprio };
    const state = await session.encodeInstruction(instruction);
    const side = 256;
    const frame = {
      data: new Uint8Array(side * side * 3).map((_, i) => (i * 31) & 255),
      width: side,
      height: side,
    };
    const frames = {
      frames: Array.from({ length: sizes.images }, () => frame),
      jpeg: true,
      centerCrop: platform.centerCrop,
      proprio,
    };
    const fromFrames = () => {
      const staged = session.stageFrames(frames);
      if (staged === null) throw new Error('the device does not preprocess frames of 256 x 256');
      return staged.run(state);
    };
    const limit = limitMs(session.device.name, policyWork(checkpoint.config, sizes, promptLength));
    const rows: LatencyRow[] = [];
    for (const [what, run] of [
      ['frames', () => fromFrames()],
      ['images', () => session.run(input, state)],
    ] as const) {
      const host: number[] = [];
      const device: number[] = [];
      for (let i = 0; i < options.warmUps + options.runs; i++) {
        const start = performance.now();
        const { timings } = await run();
        if (i < options.warmUps) continue;
        host.push(performance.now() - start);
        device.push(timings.device!);
      }
      rows.push({
        what: `${options.label}, ${options.weights} weights, from ${what}`,
        runs: options.runs,
        p50: percentile(host, 0.5),
        p90: percentile(host, 0.9),
        p99: percentile(host, 0.99),
        deviceP50: percentile(device, 0.5),
        limitMs: limit,
      });
    }
    return rows;
  } finally {
    await session.close();
  }
}

/** The smallest value that `share` of the values do not exceed. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** Clocks and power as nvidia-smi or the Jetson reports them. */
export function powerMode(read: (command: string, args: readonly string[]) => string | null): string {
  const smi = read('nvidia-smi', [
    '--query-gpu=clocks.sm,clocks.mem,power.limit,persistence_mode',
    '--format=csv,noheader',
  ]);
  if (smi !== null && smi.trim() !== '') return smi.trim();
  const jetson = read('nvpmodel', ['-q']);
  if (jetson !== null) return jetson.trim().replaceAll('\n', ' ');
  try {
    return readFileSync('/proc/driver/nvidia/version', 'utf8').split('\n', 1)[0]!;
  } catch {
    return 'unknown';
  }
}
