/**
 * One interface for every runtime. A session holds the weights of one policy and runs its graphs:
 * `instruction` once per sentence, `policy` once per observation, and of a diffusion policy `denoiser` once per step. Nothing in here knows images, tokens or robots: those are
 * transforms.
 */

import type { ImageFrame } from '../types.ts';

/** A diffusion policy's steps: what each of them reads, one row a step (transforms/ddim.ts). */
export interface DenoisingSteps {
  readonly count: number;
  /** [count, D] */
  readonly timeEmbeddings: Float32Array;
  /** [count, 4] */
  readonly factors: Float32Array;
}

/** Numbers in, numbers out; shapes in letters of docs/model.md. */
export interface InstructionInput {
  /** [P + 1] Llama ids of the prompt (BOS first, 29871 last), then the stop id, which an autoregressive policy has not. */
  readonly promptIds: readonly number[];
  /** [64] SigLIP text ids, padded; null when no tower has a sampler. */
  readonly siglipIds: readonly number[] | null;
}

/** The instruction's part of the computation, kept in the session's own memory (worker or device). */
export interface InstructionState {
  readonly promptLength: number;
  /** Milliseconds spent computing it. */
  readonly computeMs: number;
  /** Frees the memory; idempotent. */
  release(): void;
}

export interface PolicyInput {
  /** [I, S, S, 3] uint8 RGB after resize and crop, cameras in input order. */
  readonly images: Uint8Array;
  /** [proprioDim] normalized; null when the policy runs without proprioception. */
  readonly proprio: Float32Array | null;
  /** [C, A] where a diffusion policy starts; of others absent. */
  readonly noise?: Float32Array;
}

export interface PolicyOutput {
  /** [C, A] row-major, normalized to [-1, 1]. */
  readonly actions: Float32Array;
  /** [C, A] token ids that the actions are decoded from; absent unless the head makes tokens. */
  readonly tokens?: Int32Array;
  /** [C, A] noise that a diffusion policy predicted in its last step; absent of others. */
  readonly noise?: Float32Array;
  /** [I, visionTopk] ascending patch indices per tower that has a sampler; null without one. */
  readonly keptPatches: Int32Array | null;
  /** [I, patches, positions] cosine similarity patch x text token, masked columns -1; null without a sampler. */
  readonly similarity: Float32Array | null;
  /** Milliseconds by stage inside the runtime. */
  readonly timings: Readonly<Record<string, number>>;
  /** [I, S, S, 3] uint8 RGB that the session made of frames; absent unless FrameInput asked for it. */
  readonly images?: Uint8Array;
}

/** Camera frames as delivered, and how to preprocess them. */
export interface FrameInput {
  /** In input order; checked (transforms/imageFrame.ts). */
  readonly frames: readonly ImageFrame[];
  readonly jpeg: boolean;
  readonly centerCrop: boolean;
  /** As in PolicyInput. */
  readonly proprio: Float32Array | null;
  readonly noise?: Float32Array;
  /** Return the preprocessed images too, for comparison; default: no. */
  readonly returnsImages?: boolean;
}

/** Frames copied to where the session preprocesses them; the caller may reuse its own. */
export interface StagedFrames {
  /** Milliseconds that copying took. */
  readonly copyMs: number;
  /** Once. */
  run(instruction: InstructionState, signal?: AbortSignal): Promise<PolicyOutput>;
  /** Frees the memory when it will not run; idempotent. */
  drop(): void;
}

export interface Session {
  readonly backend: 'cpu' | 'tensorrt';
  encodeInstruction(input: InstructionInput, signal?: AbortSignal): Promise<InstructionState>;
  run(input: PolicyInput, instruction: InstructionState, signal?: AbortSignal): Promise<PolicyOutput>;
  /**
   * Frames for a session that preprocesses them itself, to the same bits as transforms/image.ts; null when it cannot take
   * these (their size or number, the policy's image size): pass the preprocessed images to `run` then. Absent: it never can.
   */
  stageFrames?(input: FrameInput): StagedFrames | null;
  /** Idempotent; closes children first; every later call rejects with code CLOSED. */
  close(): Promise<void>;
}
