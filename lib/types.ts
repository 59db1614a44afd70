/** The public types of the API: what goes into a policy and what comes out. Only types; no behaviour. */

import type { Progress, WeightRounding } from './checkpoint/checkpoint.ts';
import type { HeadName } from './checkpoint/policyConfig.ts';
import type { Notice, OnNotice } from './support/notices.ts';

/** Which statistics of the dataset map to [-1, 1]: `q99` uses [q01, q99], `minmax` uses [min, max]. */
export type Normalization = 'q99' | 'minmax';

/** Name of a preset. */
export type PlatformName = 'libero' | 'aloha' | 'bridge' | 'custom';

/** Wording of the prompt around the instruction. */
export type PromptStyle = 'openvla' | 'openvla-v01';

/** What a policy assumes about its robot, with every default resolved. The fields are explained at `PolicyOptions`. */
export interface Platform {
  readonly name: PlatformName;
  /** Camera names in input order, e.g. `['full_image', 'wrist_image']`. */
  readonly cameras: readonly string[];
  readonly proprio: boolean;
  readonly centerCrop: boolean;
  /** Whether each frame goes through a JPEG round trip before the resize, as in the training data. */
  readonly jpeg: boolean;
  /** Chunk length C: actions per prediction. */
  readonly chunk: number;
  readonly normalization: Normalization;
  /** `env`: `ActionChunk.actions` are what the platform's environment takes; absent: what the dataset has. */
  readonly actions?: 'env';
  /** Cameras whose frames are turned by 180 degrees before the policy sees them; absent: none. */
  readonly rotate?: readonly string[];
}

/** One camera frame, uint8, row-major [height, width, 3]. The policy never modifies it. */
export interface ImageFrame {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  /** Channel order of `data`; default `rgb`. OpenCV and many camera drivers deliver `bgr`: say so. */
  readonly order?: 'rgb' | 'bgr';
}

/** What the robot sees now. Cameras are found by name and used in the order of the policy's platform; further ones are ignored. */
export interface Observation {
  readonly images: Readonly<Record<string, ImageFrame>>;
  /** Joint state (proprioception) in the dataset's units, [proprioDim]; required if the policy uses it. */
  readonly state?: ArrayLike<number>;
}

/** Options of `loadPolicy`; all are optional. */
export interface PolicyOptions {
  /**
   * How the policy produces actions. Needed only for a folder without an action head: `discrete` (tokens, all at once) or
   * `autoregressive` (OpenVLA: one token after another); must agree with the files where these tell.
   */
  readonly head?: HeadName;
  /** Diffusion: how many steps a prediction takes, at most `diffusionTrainSteps`, which is the default. No file says it. */
  readonly diffusionSteps?: number;
  /** Diffusion: how many steps the noise schedule was trained with; default 50, of SemanticVLA `diffusionSteps`. No file says it. */
  readonly diffusionTrainSteps?: number;
  /** Diffusion: every prediction starts from the noise of this seed (whole number); default: new noise each time. */
  readonly seed?: number;
  /** Autoregressive: the wording of the prompt. `openvla-v01` is that of openvla-7b-v01; default `openvla`. No file says it. */
  readonly prompt?: PromptStyle;
  /** Preset for what the checkpoint does not contain; inferred only if unambiguous. */
  readonly platform?: PlatformName;
  /** Camera names in the order the policy was trained with; they are the keys of `observation.images`. */
  readonly cameras?: readonly string[];
  /** Whether the policy uses the joint state (`observation.state`). */
  readonly proprio?: boolean;
  /** Whether to crop the middle 90 % of the area and scale it back up, as needed after training with random crops. */
  readonly centerCrop?: boolean;
  /**
   * Whether a frame goes through a JPEG round trip before it is resized, as the training data did; default true. Autoregressive:
   * default false, and then the frame is not resized by Lanczos either: the crop reads it at its own size.
   */
  readonly jpeg?: boolean;
  /** Chunk length C: actions per prediction, >= 1. */
  readonly chunk?: number;
  /** Which statistics map to [-1, 1]: `q99` the 1 % and 99 % quantiles, `minmax` the extremes. */
  readonly normalization?: Normalization;
  /**
   * `env`: actions as the platform's own environment takes them (LIBERO: gripper -1 open, 1 closed; Bridge: gripper 0 or 1;
   * ALOHA: the same). Default `dataset`.
   */
  readonly actions?: 'dataset' | 'env';
  /** 180: frames arrive upside down, as LIBERO's simulator renders them, and are turned; or the cameras of which. Default: none. */
  readonly rotate?: 180 | readonly string[];
  /** Default normalization key for `predict`; if the checkpoint has several, one must be given here or there. */
  readonly unnormKey?: string;
  readonly backend?: 'cpu' | 'tensorrt';
  /** CPU threads for the runtime and for preprocessing; default: all that the process may use. */
  readonly threads?: number;
  /** CPU runtime: microseconds that an idle worker thread spins before it sleeps; default 0 (docs/cpuThreads.md). */
  readonly spin?: number;
  /** How many encoded instructions to keep (LRU); default 16, or the number of `instructions` if that is larger. */
  readonly instructionCache?: number;
  /**
   * Instructions known in advance. They are encoded at load, and one prediction is made for each of their prompt lengths, so
   * that the first chunk takes no longer than later ones.
   */
  readonly instructions?: readonly string[];
  /** [width, height] of the frames in those predictions, since TensorRT prepares for one frame size; default [256, 256]. */
  readonly frameSize?: readonly [number, number];
  /**
   * TensorRT: how many prompt lengths stay prepared (LRU, counted per frame size); default 4, or one more than
   * `instructions` have. Each takes a context with its buffers, and a CUDA graph.
   */
  readonly keptLengths?: number;
  /**
   * CPU runtime: `folded` widens weights to float32 once at load (fast; twice the memory of the bf16 bytes); `mapped`
   * leaves bf16 weights in their files and widens them at each use. Default: `folded` below 2 GB of weights.
   * TensorRT: `bound` copies them to the device at load, so that one plan serves every checkpoint of an architecture;
   * `baked` builds them into the plan. Default: the device's recipe (engines/).
   */
  readonly weights?: 'folded' | 'mapped' | 'bound' | 'baked';
  /**
   * What the policy computes in (docs/precision.md). CPU runtime: `float32` (default), `int8` (every large linear layer) or
   * `int8-llm` (the language model's alone); such weights are quantized once, into the cache, and `weights` says how the
   * others are held. TensorRT: type of weights and activations, by default the device's recipe, or `int8` or `fp8` (E4M3): the
   * language model's layers in 8 bits, quantized once into the cache too, and the rest in the recipe's type.
   */
  readonly precision?: 'float32' | 'bfloat16' | 'float16' | 'int8' | 'int8-llm' | 'fp8';
  /** TensorRT: path of the library or its folder; default: searched for (`semanticvla doctor` says where). */
  readonly tensorRt?: string;
  /** TensorRT: index of the GPU; default 0. */
  readonly device?: number;
  /** TensorRT: whether to use CUDA graphs; default true. */
  readonly graphs?: boolean;
  /** Folder with the SigLIP tokenizer (`spiece.model`) and its text config; default: the one named in config.json. */
  readonly siglipText?: string;
  /** `bfloat16` (default): round weights as the reference's loaders do; `none`: use them as training left them. */
  readonly rounding?: WeightRounding;
  /** Where merged LoRA weights and engines are cached; default: $SEMANTICVLA_CACHE, else the user's cache folder. */
  readonly cacheDir?: string;
  /** Called repeatedly while loading takes long. */
  readonly onProgress?: (progress: Progress) => void;
  /** Called at once with what you should know although nothing failed; default: a process warning. See `Policy.notices`. */
  readonly onNotice?: OnNotice;
  /** Aborts loading; `loadPolicy` then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Options of one prediction. */
export interface PredictOptions {
  /** What the robot should do, in plain English. */
  readonly instruction: string;
  /** Whose statistics normalize the state and un-normalize the actions; default: the key given to `loadPolicy`. */
  readonly unnormKey?: string;
  /** Diffusion: the noise of this seed (whole number); default: the `seed` given to `loadPolicy`. */
  readonly seed?: number;
  /** Diffusion: the noise itself, [C, A] row-major, in place of a seed. */
  readonly noise?: ArrayLike<number>;
  /** Aborts the prediction; `predict` then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** The result of one prediction: C actions of A dimensions. */
export interface ActionChunk {
  /** [C, A] row-major float64, in the dataset's units, or the environment's (`Platform.actions`). */
  readonly actions: Float64Array;
  /** [C, A] row-major float32, as the head produces them, about within [-1, 1]. */
  readonly normalized: Float32Array;
  /** [C, A] */
  readonly shape: readonly [number, number];
  /** Names of the A dimensions, e.g. `x y z roll pitch yaw gripper`. */
  readonly dimensions: readonly string[];
  /** By camera: ascending indices of the patches that the ID-Pruner kept (row-major in the patch grid). Empty without a pruner. */
  readonly keptPatches: Readonly<Record<string, Int32Array>>;
  /** By camera: [patches, text positions] row-major cosine similarity, -1 in masked columns. Empty without a pruner. */
  readonly similarity: Readonly<Record<string, Float32Array>>;
  /**
   * Milliseconds by stage: `normalize` (joint state), `preprocess` and within it `decode`, `resize` and `crop` (the rest is
   * copying and waiting for a thread), `tokenize` (only if this prediction encoded the instruction), `instruction` (0 if it
   * was already encoded), `policy`, further stages that the runtime reports, `unnormalize`, `total`. Stages may overlap.
   * With backend tensorrt, `device` is the part of `policy` by the GPU's clock; if the GPU preprocesses the frames,
   * `preprocessOnDevice` (the time to hand them over) replaces `preprocess`.
   */
  readonly timings: Readonly<Record<string, number>>;
  readonly instruction: string;
  readonly unnormKey: string;
}

/** A named intermediate tensor; names and shapes are those of the reference outputs. */
export interface StageTensor {
  readonly dtype: 'F32' | 'I32' | 'U8';
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint8Array;
}

/** A loaded policy: camera frames, an instruction and the joint state in, a chunk of actions out. */
export interface Policy extends AsyncDisposable {
  readonly platform: Platform;
  /** Names of the A action dimensions. */
  readonly dimensions: readonly string[];
  /** Name for people: `SemanticVLA`, `SemanticVLA-Lite`, `OpenVLA-OFT`, `OpenVLA-OFT+`, `OpenVLA`. */
  readonly variant: string;
  /** Side in pixels of the square image that enters the vision towers. */
  readonly imageSize: number;
  /** Side of the square grid of patches over an image (16 for 224 px and 14 px patches). */
  readonly patchGrid: number;
  /** Length of the joint state, 0 if none is used. Undefined if it is not known before a prediction. */
  readonly stateSize?: number;
  /** What you should know about this policy although it loads, e.g. that its statistics are those of the base model. */
  readonly notices: readonly Notice[];
  /**
   * Predicts one chunk, off the event loop. Concurrent calls are safe and run one after the other. Frames may be read until the
   * promise settles: do not overwrite them before, or pass copies.
   *
   * @throws (rejects) CAMERA_MISSING, IMAGE_*, STATE_INVALID, INSTRUCTION_*, UNNORM_KEY_*, RUNTIME_FAILED, CLOSED; with
   *   backend tensorrt also DEVICE_*; or the signal's reason
   */
  predict(observation: Observation, options: PredictOptions): Promise<ActionChunk>;
  /** Returns every named intermediate of one prediction, in reference order, skipping no computation. Slow; for checking. */
  stages(observation: Observation, options: PredictOptions): Promise<Map<string, StageTensor>>;
  /** Frees the policy. Idempotent; later calls of other methods reject with code CLOSED. */
  close(): Promise<void>;
}
