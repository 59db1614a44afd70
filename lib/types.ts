/** The public shapes of the API: what goes into a policy and what comes out. Only types; no behaviour. */

import type { Progress, WeightRounding } from './checkpoint/checkpoint.ts';
import type { HeadName } from './checkpoint/policyConfig.ts';
import type { Notice, OnNotice } from './support/notices.ts';

/** `q99`: [q01, q99] -> [-1, 1]; `minmax`: [min, max] -> [-1, 1]. */
export type Normalization = 'q99' | 'minmax';

/** Name of a preset. */
export type PlatformName = 'libero' | 'aloha' | 'bridge' | 'custom';

/** Everything resolved; no field is optional any more. */
export interface Platform {
  readonly name: PlatformName;
  /** Camera names in input order, e.g. `['full_image', 'wrist_image']`. */
  readonly cameras: readonly string[];
  readonly proprio: boolean;
  readonly centerCrop: boolean;
  /** JPEG round trip before the resize, as in the training data. */
  readonly jpeg: boolean;
  /** Chunk length C, actions per prediction. */
  readonly chunk: number;
  readonly normalization: Normalization;
}

/** One camera frame, uint8, row-major [height, width, 3]. Never modified. */
export interface ImageFrame {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  /** Channel order of `data`; default `rgb`. OpenCV and many camera drivers deliver `bgr`: say so. */
  readonly order?: 'rgb' | 'bgr';
}

/** What the robot sees now. Cameras by name; the policy picks the ones its platform names, in the platform's order. */
export interface Observation {
  readonly images: Readonly<Record<string, ImageFrame>>;
  /** Joint state (proprioception) in the dataset's units, [proprioDim]; needed when the policy uses it. */
  readonly state?: ArrayLike<number>;
}

/** What `loadPolicy` is told; everything may be left out. */
export interface PolicyOptions {
  /**
   * How actions are made. Needed only for a folder without an action head (`discrete`); where files tell, it must agree.
   * `diffusion` and `autoregressive` are known by name and not supported.
   */
  readonly head?: HeadName;
  /** Preset for what the checkpoint does not hold; inferred only when unambiguous. */
  readonly platform?: PlatformName;
  /** Names of the cameras in the order in which the policy was trained with them, as `observation.images` holds them. */
  readonly cameras?: readonly string[];
  /** Whether the policy takes the joint state (`observation.state`). */
  readonly proprio?: boolean;
  /** Whether 90 % of the area, in the middle, is cut out and scaled up again, as training with random crops asks for. */
  readonly centerCrop?: boolean;
  /** Whether a frame goes through JPEG before it is resized, as the frames of the training data did. */
  readonly jpeg?: boolean;
  /** Actions per prediction C, >= 1. */
  readonly chunk?: number;
  /** Which bounds of the statistics [-1, 1] stands for: `q99` their 1 % and 99 % quantiles, `minmax` their extremes. */
  readonly normalization?: Normalization;
  /** Default normalization key for `predict`; needed there or here when the checkpoint holds several. */
  readonly unnormKey?: string;
  readonly backend?: 'cpu' | 'tensorrt';
  /** CPU threads of the runtime and of preprocessing; default: as many as the process may use. */
  readonly threads?: number;
  /** CPU runtime: microseconds that an idle worker thread spins before it sleeps; default 0 (docs/cpuThreads.md). */
  readonly spin?: number;
  /** Instructions kept encoded (LRU); default 16, or as many as `instructions` are. */
  readonly instructionCache?: number;
  /**
   * What the robot will be told, where that is known: encoded at load, and each length of prompt among them prepared by one
   * prediction, so that its first chunk takes no longer than the next ones.
   */
  readonly instructions?: readonly string[];
  /** [width, height] of the frames of that preparation: TensorRT prepares for one size of frames; default [256, 256]. */
  readonly frameSize?: readonly [number, number];
  /**
   * TensorRT: lengths of prompts that stay prepared (LRU, one for each size of frames); default 4, or one more than
   * `instructions` have. Each holds a context with its buffers, and a CUDA graph.
   */
  readonly keptLengths?: number;
  /**
   * CPU runtime: `folded` widens weights to float32 once at load (fast, 2x the bf16 bytes in memory); `mapped` leaves
   * bf16 weights in their files and widens them as they are used. Default: `folded` below 2 GB of weights.
   * TensorRT: `bound` puts them on the device at load, one plan for every checkpoint of an architecture; `baked` into the
   * plan. Default: the device's recipe (engines/).
   */
  readonly weights?: 'folded' | 'mapped' | 'bound' | 'baked';
  /** TensorRT: type of weights and activations; default: the device's recipe. The CPU computes in float32. */
  readonly precision?: 'float32' | 'bfloat16' | 'float16';
  /** TensorRT: the library or its folder; default: searched (`semanticvla doctor` says where). */
  readonly tensorRt?: string;
  /** TensorRT: number of the GPU; default 0. */
  readonly device?: number;
  /** TensorRT: CUDA graphs; default true. */
  readonly graphs?: boolean;
  /** Folder with the SigLIP tokenizer (`spiece.model`) and its text config; default: what config.json names. */
  readonly siglipText?: string;
  /** `bfloat16` (default): weights as the reference's loaders round them; `none`: as training left them. */
  readonly rounding?: WeightRounding;
  /** Where merged LoRA weights and engines are kept; default: $SEMANTICVLA_CACHE, else the user's cache folder. */
  readonly cacheDir?: string;
  /** Called while loading takes long. */
  readonly onProgress?: (progress: Progress) => void;
  /** What should be known though nothing failed, as soon as it is; default: a warning of the process. See `Policy.notices`. */
  readonly onNotice?: OnNotice;
  /** Stops loading; `loadPolicy` rejects with its reason. */
  readonly signal?: AbortSignal;
}

/** What one prediction is told. */
export interface PredictOptions {
  /** What the robot shall do, in plain English. */
  readonly instruction: string;
  /** Whose statistics un-normalize the actions and normalize the state; default: that of `loadPolicy`. */
  readonly unnormKey?: string;
  /** Stops the prediction; `predict` rejects with its reason. */
  readonly signal?: AbortSignal;
}

/** C actions of A dimensions. */
export interface ActionChunk {
  /** [C, A] row-major float64, in the dataset's units. */
  readonly actions: Float64Array;
  /** [C, A] row-major float32, as the head gives them, about [-1, 1]. */
  readonly normalized: Float32Array;
  /** [C, A] */
  readonly shape: readonly [number, number];
  /** A names, e.g. `x y z roll pitch yaw gripper`. */
  readonly dimensions: readonly string[];
  /** By camera: ascending patch indices the ID-Pruner kept (row-major in the patch grid). Empty without a pruner. */
  readonly keptPatches: Readonly<Record<string, Int32Array>>;
  /** By camera: [patches, text positions] cosine similarity, masked columns -1. Empty without a pruner. */
  readonly similarity: Readonly<Record<string, Float32Array>>;
  /**
   * Milliseconds by stage: `normalize` (joint state), `preprocess` and within it `decode`, `resize` and `crop` (the rest is
   * copying and waiting for a thread), `tokenize` (only in the prediction that encoded the instruction), `instruction` (0
   * when it was encoded before), `policy`, what the runtime tells beyond, `unnormalize`, `total`. Stages may overlap. With
   * backend tensorrt `device` is the part of `policy` by the GPU's clock, and frames that it preprocesses itself have
   * `preprocessOnDevice`, the time of handing them over, in the place of `preprocess`.
   */
  readonly timings: Readonly<Record<string, number>>;
  readonly instruction: string;
  readonly unnormKey: string;
}

/** A named intermediate tensor (names and shapes of the reference outputs). */
export interface StageTensor {
  readonly dtype: 'F32' | 'I32' | 'U8';
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint8Array;
}

/** A loaded policy: frames, a sentence and the joint state in, a chunk of actions out. */
export interface Policy extends AsyncDisposable {
  readonly platform: Platform;
  /** Names of the A action dimensions. */
  readonly dimensions: readonly string[];
  /** Human name: `SemanticVLA`, `SemanticVLA-Lite`, `OpenVLA-OFT`, `OpenVLA-OFT+`. */
  readonly variant: string;
  /** Side of the square image that enters the vision towers, pixels. */
  readonly imageSize: number;
  /** Side of the square grid of patches over an image (16 for 224 px and 14 px patches). */
  readonly patchGrid: number;
  /** Numbers that the joint state has, 0: none are read. Undefined where it is not known before a prediction. */
  readonly stateSize?: number;
  /** What should be known of this policy though it loads, e.g. that its statistics are those of the base model. */
  readonly notices: readonly Notice[];
  /**
   * Off the event loop; concurrent calls are safe and run one after the other. Rejects with the signal's reason. Frames are
   * read until the promise settles at the latest; whoever needs them later copies them.
   */
  predict(observation: Observation, options: PredictOptions): Promise<ActionChunk>;
  /** Every named intermediate of one prediction, computed without the savings, in reference order. Slow; for checking. */
  stages(observation: Observation, options: PredictOptions): Promise<Map<string, StageTensor>>;
  /** Idempotent; later calls reject with code CLOSED. */
  close(): Promise<void>;
}
