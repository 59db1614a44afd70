/**
 * Observation -> ActionChunk: transforms, session, transforms. The one place where the checkpoint's facts, the
 * platform's facts and the caller's options meet.
 */

import { requireStatistics } from '../checkpoint/agreement.ts';
import { openCheckpointOptionNames } from '../checkpoint/checkpoint.ts';
import { requireUnchanged } from '../checkpoint/fileStates.ts';
import { openCheckpoint } from '../checkpoint/openCheckpoint.ts';
import { openTensorRt } from '../engine/openTensorRt.ts';
import { tiers } from '../graph/tiers.ts';
import { OnnxSession } from '../runtime/onnxRuntime.ts';
import type { InstructionState, PolicyOutput, Session } from '../runtime/session.ts';
import { drawnObservation } from '../support/drawnObservation.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isolated } from '../support/isolated.ts';
import { type Notice, NoticeLog } from '../support/notices.ts';
import { checkOptions, checkSignal, present } from '../support/options.ts';
import { actionDimensions } from '../transforms/actions.ts';
import { toEnvironment } from '../transforms/environment.ts';
import { pickFrames } from '../transforms/pickFrames.ts';
import { type EncodedPrompt, encodePrompt } from '../transforms/prompt.ts';
import { normalizeProprio } from '../transforms/proprio.ts';
import type {
  ActionChunk,
  Observation,
  Platform,
  Policy,
  PolicyOptions,
  PredictOptions,
  StageTensor,
} from '../types.ts';
import { actionsOf, instructionInput } from './actionValues.ts';
import { cpuSessionOptions } from './cpuModels.ts';
import { diffusionNotices, startNoise } from './denoising.ts';
import { InstructionCache } from './instructionCache.ts';
import { platformNotices, resolveUnnormKey } from './platform.ts';
import { prepareInput } from './policyInput.ts';
import { checkpointOptions, gatherParts, type PolicyParts, rememberParts } from './policyParts.ts';
import { computeStages } from './policyStages.ts';
import { gateNotice, readGate } from './precisionGate.ts';
import { checkRuntimeOptions, tensorRtOptionsOf } from './runtimeOptions.ts';
import { keptLengthsOf, type WarmUp, warmUp, warmUpOf } from './warmUp.ts';

/** Every option of `loadPolicy`, for the misspelling check. */
export const policyOptionNames = [
  ...openCheckpointOptionNames,
  'platform',
  'diffusionSteps',
  'diffusionTrainSteps',
  'seed',
  'prompt',
  'cameras',
  'proprio',
  'centerCrop',
  'jpeg',
  'chunk',
  'normalization',
  'actions',
  'rotate',
  'unnormKey',
  'backend',
  'threads',
  'spin',
  'instructionCache',
  'instructions',
  'frameSize',
  'keptLengths',
  'weights',
  'precision',
  'tensorRt',
  'device',
  'graphs',
] as const satisfies readonly (keyof PolicyOptions)[];

const predictOptionNames = [
  'instruction',
  'unnormKey',
  'seed',
  'noise',
  'signal',
] as const satisfies readonly (keyof PredictOptions)[];

/**
 * Opens a trained checkpoint and makes it ready to predict.
 *
 * @param dir folder in the layout that training leaves on disk
 * @throws (rejects) SemanticVlaError: codes CHECKPOINT_*, CONFIG_*, TENSOR_*, STATISTICS_INVALID, TOKENIZER_INVALID for the folder,
 *   OPTION_*, HEAD_REQUIRED, PLATFORM_REQUIRED, UNNORM_KEY_* for the options, RUNTIME_FAILED; with
 *   backend tensorrt also BACKEND_UNAVAILABLE, TENSORRT_*, ENGINE_*, DEVICE_*; or the signal's reason
 */
export async function loadPolicy(dir: string, options: PolicyOptions = {}): Promise<Policy> {
  checkOptions(options, policyOptionNames, 'loadPolicy');
  checkNumber('threads', options.threads, 1, 256);
  checkNumber('spin', options.spin, 0, 1_000_000);
  checkNumber('instructionCache', options.instructionCache, 1, 65536);
  checkRuntimeOptions(options);
  checkSignal(options.signal);
  const warm = warmUpOf(options);
  const notices = new NoticeLog(options.onNotice);
  const checkpoint = await openCheckpoint(dir, { ...checkpointOptions(options), onNotice: notices.add });
  const parts = await gatherParts(checkpoint, options);
  for (const notice of platformNotices(checkpoint, options, parts.platform)) notices.add(notice);
  for (const notice of diffusionNotices(checkpoint, options)) notices.add(notice);
  options.signal?.throwIfAborted();
  const lengths = new Set(
    warm.instructions.map((instruction) => promptOf(parts, instruction).promptIds.length),
  );
  const session = await openSession(parts, {
    ...options,
    ...(options.backend === 'tensorrt' ? { keptLengths: keptLengthsOf(options, lengths.size) } : {}),
    onNotice: notices.add,
  });
  const policy = new CheckpointPolicy(parts, session, { ...options, ...warm }, notices);
  rememberParts(policy, { parts, options });
  try {
    await policy.warmUp(warm, options.signal);
  } catch (error) {
    await policy.close();
    throw error;
  }
  return policy;
}

function checkNumber(name: string, value: number | undefined, min: number, max: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= min && value <= max)) return;
  throw new SemanticVlaError(
    'OPTION_INVALID',
    `Option ${name}: expected a whole number in ${min}..${max}, found ${String(value)}.`,
  );
}

async function openSession(parts: PolicyParts, options: PolicyOptions): Promise<Session> {
  const { checkpoint, sizes, threads } = parts;
  if (options.backend === 'tensorrt') {
    const { cacheDir, onProgress, onNotice, signal } = options;
    let key: string | undefined;
    const session = await openTensorRt(checkpoint, sizes, {
      ...tensorRtOptionsOf(options),
      ...(parts.diffusion === null ? {} : { denoising: parts.diffusion.schedule }),
      threads,
      onQuantized: (made) => {
        key = made;
      },
      ...(cacheDir === undefined ? {} : { cacheDir }),
      ...(onProgress === undefined ? {} : { onProgress }),
      ...(onNotice === undefined ? {} : { onNotice }),
      ...(signal === undefined ? {} : { signal }),
    });
    try {
      // by now its weights are on the device, read from these files
      await requireUnchanged(checkpoint.files);
      const tier = tiers.find((name) => name === options.precision);
      if (tier !== undefined && key !== undefined) {
        const runsOn = `${session.device.name}, ${session.label}`;
        const gate = await readGate(key, { runsOn }, present({ cacheDir }));
        const notice = gateNotice(checkpoint.dir, tier, runsOn, gate);
        if (notice !== null) isolated('onNotice', onNotice)(notice);
      }
      return session;
    } catch (error) {
      await session.close();
      throw error;
    }
  }
  return OnnxSession.open({
    ...(await cpuSessionOptions(parts, options)),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
}

class CheckpointPolicy implements Policy {
  readonly platform: Platform;
  readonly dimensions: readonly string[];
  readonly variant: string;
  readonly imageSize: number;
  readonly patchGrid: number;
  readonly stateSize: number;
  readonly #notices: NoticeLog;
  readonly #parts: PolicyParts;
  readonly #options: PolicyOptions;
  readonly #session: Session;
  readonly #instructions: InstructionCache;
  readonly #unnormKey: string | undefined;
  readonly #checkedKeys = new Set<string>();
  #closed = false;

  constructor(parts: PolicyParts, session: Session, options: PolicyOptions & WarmUp, notices: NoticeLog) {
    const { config } = parts.checkpoint;
    this.#parts = parts;
    this.#options = options;
    this.#notices = notices;
    this.#session = session;
    this.#instructions = new InstructionCache(options.instructionCache);
    this.#unnormKey = options.unnormKey;
    this.platform = parts.platform;
    this.dimensions = actionDimensions(parts.platform.name, parts.sizes.actionDim);
    this.variant = config.variant;
    this.imageSize = config.imageSize;
    this.patchGrid = Math.sqrt(config.siglip.patches);
    this.stateSize = parts.platform.proprio ? stateSizeOf(parts) : 0;
  }

  get notices(): readonly Notice[] {
    return this.#notices.notices;
  }

  async predict(observation: Observation, options: PredictOptions): Promise<ActionChunk> {
    const start = performance.now();
    const { unnormKey, signal } = this.#check(options);
    const frames = pickFrames(observation, this.platform.cameras, this.platform.rotate);
    const beforeProprio = performance.now();
    const proprio = this.#proprio(observation, unnormKey);
    const normalizeMs = performance.now() - beforeProprio;
    // told only to the caller that encodes
    let tokenizeMs: number | undefined;
    const noise = this.#noise(options);
    // copies what it needs before the first wait, so the caller may reuse its buffers at once
    const input = prepareInput(this.#parts, this.#session, frames, proprio, noise);
    const output = this.#instructions.use(
      options.instruction,
      () =>
        this.#encode(options.instruction, (ms) => {
          tokenizeMs = ms;
        }),
      async ({ state, encodeMs }) => ({ ...(await input.run(state, signal)), encodeMs }),
      signal,
    );
    try {
      // whichever fails first is reported; the other must not become an unhandled rejection
      const [{ result, timings, encodeMs }] = await Promise.all([output, input.ready]);
      const stages = {
        ...(proprio === null ? {} : { normalize: normalizeMs }),
        ...timings,
        ...(tokenizeMs === undefined ? {} : { tokenize: tokenizeMs }),
        instruction: encodeMs,
      };
      return this.#chunk(result, options.instruction, unnormKey, start, stages);
    } catch (error) {
      input.drop();
      throw error;
    }
  }

  async stages(observation: Observation, options: PredictOptions): Promise<Map<string, StageTensor>> {
    const { unnormKey, signal } = this.#check(options);
    const frames = pickFrames(observation, this.platform.cameras, this.platform.rotate);
    const proprio = this.#proprio(observation, unnormKey);
    const prompt = this.#prompt(options.instruction);
    if (this.#session.backend === 'tensorrt') {
      this.#notices.add({
        code: 'STAGES_ON_CPU',
        message:
          'stages: expected those of the engines, found none, since a fused engine has no intermediates; these are of the same graphs on the CPU, in float32, and say nothing about the GPU. Compare the actions of predict for that.',
      });
    }
    const noise = this.#noise(options);
    const input = { frames, proprio, prompt, unnormKey, ...present({ signal, noise }) };
    return computeStages(this.#parts, input, this.#options);
  }

  async warmUp({ instructions, frameSize }: WarmUp, signal: AbortSignal | undefined): Promise<void> {
    if (instructions.length === 0) return;
    const observation = drawnObservation(this.platform.cameras, this.stateSize, frameSize);
    await warmUp(instructions, {
      length: (instruction) => this.#prompt(instruction).promptIds.length,
      encode: (instruction) =>
        this.#instructions.use(
          instruction,
          () => this.#encode(instruction, () => {}),
          async () => {},
          signal,
        ),
      predict: (instruction) => this.predict(observation, { instruction, ...present({ signal }) }),
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#instructions.clear();
    await this.#session.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #check(options: PredictOptions): { unnormKey: string; signal: AbortSignal | undefined } {
    if (this.#closed)
      throw new SemanticVlaError('CLOSED', 'This policy is closed. Load it again with loadPolicy.');
    checkOptions(options, predictOptionNames, 'predict');
    checkSignal(options.signal);
    options.signal?.throwIfAborted();
    const { checkpoint, platform } = this.#parts;
    const unnormKey = resolveUnnormKey(checkpoint, options.unnormKey ?? this.#unnormKey);
    // a key that was not chosen at load
    if (!this.#checkedKeys.has(unnormKey)) {
      requireStatistics(checkpoint, unnormKey, platform);
      this.#checkedKeys.add(unnormKey);
    }
    return { unnormKey, signal: options.signal };
  }

  #proprio(observation: Observation, unnormKey: string): Float32Array | null {
    const { checkpoint, platform } = this.#parts;
    if (!platform.proprio) return null;
    const bounds = checkpoint.statistics.get(unnormKey)!.proprio!;
    if (observation.state === undefined) {
      throw new SemanticVlaError(
        'STATE_INVALID',
        `observation.state: expected ${checkpoint.config.proprioDim} numbers, found none. Add the joint state, or pass ` +
          'proprio: false if the policy was trained without it.',
      );
    }
    return normalizeProprio(observation.state, bounds, platform.normalization);
  }

  #noise(options: PredictOptions): Float32Array | undefined {
    const { diffusion, sizes } = this.#parts;
    return startNoise(diffusion, sizes, options, this.#options.seed);
  }

  #prompt(instruction: string): EncodedPrompt {
    return promptOf(this.#parts, instruction);
  }

  async #encode(instruction: string, onTokenized: (ms: number) => void): Promise<InstructionState> {
    const start = performance.now();
    const prompt = this.#prompt(instruction);
    onTokenized(performance.now() - start);
    return this.#session.encodeInstruction(instructionInput(this.#parts, prompt));
  }

  #chunk(
    output: PolicyOutput,
    instruction: string,
    unnormKey: string,
    start: number,
    stages: Readonly<Record<string, number>>,
  ): ActionChunk {
    const { checkpoint, platform, sizes } = this.#parts;
    const before = performance.now();
    const bounds = checkpoint.statistics.get(unnormKey)!.action;
    const actions = actionsOf(this.#parts, output, bounds);
    if (platform.actions === 'env') toEnvironment(actions, platform.name, this.dimensions);
    const end = performance.now();
    return {
      actions,
      normalized: output.actions,
      shape: [sizes.chunk, sizes.actionDim],
      dimensions: this.dimensions,
      keptPatches: perCamera(output.keptPatches, platform.cameras),
      similarity: perCamera(output.similarity, platform.cameras),
      timings: {
        ...stages,
        ...output.timings,
        unnormalize: end - before,
        total: end - start,
      },
      instruction,
      unnormKey,
    };
  }
}

/** @throws INSTRUCTION_* */
function promptOf(
  { tokenizers, promptLimits, promptStyle }: PolicyParts,
  instruction: string,
): EncodedPrompt {
  return encodePrompt(tokenizers, instruction, promptLimits, promptStyle);
}

function stateSizeOf({ checkpoint }: PolicyParts): number {
  const sizes = [...checkpoint.statistics.values()].flatMap(({ proprio }) => proprio?.min.length ?? []);
  return sizes[0] ?? 0;
}

/** Splits [I, n] into one array per camera. */
function perCamera<T extends Int32Array | Float32Array>(
  values: T | null,
  cameras: readonly string[],
): Readonly<Record<string, T>> {
  if (values === null) return {};
  const n = values.length / cameras.length;
  return Object.fromEntries(cameras.map((camera, i) => [camera, values.slice(i * n, (i + 1) * n) as T]));
}
