/** What the CPU session asks of its thread, and what comes back. */

/** A floating-point initializer that lies in a file as it is. */
export interface NativeInitializer {
  readonly name: string;
  /** TensorProto.DataType */
  readonly type: number;
  readonly dims: readonly number[];
  readonly file: string;
  readonly offset: number;
  readonly byteLength: number;
}

export type TensorData =
  | { readonly type: 'float32'; readonly data: Float32Array; readonly dims: readonly number[] }
  | { readonly type: 'int64'; readonly data: BigInt64Array; readonly dims: readonly number[] }
  | { readonly type: 'int32'; readonly data: Int32Array; readonly dims: readonly number[] }
  | { readonly type: 'uint8'; readonly data: Uint8Array; readonly dims: readonly number[] }
  | { readonly type: 'bool'; readonly data: Uint8Array; readonly dims: readonly number[] };

export type NamedTensors = Readonly<Record<string, TensorData>>;

/** How ONNX Runtime is set up; see onnxThread.ts for why. */
export interface OnnxRuntimeOptions {
  readonly threads: number;
  /** Microseconds that an idle worker spins before it sleeps; default 0 (docs/cpuThreads.md). */
  readonly spinUs?: number;
  /** `beside`: mapped, of models given as files that name their weights beside themselves. */
  readonly weights: 'folded' | 'mapped' | 'beside';
  /** Bytes of the quantized weights, which the runtime packs into memory of its own; float32 ones that are mapped are not packed. */
  readonly packedBytes?: number;
  /** Folder for ONNX Runtime's own profile of every session; absent: not profiled. Profiling slows every node. */
  readonly profileFolder?: string;
}

export type Request =
  | {
      readonly kind: 'load';
      /** A model, or its file. */
      readonly instruction: Uint8Array | string;
      readonly policy: Uint8Array | string;
      /** Of a diffusion policy; empty: none. */
      readonly denoiser: Uint8Array | '';
      /** Read into memory; the models' other weights are mapped. */
      readonly instructionWeights: readonly NativeInitializer[];
      readonly policyWeights: readonly NativeInitializer[];
      readonly denoiserWeights: readonly NativeInitializer[];
      readonly options: OnnxRuntimeOptions;
    }
  | { readonly kind: 'encode'; readonly state: number; readonly inputs: NamedTensors }
  /** `kept`: the state in which a diffusion policy keeps what its denoiser reads of the observation. */
  | { readonly kind: 'run'; readonly state: number; readonly kept: number; readonly inputs: NamedTensors }
  | { readonly kind: 'denoise'; readonly state: number; readonly kept: number; readonly inputs: NamedTensors }
  | { readonly kind: 'release'; readonly state: number }
  /** Ends the profiling of every session: the files are complete when it is answered. */
  | { readonly kind: 'endProfiling' }
  | { readonly kind: 'close' };

export interface Reply {
  readonly outputs: NamedTensors;
  readonly ms: number;
  /** When the thread began with it, milliseconds of the monotonic clock that all threads share (process.hrtime). */
  readonly at: number;
}
