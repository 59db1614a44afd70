/**
 * One step of `npm run gpu` in a process of its own, so that a crash of a driver or an engine ends nothing else. Arguments: the
 * request as JSON, and the file that gets the result as JSON. Exit codes: 0; 1: the result says why not.
 */

import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { findMachine } from '../../lib/engine/openTensorRt.ts';
import { presetArchitecture } from '../../lib/engine/presetArchitecture.ts';
import { twinSpec } from '../../lib/engine/twin.ts';
import { synthesizeCheckpoint } from '../../lib/synth/synthesize.ts';
import type { GoldenName } from '../../test/helpers/goldenCase.ts';
import { type GoldenRow, type LatencyRow, measureGoldens, measureLatency } from './measure.ts';

export type StepRequest =
  | { readonly step: 'device' }
  | { readonly step: 'goldens'; readonly names: readonly GoldenName[] }
  | { readonly step: 'checkpoint'; readonly work: string }
  | {
      readonly step: 'first' | 'latency' | 'baked';
      /** Where checkpoints are made and kept. */
      readonly work: string;
      readonly warmUps: number;
      readonly runs: number;
    };

export interface StepResult {
  readonly error?: string;
  /** In words. */
  readonly device?: string;
  readonly checkpoint?: string;
  readonly goldens?: readonly GoldenRow[];
  readonly latency?: readonly LatencyRow[];
}

async function run(request: StepRequest): Promise<StepResult> {
  switch (request.step) {
    case 'device': {
      const { device } = findMachine({});
      return {
        device: `${device.name} (sm_${device.capability}, driver for CUDA ${device.driverVersion / 1000})`,
      };
    }
    case 'goldens':
      return { goldens: await measureGoldens(request.names) };
    case 'checkpoint':
      return { checkpoint: await synthesized('libero', request.work) };
    case 'first': {
      findMachine({});
      const checkpoint = await synthesized('twin', request.work);
      return {
        latency: await measureLatency({ ...request, checkpoint, weights: 'bound', label: 'few layers' }),
      };
    }
    case 'latency': {
      findMachine({});
      const checkpoint = await synthesized('libero', request.work);
      return {
        latency: await measureLatency({ ...request, checkpoint, weights: 'bound', label: 'full size' }),
      };
    }
    case 'baked': {
      findMachine({});
      const checkpoint = await synthesized('twin', request.work);
      const latency: LatencyRow[] = [];
      for (const weights of ['bound', 'baked'] as const)
        latency.push(...(await measureLatency({ ...request, checkpoint, weights, label: 'few layers' })));
      return { latency };
    }
  }
}

/** Random weights, made once. */
async function synthesized(name: 'libero' | 'twin', work: string): Promise<string> {
  const dir = join(work, name);
  try {
    await openCheckpoint(dir);
    return dir;
  } catch {
    rmSync(dir, { recursive: true, force: true });
  }
  await synthesizeCheckpoint(name === 'twin' ? twinSpec(presetArchitecture('libero').config) : name, dir);
  return dir;
}

if (process.argv[1] === import.meta.filename) {
  const [request, out] = process.argv.slice(2) as [string, string];
  let result: StepResult;
  try {
    result = await run(JSON.parse(request) as StepRequest);
  } catch (error) {
    result = { error: (error as Error).message };
    process.exitCode = 1;
  }
  writeFileSync(out, JSON.stringify(result));
}
