/**
 * Whether an engine computes what it should, asked once per device and driver: recorded inputs through the engine and
 * through the CPU runtime with the same weights. TensorRT's fused attention has given silently wrong numbers on some
 * devices, and nothing but a comparison shows it.
 *
 * Large checkpoints are checked by a twin: the same widths with few layers and random weights, since every kernel is chosen
 * by widths and not by depth.
 */

import type { PolicyConfig } from '../checkpoint/policyConfig.ts';
import { SemanticVlaError } from '../errors.ts';
import type { Precision } from '../graph/onnxModel.ts';
import type { InstructionInput, PolicyInput, PolicyOutput, Session } from '../runtime/session.ts';

/** Observations that are tried until one selects the same patches on both sides. */
const observations = 6;

/**
 * Largest difference of a normalized action and of a cosine similarity. Measured on the golden policies: bfloat16 moves
 * actions by up to 0.057 with the same selection, float16 by an eighth of it (three more bits); allowed is three times that.
 * float32 differs by the order of sums alone, 3e-6, and by what erf and exp approximations add.
 */
const allowed: Readonly<Record<Precision, { readonly actions: number; readonly similarity: number }>> = {
  bfloat16: { actions: 0.17, similarity: 0.05 },
  float16: { actions: 0.03, similarity: 0.01 },
  float32: { actions: 1e-3, similarity: 1e-4 },
};

export interface Recorded {
  readonly instruction: InstructionInput;
  readonly input: PolicyInput;
}

export interface CheckSizes {
  readonly images: number;
  readonly proprio: boolean;
}

/** The n-th recorded input: the same numbers on every machine. */
export function recordedInput(
  config: PolicyConfig,
  sizes: CheckSizes,
  promptLength: number,
  n: number,
): Recorded {
  const random = generator(n + 1);
  const whole = (below: number): number => Math.floor(random() * below);
  const { imageSize, llama, proprioDim } = config;
  const sampler = config.siglip.sampler ?? config.dinov2.sampler;
  const promptIds = [1, ...Array.from({ length: promptLength - 1 }, () => 3 + whole(llama.vocabSize - 3)), 2];
  const siglipIds =
    sampler === null
      ? null
      : Array.from({ length: sampler.textEncoder.positions }, (_, i) =>
          i < promptLength ? 2 + whole(sampler.textEncoder.vocabSize - 2) : 1,
        );
  return {
    instruction: { promptIds, siglipIds },
    input: {
      images: pictures(sizes.images, imageSize, random),
      proprio:
        sizes.proprio && proprioDim !== null
          ? Float32Array.from({ length: proprioDim }, () => random() * 2 - 1)
          : null,
    },
  };
}

/** Shaded rectangles on a gradient: smooth and sharp parts, like a camera's. [I, S, S, 3] */
function pictures(count: number, side: number, random: () => number): Uint8Array {
  const pixels = new Uint8Array(count * side * side * 3);
  for (let image = 0; image < count; image++) {
    const shapes = Array.from({ length: 12 }, () => Array.from({ length: 7 }, random));
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const at = ((image * side + y) * side + x) * 3;
        let color = [x / side, y / side, 1 - (x + y) / (2 * side)];
        for (const [left, top, width, height, ...own] of shapes as [
          number,
          number,
          number,
          number,
          ...number[],
        ][]) {
          const inside =
            x / side >= left && x / side < left + width / 2 && y / side >= top && y / side < top + height / 2;
          if (inside) color = own.map((value) => value * (0.5 + (0.5 * x) / side));
        }
        for (let c = 0; c < 3; c++) pixels[at + c] = Math.min(255, Math.floor(color[c]! * 256));
      }
    }
  }
  return pixels;
}

/** mulberry32: [0, 1) */
function generator(seed: number): () => number {
  let state = Math.imul(seed, 0x9e3779b1) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export interface TrustResult {
  readonly difference: number;
  readonly allowed: number;
  /** Observations until both sides kept the same patches. */
  readonly tried: number;
}

export interface TrustRequest {
  readonly config: PolicyConfig;
  readonly sizes: CheckSizes;
  readonly precision: Precision;
  /** P that the engines admit. */
  readonly promptLength: number;
  readonly device: Session;
  readonly cpu: Session;
  /** For messages: device, driver and TensorRT. */
  readonly label: string;
  readonly signal?: AbortSignal;
}

/** @throws (rejects) ENGINE_CHECK_FAILED with the largest difference */
export async function checkAnswers(request: TrustRequest): Promise<TrustResult> {
  const limit = allowed[request.precision];
  let earlier: { readonly found: Float32Array; readonly difference: number } | null = null;
  for (let n = 0; n < observations; n++) {
    request.signal?.throwIfAborted();
    const recorded = recordedInput(request.config, request.sizes, request.promptLength, n);
    const found = await answer(request.device, recorded, request.signal);
    const wanted = await answer(request.cpu, recorded, request.signal);
    const scores = largestDifference(found.similarity, wanted.similarity);
    if (!(scores <= limit.similarity)) throw mismatch(request, 'similarity', scores, limit.similarity);
    // Two patches whose scores are nearly equal may change places in low precision; then the actions are of other patches.
    if (largestDifference(found.keptPatches, wanted.keptPatches) > 0) continue;
    const difference = largestDifference(found.actions, wanted.actions);
    if (!(difference <= limit.actions)) throw mismatch(request, 'actions', difference, limit.actions);
    if (earlier === null) {
      earlier = { found: found.actions, difference };
      continue;
    }
    // An engine that ignores its input might still be near a policy that hardly moves.
    if (largestDifference(earlier.found, found.actions) === 0) {
      throw new SemanticVlaError(
        'ENGINE_CHECK_FAILED',
        `${request.label}: expected other actions for another observation, found the same bits. ${nextStep}`,
      );
    }
    return { difference: Math.max(earlier.difference, difference), allowed: limit.actions, tried: n + 1 };
  }
  throw new SemanticVlaError(
    'ENGINE_CHECK_FAILED',
    `${request.label}: expected the engine to keep the CPU's patches in two of ${observations} recorded observations, found fewer. ${nextStep}`,
  );
}

async function answer(session: Session, recorded: Recorded, signal?: AbortSignal): Promise<PolicyOutput> {
  const state = await session.encodeInstruction(recorded.instruction, signal);
  try {
    return await session.run(recorded.input, state, signal);
  } finally {
    state.release();
  }
}

/** Infinity for a NaN, another length, or a value on one side only. */
function largestDifference(a: ArrayLike<number> | null, b: ArrayLike<number> | null): number {
  if (a === null || b === null) return a === b ? 0 : Number.POSITIVE_INFINITY;
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    if (!(difference <= most)) most = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  }
  return most;
}

const nextStep =
  'Do not run a robot with it. Update the driver and TensorRT and build again (semanticvla build --rebuild), try --precision float16 or float32, or use --backend cpu.';

function mismatch(request: TrustRequest, what: string, found: number, limit: number): SemanticVlaError {
  return new SemanticVlaError(
    'ENGINE_CHECK_FAILED',
    `${request.label}: expected ${what} of the recorded observation within ${limit} of the CPU runtime's, found ${found}. ${nextStep}`,
  );
}
