/** The engines of a policy from the cache, built when they are missing: what `build` and `--backend tensorrt` share. */

import { statSync } from 'node:fs';
import { basename } from 'node:path';
import type { NativeBytes } from '../addon/binding.ts';
import type { Progress } from '../checkpoint/checkpoint.ts';
import { externalFiles, type OnnxModel, type WeightBinding } from '../graph/onnxModel.ts';
import { type EngineTypes, typesText } from '../graph/tiers.ts';
import type { OnNotice } from '../support/notices.ts';
import type { PlanAudit } from './auditPlan.ts';
import { requireBuilderResource } from './builderResource.ts';
import { buildPolicyEngines, type PolicyEngines } from './buildPolicyEngines.ts';
import { canonicalJson, type EngineIdentity, sha256, sha256File } from './cacheKey.ts';
import type { CachedEngine, EngineCache } from './engineCache.ts';
import {
  type EngineName,
  encodeForTensorRt,
  type PerEngine,
  type PolicyDimensions,
  type PreparedModel,
  perEngine,
  prepareModels,
} from './engineModels.ts';
import type { FoundTensorRt } from './findTensorRt.ts';
import type { PlanFile } from './planFile.ts';
import type { Architecture } from './presetArchitecture.ts';
import type { EngineWeights, PromptRange } from './recipes.ts';
import { Timings } from './timings.ts';

export interface CachedEnginesOptions extends EngineTypes {
  readonly tensorRt: FoundTensorRt;
  readonly cache: EngineCache;
  readonly sizes: PolicyDimensions;
  readonly weights: EngineWeights;
  readonly promptLength: PromptRange;
  /** Compute capabilities; empty: the device at hand. */
  readonly targets: readonly number[];
  /** Capability and name of the device at hand: plans tuned on it belong to it. Empty when `targets` are named. */
  readonly device: string;
  /** Of the device at hand (87); absent when `targets` are named. */
  readonly capability?: number;
  readonly optimizationLevel?: number | null;
  readonly workspaceBytes?: number | null;
  /** `off`, or a file; default: in the cache folder (timings.ts). */
  readonly timingCache?: string;
  readonly rebuild?: boolean;
  readonly onProgress?: (progress: Progress) => void;
  /** Problems that only cost time. */
  readonly onNotice?: OnNotice;
  /** Another process is building the same engine. */
  readonly onWait?: (engine: EngineName) => void;
  readonly signal?: AbortSignal;
}

export interface PolicyEngineInCache extends CachedEngine {
  readonly name: EngineName;
  readonly identity: EngineIdentity;
  readonly bindings: readonly WeightBinding[];
  /** Those of the bindings that must be made first. */
  readonly quantized: OnnxModel['quantized'];
  readonly isNew: boolean;
  /** Of a new one. */
  readonly audit: PlanAudit | null;
}

export type CachedEngines = PerEngine<PolicyEngineInCache>;

/** @throws (rejects) ENGINE_REFUSED, ENGINE_BUILD_FAILED, ENGINE_AUDIT_FAILED, CACHE_UNWRITABLE, OPTION_*, TENSOR_*, or the signal's reason */
export async function cachedEngines(
  architecture: Architecture,
  options: CachedEnginesOptions,
): Promise<CachedEngines> {
  const models = prepareModels(architecture, options);
  const plugins = await sha256File(options.tensorRt.module);
  let building: Promise<PolicyEngines> | undefined;
  // all at once: the second costs a tenth of the first
  const build = (): Promise<PolicyEngines> => {
    building ??= buildWithTimings(architecture, options);
    return building;
  };
  const built: NativeBytes[] = [];
  const close: PlanFile[] = [];
  const get = async (model: PreparedModel): Promise<PolicyEngineInCache> => {
    const identity = identityOf(model, plugins, options);
    const cached = await options.cache.getOrBuild(
      model.name,
      identity,
      async () => {
        const { plan, seconds } = (await build())[model.name]!;
        built.push(plan);
        return { plan, seconds };
      },
      {
        rebuild: options.rebuild ?? false,
        onWait: () => options.onWait?.(model.name),
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      },
    );
    close.push(cached.plan);
    const audit = cached.isNew && building !== undefined ? (await building)[model.name]!.audit : null;
    const { bindings, quantized } = model.graph;
    return { ...cached, name: model.name, identity, bindings, quantized, audit };
  };
  try {
    return {
      instruction: await get(models.instruction),
      policy: await get(models.policy),
      denoiser: models.denoiser && (await get(models.denoiser)),
    };
  } catch (error) {
    await Promise.all(close.map((plan) => plan.close()));
    throw error;
  } finally {
    // on the disk by now, so the copy in memory can go; with baked weights it is as large as the weights
    for (const plan of built) plan.release();
  }
}

/** Closes the files; only after a session was opened from them. */
export async function closeEngines(engines: CachedEngines): Promise<void> {
  await Promise.all(perEngine(engines).map(({ plan }) => plan.close()));
}

async function buildWithTimings(
  architecture: Architecture,
  options: CachedEnginesOptions,
): Promise<PolicyEngines> {
  if (options.capability !== undefined) requireBuilderResource(options.tensorRt, options.capability);
  const timings = await Timings.open(options);
  const engines = await buildPolicyEngines(
    architecture,
    timings === null ? withoutTimings(options) : { ...options, timingCache: timings.given },
  );
  const last = engines.denoiser ?? engines.policy;
  await timings?.keep(last.timingCache, engines.instruction.timingCacheRefused);
  return engines;
}

function withoutTimings(options: CachedEnginesOptions): Omit<CachedEnginesOptions, 'timingCache'> {
  const { timingCache: _, ...others } = options;
  return others;
}

/** The identity that this model's plan must have on this machine. */
export function identityOf(
  model: PreparedModel,
  plugins: string,
  options: Pick<
    CachedEnginesOptions,
    | 'tensorRt'
    | 'targets'
    | 'device'
    | 'precision'
    | 'tier'
    | 'weights'
    | 'promptLength'
    | 'optimizationLevel'
    | 'workspaceBytes'
  >,
): EngineIdentity {
  const { tensorRt, targets, device, weights } = options;
  return {
    graph: sha256(encodeForTensorRt(model, '', (file) => basename(file)).onnx),
    plugins,
    flavour: tensorRt.family,
    version: tensorRt.version,
    target: targets.length > 0 ? targets.map((target) => `sm_${target}`).join(',') : device,
    precision: typesText(options),
    weights: weights === 'bound' ? 'bound' : `baked ${weightFiles(model)}`,
    options: canonicalJson({
      promptLength: options.promptLength,
      optimizationLevel: options.optimizationLevel ?? null,
      workspaceBytes: options.workspaceBytes ?? null,
    }),
  };
}

/** Which files a baked plan's weights came from, as they are now: names, sizes and times, since reading 15 GB takes a minute. */
function weightFiles(model: PreparedModel): string {
  const files = externalFiles(model.graph).map((file) => {
    const { size, mtimeNs } = statSync(file, { bigint: true });
    return [file, String(size), String(mtimeNs)];
  });
  return sha256(Buffer.from(canonicalJson(files), 'utf8')).slice(0, 16);
}
