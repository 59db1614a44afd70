/**
 * The TensorRT runtime: both engines on one GPU, weights straight from the checkpoint's files, the instruction's state kept
 * on the device, one CUDA graph from frames to actions (native/runtime/session.h).
 */

import {
  loadAddon,
  type NativeDevice,
  type NativeEnginePlan,
  type NativeFailure,
  type NativeFrames,
  type NativeKernels,
  type NativeLayers,
  type NativeMemory,
  type NativeRounds,
  type NativeSession,
  type NativeSessionOpening,
  type NativeStaged,
  type NativeStepResult,
  type NativeTensor,
  type NativeWeightType,
} from '../addon/binding.ts';
import type { Progress } from '../checkpoint/checkpoint.ts';
import type { TensorView } from '../checkpoint/tensorView.ts';
import { names, towerNames } from '../graph/names.ts';
import { floatTypeOf, type WeightBinding } from '../graph/onnxModel.ts';
import { orAborted, whenAborted } from '../support/abort.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { isolated } from '../support/isolated.ts';
import type { OnNotice } from '../support/notices.ts';
import type {
  DenoisingSteps,
  FrameInput,
  InstructionInput,
  InstructionState,
  PolicyInput,
  PolicyOutput,
  Session,
  StagedFrames,
} from './session.ts';

/** A plan that was verified (lib/engine/planFile.ts), and the weights on its inputs. */
export interface SessionEngine {
  /** Bytes, or an open file. */
  readonly plan: Uint8Array | { readonly descriptor: number };
  readonly bindings: readonly WeightBinding[];
  /** Verified too: what it compiled when it ran before (TensorRT-RTX). */
  readonly kernels?: Uint8Array;
}

/** What the engines compiled, for the next session. */
export type CompiledKernels = Readonly<Record<'instruction' | 'policy' | 'denoiser', NativeKernels>>;

export interface TensorRtSessionOptions {
  /** Paths of TensorRT and the module that fits it. */
  readonly library: string;
  readonly module: string;
  /** For messages: `TensorRT 10.3.0.26`. */
  readonly label: string;
  readonly instruction: SessionEngine;
  readonly policy: SessionEngine;
  /** Of a diffusion policy: run once a step, in the graph of the chunk. */
  readonly denoiser?: {
    readonly engine: SessionEngine;
    readonly steps: DenoisingSteps;
    /** [C, A] */
    readonly shape: readonly number[];
  };
  /** Number of the GPU; default 0. */
  readonly device?: number;
  /** CUDA graphs; default true. */
  readonly graphs?: boolean;
  /** Lengths of prompts that stay prepared, one for each size of frames; least recently used out first; default 4. */
  readonly keptLengths?: number;
  /**
   * Given: TensorRT's profiler times every layer (slower, without CUDA graphs) and this gets them, once a run of a graph,
   * before the run's promise resolves. `ms` is the whole run by the device's clock.
   */
  readonly onLayers?: (graph: 'instruction' | 'policy', layers: NativeLayers, ms: number) => void;
  /** [I, S, S, 3] */
  readonly imageShape: readonly number[];
  /** Called once, while the session closes; what it throws does not disturb the closing. */
  readonly keepKernels?: (kernels: CompiledKernels) => Promise<void>;
  readonly onProgress?: (progress: Progress) => void;
  /** What costs time and nothing else; once each. */
  readonly onNotice?: OnNotice;
  readonly signal?: AbortSignal;
}

/** Bytes of each of the two pinned buffers; large enough to keep a PCIe link busy. */
const chunkBytes = 32 * 2 ** 20;

class TensorRtInstruction implements InstructionState {
  readonly promptLength: number;
  readonly computeMs: number;
  readonly owner: TensorRtSession;
  readonly id: number;
  #release: (() => void) | null;

  constructor(
    fields: Pick<TensorRtInstruction, 'promptLength' | 'computeMs' | 'owner' | 'id'>,
    release: () => void,
  ) {
    this.promptLength = fields.promptLength;
    this.computeMs = fields.computeMs;
    this.owner = fields.owner;
    this.id = fields.id;
    this.#release = release;
  }

  release(): void {
    this.#release?.();
    this.#release = null;
  }
}

export class TensorRtSession implements Session {
  readonly backend = 'tensorrt';
  readonly device: NativeDevice;
  readonly #native: NativeSession;
  readonly #options: TensorRtSessionOptions;
  #closing: Promise<void> | null = null;

  /** Library and version. */
  get label(): string {
    return this.#options.label;
  }

  private constructor(native: NativeSession, options: TensorRtSessionOptions) {
    this.#native = native;
    this.#options = options;
    this.device = native.device;
  }

  /** @throws (rejects) DEVICE_OUT_OF_MEMORY, DEVICE_FAILED, BACKEND_UNAVAILABLE, ENGINE_REFUSED, TENSOR_*, or the signal's reason */
  static async open(options: TensorRtSessionOptions): Promise<TensorRtSession> {
    const { signal } = options;
    signal?.throwIfAborted();
    const opening = begin(options);
    const stop = whenAborted(signal, () => opening.cancel());
    try {
      const native = await opening.done;
      // aborted after the last chunk
      if (signal?.aborted) await closeNative(native);
      signal?.throwIfAborted();
      return new TensorRtSession(native, options);
    } catch (cause) {
      opening.end();
      signal?.throwIfAborted();
      throw translate(options.label, cause);
    } finally {
      stop();
    }
  }

  async encodeInstruction(input: InstructionInput, signal?: AbortSignal): Promise<InstructionState> {
    const inputs: NativeTensor[] = [int64(names.promptIds, input.promptIds)];
    if (input.siglipIds !== null) inputs.push(int64(names.siglipIds, input.siglipIds));
    const prepared = this.#call(() => this.#native.prepare(inputs), signal);
    const release = (id: number): void => {
      if (this.#closing !== null) return;
      this.#native.release(id)?.catch(() => {
        // a broken device's memory is freed when the session is closed
      });
    };
    const { state, deviceMs, layers } = await orAborted(prepared, signal, ({ state }) => release(state));
    this.#options.onLayers?.('instruction', layers, deviceMs);
    const promptLength = input.promptIds.length - 1;
    return new TensorRtInstruction({ promptLength, computeMs: deviceMs, owner: this, id: state }, () =>
      release(state),
    );
  }

  async run(input: PolicyInput, instruction: InstructionState, signal?: AbortSignal): Promise<PolicyOutput> {
    const images = { name: names.images, dims: this.#options.imageShape, data: input.images };
    this.#requireOpen();
    const call = this.#stage([images, ...this.#numbers(input)], null)!;
    return this.#step(call, instruction, signal, false);
  }

  stageFrames(input: FrameInput): StagedFrames | null {
    const { frames, jpeg, centerCrop, returnsImages = false } = input;
    this.#requireOpen();
    const start = performance.now();
    const native = frames.map(({ data, width, height, order }) => ({
      data,
      width,
      height,
      bgr: order === 'bgr',
    }));
    const call = this.#stage(this.#numbers(input), { frames: native, jpeg, centerCrop });
    if (call === null) return null;
    return {
      copyMs: performance.now() - start,
      run: (instruction, signal) => this.#step(call, instruction, signal, returnsImages),
      drop: () => this.#native.drop(call),
    };
  }

  #numbers({ proprio, noise }: Pick<PolicyInput, 'proprio' | 'noise'>): NativeTensor[] {
    const inputs: NativeTensor[] = [];
    if (proprio !== null) inputs.push({ name: names.proprio, dims: [1, proprio.length], data: proprio });
    const { denoiser } = this.#options;
    if (denoiser !== undefined && noise !== undefined)
      inputs.push({ name: names.noisyActions, dims: denoiser.shape, data: noise });
    return inputs;
  }

  #stage(inputs: readonly NativeTensor[], frames: NativeFrames | null): NativeStaged | null {
    try {
      return this.#native.stage(inputs, frames);
    } catch (cause) {
      throw translate(this.#options.label, cause);
    }
  }

  /** JSON of TensorRT's inspector: what each plan was compiled to. */
  async layerInfo(): Promise<Readonly<Record<'instruction' | 'policy' | 'denoiser', string>>> {
    const { prepare, step, rounds } = await this.#call(() => this.#native.layerInfo());
    return { instruction: prepare, policy: step, denoiser: rounds };
  }

  /** Device memory by use. */
  memory(): Promise<NativeMemory> {
    return this.#call(() => this.#native.memory());
  }

  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  async #end(): Promise<void> {
    try {
      await this.#keepKernels();
    } finally {
      await closeNative(this.#native);
    }
  }

  async #keepKernels(): Promise<void> {
    const { keepKernels } = this.#options;
    if (keepKernels === undefined) return;
    try {
      const { prepare, step, rounds } = await this.#native.kernels();
      await keepKernels({ instruction: prepare, policy: step, denoiser: rounds });
    } catch {
      // a broken device has none, and closing goes on: they only save time
    }
  }

  async #step(
    call: NativeStaged,
    instruction: InstructionState,
    signal: AbortSignal | undefined,
    returnsImages: boolean,
  ): Promise<PolicyOutput> {
    const start = performance.now();
    const result = await orAborted(
      this.#call(() => this.#native.run(this.#idOf(instruction), call, returnsImages), signal),
      signal,
    ).catch((error: unknown) => {
      // refused before it ran; else nothing happens
      this.#native.drop(call);
      throw error;
    });
    this.#options.onLayers?.('policy', result.layers, result.deviceMs);
    if (result.captureFailure !== '') this.#tellNoGraph(result.captureFailure);
    const outputs = new Map(result.outputs.map((output) => [output.name, output.data]));
    const sampled = towerNames.toReversed().find((tower) => outputs.has(names.keptPatches(tower)));
    const tokens = outputs.get(names.tokenIds);
    const noise = outputs.get(names.noise);
    return {
      actions: floats(outputs.get(names.actions)!),
      ...(tokens === undefined ? {} : { tokens: indices(tokens) }),
      ...(noise === undefined ? {} : { noise: floats(noise) }),
      keptPatches: sampled === undefined ? null : indices(outputs.get(names.keptPatches(sampled))!),
      similarity: sampled === undefined ? null : floats(outputs.get(names.similarity(sampled))!),
      timings: { policy: performance.now() - start, ...timingsOf(result) },
      ...(result.images === undefined ? {} : { images: result.images }),
    };
  }

  #tellNoGraph(reason: string): void {
    isolated(
      'onNotice',
      this.#options.onNotice,
    )({
      code: 'GRAPH_NOT_CAPTURED',
      message: `${this.label}: expected to capture a chunk as a CUDA graph, found: ${reason}. Chunks are the same and take longer to start, since each is put on the GPU layer by layer; graphs: false (--no-cuda-graphs) does not try.`,
    });
  }

  #idOf(instruction: InstructionState): number {
    if (instruction instanceof TensorRtInstruction && instruction.owner === this) return instruction.id;
    throw new TypeError('the instruction was encoded by another session');
  }

  #requireOpen(): void {
    if (this.#closing !== null)
      throw new SemanticVlaError('CLOSED', 'This session is closed. Load the policy again.');
  }

  async #call<T>(body: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    this.#requireOpen();
    signal?.throwIfAborted();
    try {
      return await body();
    } catch (cause) {
      throw translate(this.#options.label, cause);
    }
  }
}

/** A first call also prepares and captures, so its parts are not comparable: none are given. */
function timingsOf(result: NativeStepResult): Record<string, number> {
  const { deviceMs, enqueueMs, h2dMs, computeMs, d2hMs, isFirst } = result;
  if (isFirst) return { device: deviceMs };
  return { device: deviceMs, enqueue: enqueueMs, h2d: h2dMs, compute: computeMs, d2h: d2hMs };
}

function begin(options: TensorRtSessionOptions): NativeSessionOpening {
  const { library, module, label, device = 0, graphs = true } = options;
  const tell = isolated('onProgress', options.onProgress);
  const prepare = nativeEngine(options.instruction);
  const step = nativeEngine(options.policy);
  const watchLayers = options.onLayers !== undefined;
  try {
    return loadAddon().openSession(
      {
        library,
        module,
        device,
        prepare,
        step,
        rounds: roundsOf(options),
        imageInput: names.images,
        graphs,
        watchLayers,
        keptSteps: options.keptLengths ?? 4,
        chunkBytes,
      },
      ({ done, total }) => tell({ step: 'weights to the device', done, total, unit: 'bytes' }),
    );
  } catch (cause) {
    throw translate(label, cause);
  }
}

function roundsOf({ denoiser }: TensorRtSessionOptions): NativeRounds | null {
  if (denoiser === undefined) return null;
  const { engine, steps } = denoiser;
  return {
    engine: nativeEngine(engine),
    count: steps.count,
    tables: [
      { name: names.timeEmbedding, rows: steps.timeEmbeddings },
      { name: names.ddimFactors, rows: steps.factors },
    ],
    carriedInput: names.noisyActions,
    carriedOutput: names.actions,
  };
}

async function closeNative(native: NativeSession): Promise<void> {
  await native.close();
  native.end();
}

function nativeEngine({ plan, bindings, kernels }: SessionEngine): NativeEnginePlan {
  const weights = bindings.map(({ name, type, dims, parts }) => ({
    name,
    type,
    dims,
    parts: parts.map((part) => ({
      file: part.file,
      offset: part.offset,
      byteLength: part.byteLength,
      type: type === 'int8' || type === 'float8' ? type : weightType(part),
    })),
  }));
  return {
    plan: plan instanceof Uint8Array ? plan : plan.descriptor,
    kernels: kernels ?? new Uint8Array(),
    weights,
  };
}

function weightType(view: TensorView): NativeWeightType {
  const type = floatTypeOf(view.dtype);
  if (type === 'float32' || type === 'float16' || type === 'bfloat16' || type === 'float64') return type;
  throw new SemanticVlaError(
    'TENSOR_DTYPE',
    `${view.name} in ${view.file}: expected a floating-point weight, found ${view.dtype}. Convert the checkpoint to bfloat16 or float32.`,
  );
}

function int64(name: string, values: readonly number[]): NativeTensor {
  return { name, dims: [values.length], data: BigInt64Array.from(values, BigInt) };
}

function floats(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}

/** Patch indices fit 32 bits by far. */
function indices(bytes: Uint8Array): Int32Array {
  return Int32Array.from(new BigInt64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 8), (index) =>
    Number(index),
  );
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`;

/** The native failure in words, with the next step. */
export function translate(label: string, cause: unknown): Error {
  if (cause instanceof SemanticVlaError) return cause;
  const { kind, message, needed = 0, free = 0 } = cause as NativeFailure;
  const wrap = (code: ConstructorParameters<typeof SemanticVlaError>[0], text: string): SemanticVlaError =>
    new SemanticVlaError(code, `${label}: ${text}`, { cause });
  switch (kind) {
    case 'memory':
      return wrap(
        'DEVICE_OUT_OF_MEMORY',
        `${message}. ${gigabytes(needed)} needed, ${gigabytes(free)} free; everything was given back. Close what else uses the GPU, or choose a smaller policy; \`semanticvla inspect\` shows what one needs.`,
      );
    case 'driver':
      return wrap(
        'BACKEND_UNAVAILABLE',
        `${message}. \`semanticvla doctor --backend tensorrt\` names the next step; --backend cpu runs anywhere.`,
      );
    case 'plan':
      return wrap(
        'ENGINE_REFUSED',
        `${message}. Build the engines again on this machine: semanticvla build CHECKPOINT --rebuild.`,
      );
    case 'weights':
      return wrap(
        'RUNTIME_FAILED',
        `${message}. If the checkpoint changed on disk since it was opened, load the policy again.`,
      );
    case 'request':
      return wrap('RUNTIME_FAILED', message);
    case undefined:
      return wrap('BACKEND_UNAVAILABLE', message);
    default:
      return wrap(
        'DEVICE_FAILED',
        `${message}. Load the policy again; if it fails again, start the process anew.`,
      );
  }
}
