/**
 * The addon's frontier: every native type on one screen, and the only place that loads the compiled file. Callers
 * validate and word their errors before they call; native code only throws on what would read outside memory.
 */

import { createRequire } from 'node:module';
import { findCompiled } from './nativeFiles.ts';
import { noAddon } from './noAddon.ts';
import type { NamedTensors, NativeInitializer, Reply } from './onnxMessages.ts';

/** [height, width, 3] uint8. */
export interface NativeFrame {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly bgr: boolean;
}

export interface NativePreprocessOptions {
  /** Side S of the square policy image. */
  readonly imageSize: number;
  readonly centerCrop: boolean;
  readonly jpeg: boolean;
  /** Neither JPEG nor Lanczos: the crop, or else Pillow's resize, takes the frame at its own size. */
  readonly direct: boolean;
  /** Number of threads, >= 1. */
  readonly threads: number;
  /** Return `resized` too. */
  readonly keepSteps: boolean;
}

export interface NativePreprocessed {
  /** [I, S, S, 3] uint8 RGB. */
  readonly images: Uint8Array;
  /** With `keepSteps`, per frame [224, 224, 3] after JPEG and resize; null where the frame has that size already. */
  readonly resized?: readonly (Uint8Array | null)[];
  /** Milliseconds of the steps; together the time that the arithmetic took (native/reference/preprocessor.h). */
  readonly times: { readonly decode: number; readonly resize: number; readonly crop: number };
}

/** A wait that keeps the thread busy (native/support/busyWait.h). */
export interface NativeBusyWait {
  /** By its own clock; at least what was asked. */
  readonly ms: number;
  /** `hardware`: the processor's counter at the frequency it states itself; `system`: CLOCK_MONOTONIC_RAW. */
  readonly clock: 'hardware' | 'system';
  /** 0 with `system`. */
  readonly frequencyMHz: number;
}

export interface NativeVersion {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
  readonly build: number;
}

/** A TensorRT library as it calls itself; the last three only when a module was named. */
export interface NativeTensorRt {
  readonly version: NativeVersion;
  /** `trt10`, `trt11`, `rtx1`; empty: a version that the project does not know. */
  readonly family: string;
  readonly moduleFamily?: string;
  /** Of the headers that the module was compiled against: the oldest library it works with. */
  readonly headers?: NativeVersion;
  /** false: compiled without nvcc; engines can be built but not run. */
  readonly hasKernels?: boolean;
}

/** Smallest, most usual and largest size of one dynamic input. */
export interface NativeInputRange {
  readonly name: string;
  readonly min: readonly number[];
  readonly opt: readonly number[];
  readonly max: readonly number[];
}

export interface NativeBuildRequest {
  /** Paths of TensorRT, its ONNX parser and the module that fits. */
  readonly library: string;
  readonly parser: string;
  readonly module: string;
  /** ONNX; external weights are found from `modelPath`, which is empty when there are none. */
  readonly model: Uint8Array;
  readonly modelPath: string;
  readonly profiles: readonly (readonly NativeInputRange[])[];
  /** Compute capabilities (89); empty: the device at hand. */
  readonly targets: readonly number[];
  /** 0..5; -1: TensorRT's default. */
  readonly optimizationLevel: number;
  /** 0: TensorRT's default. */
  readonly workspaceBytes: number;
  readonly timingCache: Uint8Array;
  /** Plugin layers that the parsed network must hold, by name. */
  readonly plugins: Readonly<Record<string, number>>;
}

export interface NativeBuildProgress {
  readonly phase: string;
  /** Empty: an outermost phase. */
  readonly parent: string;
  readonly step: number;
  readonly steps: number;
  /** Steps of all phases so far. */
  readonly stepsDone: number;
}

/** Native memory that is copied out in parts: it may be larger than the largest array. */
export interface NativeBytes {
  readonly byteLength: number;
  read(offset: number, length: number): Uint8Array;
  /** Frees the memory before the garbage collector would; it is empty afterwards. */
  release(): void;
}

export interface NativeBuildResult {
  readonly isCancelled: boolean;
  readonly plan: NativeBytes;
  /** The request's timing cache and what this build measured; empty with TensorRT-RTX. */
  readonly timingCache: Uint8Array;
  /** Why the request's timing cache was not used; empty: it was. */
  readonly timingCacheRefused: string;
  /** TensorRT's own lists of layers, text. */
  readonly layers: readonly string[];
  readonly tensors: readonly {
    readonly name: string;
    readonly type: string;
    readonly isInput: boolean;
    readonly dims: readonly number[];
  }[];
  readonly networkLayers: number;
  readonly warnings: readonly string[];
}

export interface NativeBuild {
  readonly done: Promise<NativeBuildResult>;
  /** The build ends after its current step; `done` resolves with `isCancelled`. */
  cancel(): void;
}

export interface NativeDevice {
  readonly index: number;
  readonly name: string;
  readonly uuid: string;
  /** 10 * major + minor: 89. */
  readonly capability: number;
  readonly totalBytes: number;
  /** CUDA version that the driver supports: 13000. */
  readonly driverVersion: number;
  readonly isIntegrated: boolean;
}

/** Of weights; levels of one byte are copied as they are. */
export type NativeWeightType = 'float32' | 'float16' | 'bfloat16' | 'float64' | 'int8' | 'float8';

/** A weight that is an input of an engine: parts of files, one below the other, converted to `type`. */
export interface NativeWeight {
  readonly name: string;
  readonly type: NativeWeightType;
  readonly dims: readonly number[];
  readonly parts: readonly {
    readonly file: string;
    readonly offset: number;
    readonly byteLength: number;
    readonly type: NativeWeightType;
  }[];
}

export interface NativeEnginePlan {
  /** Bytes, or a file's descriptor, which may be closed when `openSession` has returned. Deserialized as it is: verify it first. */
  readonly plan: Uint8Array | number;
  /** Kernels that this engine compiled in an earlier run (`kernels`); empty: none. */
  readonly kernels: Uint8Array;
  readonly weights: readonly NativeWeight[];
}

/** An engine that reads outputs of `step`, the state, its own `carriedOutput` as `carriedInput`, and a row of each table a round. */
export interface NativeRounds {
  readonly engine: NativeEnginePlan;
  readonly count: number;
  /** `count` rows one after the other. */
  readonly tables: readonly { readonly name: string; readonly rows: Float32Array }[];
  /** Comes with the call. */
  readonly carriedInput: string;
  readonly carriedOutput: string;
}

export interface NativeSessionRequest {
  /** Paths of TensorRT and the module that fits. */
  readonly library: string;
  readonly module: string;
  readonly device: number;
  /** Runs once per state; its outputs are inputs of `step` by name. */
  readonly prepare: NativeEnginePlan;
  /** Runs once per call. */
  readonly step: NativeEnginePlan;
  /** Runs after `step`, `count` times, in the same CUDA graph; null: nothing does. */
  readonly rounds: NativeRounds | null;
  /** Input of `step` that frames can be given for. */
  readonly imageInput: string;
  /** Capture each shape as a CUDA graph. */
  readonly graphs: boolean;
  /** Time every layer with TensorRT's profiler: slower, and without CUDA graphs. */
  readonly watchLayers: boolean;
  /** Shapes kept ready. */
  readonly keptSteps: number;
  /** Of each of the two pinned buffers that weights go through. */
  readonly chunkBytes: number;
}

export interface NativeTensor {
  readonly name: string;
  readonly dims: readonly number[];
  readonly data: Uint8Array | Float32Array | BigInt64Array;
}

export interface NativeFrames {
  readonly frames: readonly NativeFrame[];
  readonly jpeg: boolean;
  readonly centerCrop: boolean;
}

/** What each layer took, in the order in which TensorRT reported them; empty unless they are watched. */
export interface NativeLayers {
  readonly names: readonly string[];
  readonly ms: Float64Array;
}

export interface NativeStepResult {
  readonly outputs: readonly {
    readonly name: string;
    readonly type: string;
    readonly dims: readonly number[];
    readonly data: Uint8Array;
  }[];
  /** By the device's clock, from the first byte uploaded to the last one back. */
  readonly deviceMs: number;
  /** Host time of putting the engine, or the graph, on the stream. */
  readonly enqueueMs: number;
  /** The parts of deviceMs; 0 of a first call. */
  readonly h2dMs: number;
  readonly computeMs: number;
  readonly d2hMs: number;
  /** This call prepared its shapes, or captured them anew. */
  readonly isFirst: boolean;
  /** Why the session runs without a CUDA graph that was asked for; empty but for the first such call. */
  readonly captureFailure: string;
  readonly layers: NativeLayers;
  /** Of a call that asked: the image input as the device made it of frames. */
  readonly images?: Uint8Array;
}

/** Device bytes by use; `pinned` is host memory. */
export interface NativeMemory {
  readonly weights: number;
  readonly states: number;
  readonly transfers: number;
  readonly scratch: number;
  readonly engines: number;
  readonly pinned: number;
  readonly free: number;
  readonly total: number;
}

/** Kernels that an engine compiled when it ran; `refused`: why those it was given were not used, empty: they were. */
export interface NativeKernels {
  readonly bytes: Uint8Array;
  readonly refused: string;
}

/** A call's inputs, copied, as an opaque value. */
export interface NativeStaged {
  readonly [staged]: never;
}
declare const staged: unique symbol;

/** Calls run one after the other on the session's own thread; inputs are copied before a call returns. */
export interface NativeSession {
  readonly device: NativeDevice;
  prepare(inputs: readonly NativeTensor[]): Promise<{
    readonly state: number;
    readonly deviceMs: number;
    readonly layers: NativeLayers;
  }>;
  /** Copies a call's inputs; null: the device cannot preprocess these frames. */
  stage(inputs: readonly NativeTensor[], frames: NativeFrames | null): NativeStaged | null;
  /** Once for each staged call. */
  run(state: number, call: NativeStaged, returnsImages: boolean): Promise<NativeStepResult>;
  /** Drops a staged call that will not run; does nothing for one that has run. */
  drop(call: NativeStaged): void;
  release(state: number): Promise<void> | undefined;
  memory(): Promise<NativeMemory>;
  kernels(): Promise<Readonly<Record<'prepare' | 'step' | 'rounds', NativeKernels>>>;
  /** JSON of TensorRT's inspector for each engine; empty without rounds. */
  layerInfo(): Promise<Readonly<Record<'prepare' | 'step' | 'rounds', string>>>;
  /** Gives all memory back. */
  close(): Promise<void>;
  /** Ends the thread; after `close` has settled. */
  end(): void;
}

export interface NativeSessionOpening {
  readonly done: Promise<NativeSession>;
  /** Loading ends after its current chunk; `done` rejects with kind `cancelled`. */
  cancel(): void;
  /** Ends the thread; after `done` has rejected. */
  end(): void;
}

/** What rejections of the session carry. */
export interface NativeFailure extends Error {
  readonly kind?: 'memory' | 'device' | 'driver' | 'plan' | 'weights' | 'request' | 'cancelled';
  /** Bytes, of kind `memory`. */
  readonly needed?: number;
  readonly free?: number;
}

/** Work on the CPU runtime's thread. */
export interface NativeCpuWork {
  readonly done: Promise<Reply>;
  /** From now on `done` may reject; harmless once it has settled. A computation stops between two nodes. */
  cancel(): void;
}

/** Two graphs and the states of instructions. Requests are done in order; call `end` only when none is pending. */
export interface NativeCpuRuntime {
  load(request: {
    /** A model, or its file. */
    readonly instruction: Uint8Array | string;
    readonly policy: Uint8Array | string;
    /** Empty: none. */
    readonly denoiser: Uint8Array | '';
    /** Initializers that are read into memory of the runtime's own; the others are mapped. */
    readonly instructionWeights: readonly NativeInitializer[];
    readonly policyWeights: readonly NativeInitializer[];
    readonly denoiserWeights: readonly NativeInitializer[];
    readonly threads: number;
    readonly lean: boolean;
    /** Of mapped weights that the runtime packs into its own memory. */
    readonly packedBytes: number;
    readonly config: Readonly<Record<string, string>>;
    readonly stagePrefix: string;
    /** Empty: not profiled. */
    readonly instructionProfile: string;
    readonly policyProfile: string;
    readonly denoiserProfile: string;
  }): NativeCpuWork;
  /** Keeps under `state` what the later graphs read; outputs: the intermediates. */
  encode(state: number, inputs: NamedTensors): NativeCpuWork;
  /** With a denoiser: keeps under `kept` what it reads. */
  run(state: number, kept: number, inputs: NamedTensors): NativeCpuWork;
  denoise(state: number, kept: number, inputs: NamedTensors): NativeCpuWork;
  release(state: number): NativeCpuWork;
  endProfiling(): NativeCpuWork;
  close(): NativeCpuWork;
  end(): void;
}

/** [height, width, 3] to [outHeight, outWidth, 3]. */
export type NativeResize = (
  rgb: Uint8Array,
  width: number,
  height: number,
  outWidth: number,
  outHeight: number,
) => Uint8Array;

export interface NativeAddon {
  /** What two builds measured on one device as one timing cache. */
  combineTimingCaches(request: {
    readonly library: string;
    readonly parser: string;
    readonly module: string;
    readonly first: Uint8Array;
    readonly second: Uint8Array;
  }): Promise<Uint8Array>;
  /** The GPUs that a module's driver shows. Throws NativeFailure. */
  listDevices(module: string): readonly NativeDevice[];
  openSession(
    request: NativeSessionRequest,
    onProgress: (progress: { readonly done: number; readonly total: number }) => void,
  ): NativeSessionOpening;
  /** ONNX Runtime's library, and a thread of its own. Throws with the loader's reason. */
  openCpuRuntime(library: string): NativeCpuRuntime;
  /** An exclusive lock on an open file, given back when it is closed or the process ends. false: another holds it. */
  tryLock(fd: number): boolean;
  /** Opens a TensorRT library, and a module unless its path is empty. Throws with the loader's reason. */
  inspectTensorRt(request: { readonly library: string; readonly module: string }): NativeTensorRt;
  /** Blocks the JS thread, at most a second: for checking its clock. */
  busyWait(microseconds: number): NativeBusyWait;
  /** Returns freed memory of the whole process to the operating system (native/support/trimHeap.h); takes milliseconds. */
  trimHeap(): boolean;
  /**
   * Base64 over itself, on the JS thread; standard and URL alphabet, padding at the end. Returns the number of bytes; -1:
   * another character, and `text` is partly overwritten. The length must be a multiple of 4.
   */
  decodeBase64(text: Uint8Array): number;
  /**
   * LoRA's merge in float32, in place, on the JS thread: `weights` [rows, columns] += `b` [rows, rank] * `a` [rank, columns],
   * where each sum runs in the order of the rank. Returns whether every result is finite (native/support/lowRank.h).
   */
  addLowRank(weights: Float32Array, a: Float32Array, b: Float32Array, rank: number): boolean;
  /**
   * Weights [rows, columns] as 8-bit levels, on the JS thread: each block of columns rotated by the Hadamard matrix, one scale a row.
   * Written as rows from `firstRow` on of `levels` [columns, all rows], or with `byRow` [all rows, columns] (int8, or
   * with `format` E4M3), and `scales` [all rows]. Returns whether every rotated weight is finite (native/support/quantizeRows.h).
   */
  quantizeRows(
    weights: Float32Array,
    block: number,
    levels: Uint8Array,
    scales: Float32Array,
    firstRow: number,
    rows: number,
    byRow?: boolean,
    format?: 'int8' | 'float8',
  ): boolean;
  /**
   * In place, on the JS thread: columns of `weights` [rows, columns] times `gamma`, then each `rowBlock` rows rotated
   * (native/support/quantizeRows.h).
   */
  foldRows(weights: Float32Array, rows: number, gamma: Float32Array | null, rowBlock: number): void;
  /** One ONNX model to one plan, on a thread of its own; several wait for each other. */
  buildEngine(request: NativeBuildRequest, onProgress: (progress: NativeBuildProgress) => void): NativeBuild;
  /** Off the JS thread, on a thread that the addon owns; frames are copied before it returns. */
  preprocessImages(
    frames: readonly NativeFrame[],
    options: NativePreprocessOptions,
  ): Promise<NativePreprocessed>;
  /** Single steps on [height, width, 3] RGB, on the JS thread, so that each can be tested by itself. */
  jpegRoundTrip(rgb: Uint8Array, width: number, height: number): Uint8Array;
  lanczosResize: NativeResize;
  pillowBicubic: NativeResize;
  /** [count, imageSize, imageSize, 3] uint8 to [count, 3, imageSize, imageSize] float32. */
  normalizePixels(
    images: Uint8Array,
    count: number,
    imageSize: number,
    mean: readonly number[],
    std: readonly number[],
  ): Float32Array;
}

/** The keys of `NativeAddon`, for the test that compares them with what the compiled file exports. */
export const nativeKeys: Readonly<Record<keyof NativeAddon, true>> = {
  addLowRank: true,
  buildEngine: true,
  busyWait: true,
  trimHeap: true,
  decodeBase64: true,
  foldRows: true,
  combineTimingCaches: true,
  inspectTensorRt: true,
  jpegRoundTrip: true,
  lanczosResize: true,
  listDevices: true,
  normalizePixels: true,
  openCpuRuntime: true,
  openSession: true,
  quantizeRows: true,
  pillowBicubic: true,
  preprocessImages: true,
  tryLock: true,
};

let loaded: NativeAddon | undefined;

/** The compiled addon's file; null: there is none. */
export const findAddon = (): string | null => findCompiled('semanticvla.node');

/**
 * The compiled addon, loaded at the first call, so that importing the package works on a machine without it.
 *
 * @throws ADDON_NOT_BUILT with what to do about it.
 */
export function loadAddon(): NativeAddon {
  if (loaded === undefined) {
    const file = findAddon();
    try {
      if (file === null) throw new Error('no addon');
      const addon = createRequire(import.meta.url)(file) as NativeAddon;
      const lacking = Object.keys(nativeKeys).find((name) => !(name in addon));
      if (lacking !== undefined) throw new Error(`one of older sources, without ${lacking}`);
      loaded = addon;
    } catch (cause) {
      throw noAddon(file, cause);
    }
  }
  return loaded;
}
