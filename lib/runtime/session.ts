/**
 * One interface for every runtime. A session holds the weights of one policy and runs its two graphs:
 * `instruction` once per sentence, `policy` once per observation. No image, token or robot word in here: those are
 * transforms.
 */

import type { ImageFrame } from '../types.ts';

/** Numbers in, numbers out; shapes in letters of docs/model.md. */
export interface InstructionInput {
  /** [P + 1] Llama ids of the prompt (BOS first, 29871 last), then the stop id. */
  readonly promptIds: readonly number[];
  /** [64] SigLIP text ids, padded; null when no tower has a sampler. */
  readonly siglipIds: readonly number[] | null;
}

/** The instruction's part of the computation, kept where the session keeps it (worker memory, device memory). */
export interface InstructionState {
  readonly promptLength: number;
  /** Milliseconds spent computing it. */
  readonly computeMs: number;
  /** Gives the memory back; idempotent. */
  release(): void;
}

export interface PolicyInput {
  /** [I, S, S, 3] uint8 RGB after resize and crop, cameras in input order. */
  readonly images: Uint8Array;
  /** [proprioDim] normalized; null when the policy runs without proprioception. */
  readonly proprio: Float32Array | null;
}

export interface PolicyOutput {
  /** [C, A] row-major, normalized to [-1, 1]. */
  readonly actions: Float32Array;
  /** [I, visionTopk] ascending patch indices per tower that has a sampler; null without one. */
  readonly keptPatches: Int32Array | null;
  /** [I, patches, positions] cosine similarity patch x text token, masked columns -1; null without a sampler. */
  readonly similarity: Float32Array | null;
  /** Milliseconds by stage inside the runtime. */
  readonly timings: Readonly<Record<string, number>>;
  /** [I, S, S, 3] uint8 RGB that the session made of frames; absent unless FrameInput asked for it. */
  readonly images?: Uint8Array;
}

/** Camera frames as they come, and what is to be done to them. */
export interface FrameInput {
  /** In input order; checked (transforms/imageFrame.ts). */
  readonly frames: readonly ImageFrame[];
  readonly jpeg: boolean;
  readonly centerCrop: boolean;
  /** As in PolicyInput. */
  readonly proprio: Float32Array | null;
  /** For who compares them; default: no. */
  readonly returnsImages?: boolean;
}

/** Frames that were copied to where the session preprocesses them; the caller's may change. */
export interface StagedFrames {
  /** Milliseconds that copying took. */
  readonly copyMs: number;
  /** Once. */
  run(instruction: InstructionState, signal?: AbortSignal): Promise<PolicyOutput>;
  /** Gives the memory back when it will not run; idempotent. */
  drop(): void;
}

export interface Session {
  readonly backend: 'cpu' | 'tensorrt';
  encodeInstruction(input: InstructionInput, signal?: AbortSignal): Promise<InstructionState>;
  run(input: PolicyInput, instruction: InstructionState, signal?: AbortSignal): Promise<PolicyOutput>;
  /**
   * Frames for a session that preprocesses them itself, to the same bits as transforms/image.ts; null when it cannot take
   * these (their size or number, the policy's image size): give `run` the preprocessed images then. Absent: it never can.
   */
  stageFrames?(input: FrameInput): StagedFrames | null;
  /** Idempotent; closes children first; every later call rejects with code CLOSED. */
  close(): Promise<void>;
}
