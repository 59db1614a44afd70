/** `semanticvla build`: the engines of a policy, audited. A checkpoint is needed only for the weights of a baked plan. */

import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NativeBytes } from '../addon/binding.ts';
import type { Progress } from '../checkpoint/checkpoint.ts';
import { externalFiles, type OnnxModel, type WeightBinding } from '../graph/onnxModel.ts';
import type { EngineTypes } from '../graph/tiers.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { auditPlan, type PlanAudit, requireSound } from './auditPlan.ts';
import { type BuiltEngine, buildEngine, type EngineModel, type EngineOptions } from './buildEngine.ts';
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
import type { Architecture } from './presetArchitecture.ts';
import {
  checkPromptRange,
  type EngineWeights,
  type PromptRange,
  precisions,
  requireTier,
} from './recipes.ts';

export interface BuildPolicyOptions extends EngineTypes {
  readonly tensorRt: FoundTensorRt;
  /** What a checkpoint does not hold (../policy/platform.ts). */
  readonly sizes: PolicyDimensions;
  readonly weights: EngineWeights;
  readonly promptLength: PromptRange;
  /** Compute capabilities (89); empty: the device at hand. */
  readonly targets: readonly number[];
  readonly optimizationLevel?: number | null;
  readonly workspaceBytes?: number | null;
  /** Timings of earlier builds on this device; default: none. */
  readonly timingCache?: Uint8Array;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

export interface PolicyEngine {
  readonly name: EngineName;
  readonly plan: NativeBytes;
  /** What was given and measured so far. */
  readonly timingCache: Uint8Array;
  readonly timingCacheRefused: string;
  readonly audit: PlanAudit;
  readonly seconds: number;
  readonly warnings: readonly string[];
  /** Weights to be put on inputs before it runs, in the order of the inputs; empty when they are in the plan. */
  readonly bindings: readonly WeightBinding[];
  readonly graph: OnnxModel;
}

export type PolicyEngines = PerEngine<PolicyEngine>;

/**
 * @param architecture of a checkpoint (config, tensors, pixelNormalization), or of a preset (presetArchitecture)
 * @throws (rejects) OPTION_INVALID, OPTION_REQUIRED, ENGINE_BUILD_FAILED, ENGINE_AUDIT_FAILED, TENSOR_*, or the signal's reason
 */
export async function buildPolicyEngines(
  architecture: Architecture,
  options: BuildPolicyOptions,
): Promise<PolicyEngines> {
  checkBuildOptions(architecture, options);
  const models = prepareModels(architecture, options);
  const place = options.weights === 'baked' ? await weightFolder(models) : null;
  try {
    const build = async (model: PreparedModel, timings?: Uint8Array): Promise<PolicyEngine> =>
      buildOne(model, encodeForTensorRt(model, place?.path, place?.locate), options, timings);
    // one after the other: a build takes all cores
    const instruction = await build(models.instruction, options.timingCache);
    const policy = await build(models.policy, instruction.timingCache);
    const denoiser = models.denoiser && (await build(models.denoiser, policy.timingCache));
    return { instruction, policy, denoiser };
  } finally {
    await place?.remove();
  }
}

async function buildOne(
  prepared: PreparedModel,
  model: EngineModel,
  options: BuildPolicyOptions,
  timingCache: Uint8Array | undefined,
): Promise<PolicyEngine> {
  const { name, graph, plugins } = prepared;
  const engineOptions: EngineOptions = {
    targets: options.targets,
    optimizationLevel: options.optimizationLevel ?? null,
    workspaceBytes: options.workspaceBytes ?? null,
    ...(timingCache === undefined ? {} : { timingCache }),
    ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  };
  const built: BuiltEngine = await buildEngine(options.tensorRt, model, engineOptions);
  const { precision, tier } = options;
  const types = tier === undefined ? { precision } : { precision, tier };
  const audit = auditPlan({ name, model: graph, ...types, plugins, result: built });
  requireSound(audit);
  return {
    name,
    plan: built.plan,
    timingCache: built.timingCache,
    timingCacheRefused: built.timingCacheRefused,
    audit,
    seconds: built.seconds,
    warnings: built.warnings,
    bindings: graph.bindings,
    graph,
  };
}

function checkBuildOptions(architecture: Architecture, options: BuildPolicyOptions): void {
  const { precision, tier, weights, promptLength, targets, tensorRt } = options;
  const invalid = (text: string): SemanticVlaError => new SemanticVlaError('OPTION_INVALID', text);
  if (!precisions.includes(precision))
    throw invalid(`precision: expected ${precisions.join(', ')}, found ${precision}.`);
  if (weights !== 'bound' && weights !== 'baked')
    throw invalid(`weights: expected bound or baked, found ${weights}.`);
  checkPromptRange(promptLength, 'promptLength');
  if (targets.length > 0 && tensorRt.family !== 'rtx1') {
    throw invalid(
      `targets: expected none with TensorRT ${tensorRt.version}, which builds for the device at hand, found ${targets.map((n) => `sm_${n}`).join(', ')}. Only TensorRT-RTX builds for others.`,
    );
  }
  if (precision === 'bfloat16' && targets.some((target) => target < 80)) {
    throw invalid('targets: bfloat16 needs sm_80 or newer; choose --precision float16 for older devices.');
  }
  if (tier !== undefined) {
    for (const target of targets) requireTier(tier, target);
    if (weights === 'baked')
      throw invalid(
        `weights: expected bound with precision ${tier}, whose weights are quantized when a policy is loaded, found baked.`,
      );
  }
  const first = architecture.tensors.values().next().value;
  if (weights === 'baked' && (first === undefined || first.file === '')) {
    throw new SemanticVlaError(
      'OPTION_REQUIRED',
      'weights: baked needs a checkpoint to take them from, found a preset. Name a checkpoint, or use --weights bound.',
    );
  }
}

interface WeightFolder {
  /** Treated as the model's folder. */
  readonly path: string;
  readonly locate: (file: string) => string;
  readonly remove: () => Promise<void>;
}

/** TensorRT's parser reads external data from the model's folder only: links to the files, which exist during the build. */
async function weightFolder(models: PerEngine<PreparedModel>): Promise<WeightFolder> {
  const folder = await mkdtemp(join(tmpdir(), 'semanticvla-build-'));
  const files = new Set(perEngine(models).flatMap(({ graph }) => externalFiles(graph)));
  const links = new Map([...files].map((file, i) => [file, `weights${i}`]));
  for (const [file, name] of links) await symlink(file, join(folder, name));
  return {
    path: join(folder, 'model.onnx'),
    locate: (file) => links.get(file)!,
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
