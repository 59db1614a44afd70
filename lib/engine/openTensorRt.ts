/**
 * `--backend tensorrt`: from a policy's parts to a checked session. Finds TensorRT and the GPU, takes the engines
 * from the cache or builds them, loads the weights onto the device, and compares with the CPU runtime unless that was done
 * before on this device and driver.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadAddon, type NativeDevice } from '../addon/binding.ts';
import { type Checkpoint, type Progress, weightBytes } from '../checkpoint/checkpoint.ts';
import { type Int8Weights, makeInt8Weights } from '../checkpoint/int8Weights.ts';
import { openCheckpoint } from '../checkpoint/openCheckpoint.ts';
import { buildDenoiserGraph } from '../graph/denoiserGraph.ts';
import type { GraphOptions, PolicySizes } from '../graph/graphContext.ts';
import { buildInstructionGraph } from '../graph/instructionGraph.ts';
import { type OnnxModel, placeBindings, placeQuantized } from '../graph/onnxModel.ts';
import { buildPolicyGraph } from '../graph/policyGraph.ts';
import { type EnginePrecision, engineTypes } from '../graph/tiers.ts';
import { OnnxSession } from '../runtime/onnxRuntime.ts';
import type { DenoisingSteps } from '../runtime/session.ts';
import { TensorRtSession, type TensorRtSessionOptions, translate } from '../runtime/tensorRt.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isolated } from '../support/isolated.ts';
import type { OnNotice } from '../support/notices.ts';
import { present } from '../support/options.ts';
import { packageCommand } from '../support/packageCommand.ts';
import { synthesizeCheckpoint } from '../synth/synthesize.ts';
import {
  type CachedEngines,
  type CachedEnginesOptions,
  cachedEngines,
  closeEngines,
} from './cachedEngines.ts';
import { KernelStore } from './compiledKernels.ts';
import { EngineCache } from './engineCache.ts';
import { type FoundTensorRt, findTensorRt } from './findTensorRt.ts';
import { readRecipe, recipeNames, requireTier } from './recipes.ts';
import { checkAnswers } from './trust.ts';
import { twinSpec } from './twin.ts';

export interface TensorRtOptions {
  /** Library or folder; default: searched. */
  readonly tensorRt?: string;
  readonly device?: number;
  /** Default: the recipe's for the device. */
  readonly precision?: EnginePrecision;
  readonly weights?: 'bound' | 'baked';
  readonly graphs?: boolean;
  /** See TensorRtSessionOptions. */
  readonly keptLengths?: number;
  readonly cacheDir?: string;
  readonly threads: number;
  /** Of a diffusion policy. */
  readonly denoising?: DenoisingSteps;
  /** See TensorRtSessionOptions. */
  readonly onLayers?: TensorRtSessionOptions['onLayers'];
  readonly onProgress?: (progress: Progress) => void;
  /** Of a tier: the key of its quantized weights, when they are there. */
  readonly onQuantized?: (key: string) => void;
  /** What costs time and nothing else. */
  readonly onNotice?: OnNotice;
  readonly signal?: AbortSignal;
}

/** Bytes of weights up to which the policy itself is compared; above, its twin is, in seconds instead of minutes. */
const twinLimit = 2 * 2 ** 30;

export interface Machine {
  readonly tensorRt: FoundTensorRt;
  readonly device: NativeDevice;
}

/** @throws TENSORRT_*, BACKEND_UNAVAILABLE, ADDON_NOT_BUILT */
export function findMachine(options: Pick<TensorRtOptions, 'tensorRt' | 'device'>): Machine {
  const tensorRt = findTensorRt(options.tensorRt === undefined ? {} : { path: options.tensorRt });
  const label = labelOf(tensorRt);
  if (!tensorRt.hasKernels) {
    throw new SemanticVlaError(
      'BACKEND_UNAVAILABLE',
      `${label}: expected a module with CUDA kernels, found ${tensorRt.module} compiled without nvcc. Install the CUDA toolkit (or run ${packageCommand('scripts/fetchNvcc.sh')}), then ${packageCommand('npm run build:native')}.`,
    );
  }
  const devices = devicesOf(tensorRt, label);
  const device = devices[options.device ?? 0];
  if (device === undefined) {
    throw new SemanticVlaError(
      'BACKEND_UNAVAILABLE',
      `Option device: expected one of the ${devices.length} GPUs of this machine, counted from 0, found ${options.device ?? 0}. \`semanticvla doctor\` lists them.`,
    );
  }
  return { tensorRt, device };
}

function devicesOf(tensorRt: FoundTensorRt, label: string): readonly NativeDevice[] {
  try {
    return loadAddon().listDevices(tensorRt.module);
  } catch (cause) {
    throw translate(label, cause);
  }
}

export function labelOf({ family, version }: Pick<FoundTensorRt, 'family' | 'version'>): string {
  if (family === 'standin') return `TensorRT's stand-in ${version}, which computes on the CPU`;
  return `${family === 'rtx1' ? 'TensorRT-RTX' : 'TensorRT'} ${version}`;
}

/** Where a policy's engines run, in words. */
export const machineText = ({ tensorRt, device }: Machine): string => `${device.name}, ${labelOf(tensorRt)}`;

/** Options of the engines for a device: its recipe's, else those of the newest recipe below it. */
export function engineOptions(
  { tensorRt, device }: Machine,
  options: Pick<TensorRtOptions, 'precision' | 'weights'>,
): Pick<
  CachedEnginesOptions,
  | 'precision'
  | 'tier'
  | 'weights'
  | 'promptLength'
  | 'targets'
  | 'device'
  | 'capability'
  | 'optimizationLevel'
  | 'workspaceBytes'
> {
  const recipes = recipeNames()
    .map(readRecipe)
    .sort((a, b) => a.computeCapability - b.computeCapability);
  const recipe = recipes.filter(({ computeCapability }) => computeCapability <= device.capability).at(-1);
  if (recipe === undefined) {
    throw new SemanticVlaError(
      'BACKEND_UNAVAILABLE',
      `${device.name}: expected compute capability ${recipes[0]!.computeCapability / 10} or newer, found ${device.capability / 10}. Use --backend cpu, or --precision float16 with an engine built for it.`,
    );
  }
  const types = engineTypes(options.precision, recipe.precision);
  if (types.tier !== undefined) requireTier(types.tier, device.capability);
  return {
    ...types,
    weights: options.weights ?? recipe.weights,
    promptLength: recipe.promptLength,
    targets: tensorRt.family === 'rtx1' ? [device.capability] : [],
    device: `sm_${device.capability} ${device.name}`,
    capability: device.capability,
    optimizationLevel: recipe.optimizationLevel,
    workspaceBytes: recipe.workspaceBytes,
  };
}

/** @throws (rejects) the codes of finding, building, caching and checking engines; or the signal's reason */
export async function openTensorRt(
  checkpoint: Checkpoint,
  sizes: PolicySizes,
  options: TensorRtOptions,
): Promise<TensorRtSession> {
  const machine = findMachine(options);
  tellStandIn(machine.tensorRt, options.onNotice);
  const cache = await EngineCache.open(options.cacheDir === undefined ? {} : { dir: options.cacheDir });
  const build: CachedEnginesOptions = {
    ...engineOptions(machine, options),
    tensorRt: machine.tensorRt,
    cache,
    sizes,
    ...hooks(options),
    ...(options.onNotice === undefined ? {} : { onNotice: options.onNotice }),
  };
  const engines = await cachedEngines(checkpoint, build);
  const session = await openSession(machine, checkpoint, sizes, engines, build, options);
  try {
    await trust(machine, checkpoint, sizes, engines, build, options, session);
  } catch (error) {
    await session.close();
    throw error;
  }
  return session;
}

/** Tests alone name one; whoever comes to it by accident must not take its times for a GPU's. */
function tellStandIn({ family, library, source }: FoundTensorRt, onNotice: OnNotice | undefined): void {
  if (family !== 'standin') return;
  onNotice?.({
    code: 'TENSORRT_STAND_IN',
    message: `${library} (${source}): expected TensorRT, found its stand-in for tests, which computes on the CPU. Its actions are right and its times say nothing about a GPU. Name another library with --tensorrt PATH or SEMANTICVLA_TENSORRT.`,
  });
}

type SessionCheckpoint = Pick<Checkpoint, 'config' | 'files' | 'sources'>;
type QuantizeOptions = Pick<
  TensorRtOptions,
  'cacheDir' | 'onProgress' | 'onNotice' | 'onQuantized' | 'signal'
>;

/** The engines with those weights in place that are made first: from the cache, or now. */
async function quantized(
  checkpoint: SessionCheckpoint,
  { instruction, policy }: CachedEngines,
  options: QuantizeOptions,
): Promise<Omit<CachedEngines, 'denoiser'>> {
  const made = await quantizedWeights(checkpoint, [...instruction.quantized, ...policy.quantized], options);
  if (made === null) return { instruction, policy };
  isolated('onQuantized', options.onQuantized)(made.key);
  const place = <T extends CachedEngines['policy']>(engine: T): T => ({
    ...engine,
    bindings: placeBindings(engine.bindings, made.tensors),
  });
  // tiers refuse heads with a denoiser (engineModels.ts)
  return { instruction: place(instruction), policy: place(policy) };
}

async function quantizedWeights(
  checkpoint: SessionCheckpoint,
  weights: OnnxModel['quantized'],
  { cacheDir, onNotice, ...options }: QuantizeOptions,
): Promise<Int8Weights | null> {
  if (weights.length === 0) return null;
  return makeInt8Weights(checkpoint, weights, { ...present({ cacheDir, onNotice }), ...hooks(options) });
}

/** Closes the engines' files, whether it opens or not. */
async function openSession(
  machine: Machine,
  checkpoint: SessionCheckpoint,
  sizes: PolicySizes,
  engines: CachedEngines,
  build: CachedEnginesOptions,
  options: TensorRtOptions,
): Promise<TensorRtSession> {
  const { tensorRt } = machine;
  try {
    const { instruction, policy } = await quantized(checkpoint, engines, options);
    const { denoiser } = engines;
    const kernels = await KernelStore.open(engines, {
      ...machine,
      cache: build.cache,
      ...(build.onNotice === undefined ? {} : { onNotice: build.onNotice }),
    });
    return await TensorRtSession.open({
      library: tensorRt.library,
      module: tensorRt.module,
      label: labelOf(tensorRt),
      instruction: kernels === null ? instruction : { ...instruction, kernels: kernels.given.instruction },
      policy: kernels === null ? policy : { ...policy, kernels: kernels.given.policy },
      ...denoiserOf(denoiser, sizes, kernels, options),
      imageShape: [sizes.images, checkpoint.config.imageSize, checkpoint.config.imageSize, 3],
      device: options.device ?? 0,
      graphs: options.graphs ?? true,
      ...(kernels === null ? {} : { keepKernels: (compiled) => kernels.keep(compiled) }),
      ...present({
        onLayers: options.onLayers,
        onNotice: build.onNotice,
        keptLengths: options.keptLengths,
      }),
      ...hooks(options),
    });
  } finally {
    await closeEngines(engines);
  }
}

function denoiserOf(
  engine: CachedEngines['denoiser'],
  { chunk, actionDim }: PolicySizes,
  kernels: KernelStore | null,
  { denoising }: Pick<TensorRtOptions, 'denoising'>,
): Pick<TensorRtSessionOptions, 'denoiser'> {
  if (engine === null || denoising === undefined) return {};
  const given = kernels === null ? engine : { ...engine, kernels: kernels.given.denoiser };
  return { denoiser: { engine: given, steps: denoising, shape: [chunk, actionDim] } };
}

function hooks({ onProgress, signal }: Pick<TensorRtOptions, 'onProgress' | 'signal'>) {
  return {
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(signal === undefined ? {} : { signal }),
  };
}

async function trust(
  machine: Machine,
  checkpoint: Checkpoint,
  sizes: PolicySizes,
  engines: CachedEngines,
  build: CachedEnginesOptions,
  options: TensorRtOptions,
  session: TensorRtSession,
): Promise<void> {
  const device = `${machine.device.name} ${machine.device.uuid}`;
  const driver = String(machine.device.driverVersion);
  const { policy } = engines;
  const isChecked = policy.sidecar.checks.some((check) => check.device === device && check.driver === driver);
  if (isChecked) return;
  isolated(
    'onProgress',
    options.onProgress,
  )({ step: 'comparing with the CPU runtime', done: 0, total: 1, unit: 'steps' });
  const result =
    weightBytes(checkpoint) > twinLimit
      ? await compareTwin(machine, checkpoint, sizes, build, options)
      : checkpoint.config.head.kind === 'diffusion'
        ? await compareOneStep(machine, checkpoint, sizes, build, options)
        : await compare(machine, checkpoint, sizes, session, build, options);
  const { difference, allowed } = result;
  const at = new Date().toISOString();
  await build.cache.recordCheck('policy', policy.identity, { device, driver, difference, allowed, at });
}

/** Rounding grows along the steps: what one of them predicts from the same noise is compared, in a session of one step. */
async function compareOneStep(
  machine: Machine,
  checkpoint: SessionCheckpoint & Pick<Checkpoint, 'tensors' | 'pixelNormalization'>,
  sizes: PolicySizes,
  build: CachedEnginesOptions,
  options: TensorRtOptions,
) {
  const engines = await cachedEngines(checkpoint, build);
  const one = { ...options, ...oneStep(checkpoint, options) };
  const session = await openSession(machine, checkpoint, sizes, engines, build, one);
  try {
    return await compare(machine, checkpoint, sizes, session, build, one);
  } finally {
    await session.close();
  }
}

/** The first step alone; nothing of a policy without steps. */
function oneStep(
  { config }: Pick<Checkpoint, 'config'>,
  { denoising }: Pick<TensorRtOptions, 'denoising'>,
): Pick<TensorRtOptions, 'denoising'> {
  if (denoising === undefined) return {};
  const { timeEmbeddings, factors } = denoising;
  const first = { timeEmbeddings: timeEmbeddings.slice(0, config.llama.width), factors: factors.slice(0, 4) };
  return { denoising: { count: 1, ...first } };
}

async function compare(
  { tensorRt, device }: Machine,
  checkpoint: SessionCheckpoint & Pick<Checkpoint, 'tensors' | 'pixelNormalization'>,
  sizes: PolicySizes,
  session: TensorRtSession,
  build: CachedEnginesOptions,
  options: TensorRtOptions,
) {
  const { config, tensors, pixelNormalization } = checkpoint;
  const { tier } = build;
  const graphOptions: GraphOptions = { ...sizes, stages: false, mergeWeights: false, ...present({ tier }) };
  const signal = options.signal === undefined ? {} : { signal: options.signal };
  // of a tier the same levels, in float32: how far they are from the checkpoint's weights is compare-precision's question
  const policy = buildPolicyGraph(config, tensors, pixelNormalization, graphOptions);
  const made = await quantizedWeights(checkpoint, policy.quantized, options);
  const cpu = await OnnxSession.open({
    instruction: buildInstructionGraph(config, tensors, graphOptions),
    policy: made === null ? policy : placeQuantized(policy, made.tensors),
    ...(options.denoising === undefined
      ? {}
      : {
          denoiser: {
            model: buildDenoiserGraph(config, tensors, graphOptions),
            steps: options.denoising,
          },
        }),
    threads: options.threads,
    // nothing is cached: each weight is used only a few times
    weights: 'mapped',
    files: checkpoint.files,
    ...signal,
  });
  try {
    return await checkAnswers({
      config,
      sizes,
      precision: build.precision,
      ...present({ tier }),
      promptLength: build.promptLength.opt,
      threads: options.threads,
      device: session,
      cpu,
      label: `${device.name} (driver for CUDA ${device.driverVersion / 1000}), ${labelOf(tensorRt)}`,
      ...signal,
    });
  } finally {
    await cpu.close();
  }
}

/** A checkpoint of the same widths, made for this and removed again. */
async function compareTwin(
  machine: Machine,
  checkpoint: Checkpoint,
  sizes: PolicySizes,
  build: CachedEnginesOptions,
  options: TensorRtOptions,
) {
  const folder = await mkdtemp(join(tmpdir(), 'semanticvla-twin-'));
  try {
    const dir = join(folder, 'twin');
    await synthesizeCheckpoint(twinSpec(checkpoint.config), dir, hooks(options));
    const spec = twinSpec(checkpoint.config);
    const head = spec.head === 'l1' ? {} : { head: spec.head };
    const twin = await openCheckpoint(dir, { cacheDir: folder, ...head });
    const one = { ...options, ...oneStep(checkpoint, options) };
    const engines = await cachedEngines(twin, build);
    const { onQuantized: _, ...own } = { ...one, cacheDir: folder };
    const session = await openSession(machine, twin, sizes, engines, build, own);
    try {
      return await compare(machine, twin, sizes, session, build, own);
    } finally {
      await session.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
