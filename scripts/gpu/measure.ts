/** The stages of `npm run gpu` that run a policy: golden cases, latency, time by layer. The measuring is that of `bench` and `profile`. */

import { join } from 'node:path';
import { findMachine } from '../../lib/engine/openTensorRt.ts';
import { settingRows } from '../../lib/machine/machineRows.ts';
import { energyText } from '../../lib/machine/subjectEnergy.ts';
import { readObservation } from '../../lib/observation/readObservation.ts';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import { profilePolicy } from '../../lib/profile/layers/profilePolicy.ts';
import { benchPolicies } from '../../lib/profile/measure/benchPolicies.ts';
import type { BenchSubject } from '../../lib/profile/measure/benchSubject.ts';
import { recogniseDevice } from '../../lib/profile/roofline/devices.ts';
import type { BenchReport } from '../../lib/profile/types.ts';
import type { PolicyOptions } from '../../lib/types.ts';
import { goldenCheckpoint } from '../../test/helpers/golden.ts';
import {
  type GoldenName,
  type GoldenSample,
  goldenCase,
  goldenOptions,
  goldenRoot,
  maxAbsDifference,
} from '../../test/helpers/goldenCase.ts';
import type { Context } from './context.ts';
import type { GoldenRow, LatencyRow, SensorRow, StageResult } from './figures.ts';

type NoisySample = GoldenSample & { readonly bf16_forced_selection_vs_fp32_max_abs_normalized?: number };

/** Three times the reference's own bfloat16 noise with the same selection; 0.05 where a case does not state it. */
const noiseFactor = 3;
const unstatedNoise = 0.05;

/** The golden policies with and without CUDA graphs; one row as soon as it is known. */
export async function measureGoldens(
  { backend, goldens }: Pick<Context, 'backend' | 'goldens'>,
  found: (row: GoldenRow) => void,
): Promise<void> {
  for (const name of goldens) {
    for (const graphs of backend === 'tensorrt' ? [false, true] : [false])
      await measureGolden(name, backend === 'tensorrt' ? { backend, graphs } : { backend }, found);
  }
}

async function measureGolden(
  name: GoldenName,
  options: Pick<PolicyOptions, 'backend' | 'graphs'>,
  found: (row: GoldenRow) => void,
): Promise<void> {
  await using policy = await loadPolicy(await goldenCheckpoint(name), { ...goldenOptions[name], ...options });
  for (const sample of goldenCase(name).samples as readonly NoisySample[]) {
    const { observation } = await readObservation(join(goldenRoot, name, sample.observation));
    const { instruction, unnorm_key: unnormKey } = sample;
    const chunk = await policy.predict(observation, { instruction, unnormKey });
    const difference = maxAbsDifference(chunk.normalized, sample.normalized_fp32.flat());
    const allowed = noiseFactor * (sample.bf16_forced_selection_vs_fp32_max_abs_normalized ?? unstatedNoise);
    const kept = Object.values(chunk.keptPatches).map((patches) => [...patches]);
    const samePatches = JSON.stringify(kept) === JSON.stringify(sample.kept_patches_fp32 ?? []);
    const passed = samePatches ? difference <= allowed : Number.isFinite(difference);
    found({
      golden: name,
      sample: `${sample.observation}, ${instruction}`,
      graphs: options.graphs ?? false,
      difference,
      allowed,
      samePatches,
      passed,
    });
  }
}

export interface LatencyOptions {
  readonly checkpoint: string;
  readonly what: string;
  /** One row each; several take turns. */
  readonly weights: readonly NonNullable<PolicyOptions['weights']>[];
}

export async function measureLatency(
  context: Pick<Context, 'rehearsal' | 'backend' | 'runs' | 'warmUps'>,
  { checkpoint, what, weights }: LatencyOptions,
): Promise<StageResult> {
  const { rehearsal, backend, runs, warmUps } = context;
  const device = backend === 'tensorrt' ? findMachine({}).device : null;
  const known = device === null ? null : recogniseDevice(device.name, device.totalBytes);
  const subjects: BenchSubject[] = weights.map((one) => ({
    checkpoint,
    name: one,
    options: { platform: 'libero', backend, weights: one },
  }));
  const report = await benchPolicies(subjects, {
    iterations: runs,
    warmUpChunks: warmUps,
    durationMs: 0,
    newInstructions: Math.min(30, runs),
    ...(rehearsal ? { warmUpMs: 0, warmUpLimitChunks: warmUps } : {}),
    ...(known === null ? {} : { roofline: known.name }),
    command: ['npm run gpu'],
  });
  return {
    facts: {
      ...Object.fromEntries(settingRows(report.machine)),
      throttling: report.machine.series?.throttling.map(({ reason }) => reason).join(', ') || 'none seen',
      ...Object.fromEntries(
        report.subjects.map(({ subject, energy }) => [
          `energy, ${subject.name}`,
          energy === undefined ? 'not told' : energyText(energy),
        ]),
      ),
    },
    latency: rowsOf(report, what),
    sensors: sensorsOf(report),
    warnings: report.warnings.map(({ text }) => text),
  };
}

function sensorsOf({ machine }: BenchReport): SensorRow[] {
  return (machine.series?.sensors ?? []).flatMap(({ kind, name, unit, values }) => {
    const read = values.filter((value) => value !== null).sort((a, b) => a - b);
    if (read.length === 0) return [];
    const [min, middle, max] = [read[0]!, read[read.length >> 1]!, read.at(-1)!];
    return [{ sensor: `${kind} ${name}`, unit, min, median: middle, max }];
  });
}

function rowsOf({ subjects, comparisons, rooflines }: BenchReport, what: string): LatencyRow[] {
  return subjects.map(({ subject, summary, chunks, cold }) => {
    const { total, h2d, compute, d2h, enqueue } = summary;
    const compared = comparisons.find((comparison) => comparison.subject === subject.name);
    return {
      what: `${what}, ${subject.precision}, ${subject.weights} weights, ${subject.runtime}`,
      runs: chunks.length,
      p50: total!.median,
      p90: total!.p90,
      p99: total!.p99,
      h2d: h2d?.median ?? null,
      compute: compute?.median ?? null,
      d2h: d2h?.median ?? null,
      enqueue: enqueue?.median ?? null,
      loadMs: cold.loadMs,
      firstChunkMs: cold.firstChunkMs,
      limitMs: rooflines[subject.name]?.limitMs ?? null,
      ...(compared === undefined
        ? {}
        : { ratio: { value: compared.ratio, low: compared.low, high: compared.high } }),
    };
  });
}

export async function measureLayers(
  { rehearsal, backend, runs }: Pick<Context, 'rehearsal' | 'backend' | 'runs'>,
  checkpoint: string,
): Promise<StageResult> {
  const { report } = await profilePolicy(checkpoint, {
    policy: { platform: 'libero', backend },
    iterations: Math.min(20, runs),
    ...(rehearsal ? { warmUp: 1 } : {}),
  });
  return {
    facts: { runtime: report.runtime },
    blocks: report.graphs.flatMap(({ graph, blocks }) =>
      blocks.map(({ block, layers, medianMs, percent }) => ({ graph, block, layers, medianMs, percent })),
    ),
    warnings: report.warnings.map(({ text }) => text),
  };
}
