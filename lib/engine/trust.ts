/**
 * Whether an engine computes what it should, asked once per device and driver: recorded inputs through the engine and
 * through the CPU runtime with the same weights. TensorRT's fused attention has given silently wrong numbers on some
 * devices, and nothing but a comparison shows it.
 *
 * The inputs are camera frames, and the device's own preprocessing must give the CPU's exact bits: an engine that is
 * right does not help when its images are wrong.
 *
 * Large checkpoints are checked by a twin: the same widths with few layers and random weights, since every kernel is chosen
 * by width, not by depth.
 */

import type { PolicyConfig } from '../checkpoint/policyConfig.ts';
import type { Precision } from '../graph/onnxModel.ts';
import type { Tier } from '../graph/tiers.ts';
import type { InstructionState, PolicyInput, PolicyOutput, Session } from '../runtime/session.ts';
import { SemanticVlaError } from '../support/errors.ts';
import { packageCommand } from '../support/packageCommand.ts';
import type { ImageFrame } from '../types.ts';
import { type CheckSizes, type Recorded, recordedImages, recordedInput } from './recordedInput.ts';

/**
 * Observations that are tried until two of them select the same patches on both sides. With random weights, as a twin's, bfloat16
 * does in 10 to 15 of 24 (goldens, test/standin): of 6, one right engine in five would be refused, of 24 none.
 */
const observations = 24;

/**
 * Largest difference of a normalized action and of a cosine similarity. Measured on the golden policies: bfloat16 moves
 * actions by up to 0.057 with the same selection, float16 by an eighth of it (three more bits); allowed is three times that.
 * float32 differs by the order of sums alone, 3e-6, and by what erf and exp approximations add.
 *
 * A tier is compared with its own levels in float32. What the 16-bit type moves then carries some activations over to the next level:
 * random goldens and variants moved by up to 0.15 in int8 (test/standin), so twice as much is allowed. Steps of fp8 are up to ten times
 * as large, and single actions moved by 0.5: there a quarter of them may, as of a discrete head's.
 */
const allowed: Readonly<Record<Precision, { readonly actions: number; readonly similarity: number }>> = {
  bfloat16: { actions: 0.17, similarity: 0.05 },
  float16: { actions: 0.03, similarity: 0.01 },
  float32: { actions: 1e-3, similarity: 1e-4 },
};

function limitOf({ precision, tier }: Pick<TrustRequest, 'precision' | 'tier'>) {
  const { actions, similarity } = allowed[precision];
  return { actions: tier === undefined ? actions : 2 * actions, similarity };
}

/**
 * A `discrete` head names one of 256 bins, and where two are nearly as likely, rounding decides: the action then moves by up to
 * its whole range, though nothing is wrong. In 24 observations bfloat16 moved up to 6 of 56 actions by more than is allowed
 * (test/golden/variants/discrete); of twice as many it is taken for another policy.
 */
const discreteShare = 1 / 4;

export interface TrustResult {
  readonly difference: number;
  readonly allowed: number;
  /** Observations until both sides kept the same patches. */
  readonly tried: number;
  /** false: the device leaves frames of these sizes to the CPU, whose preprocessing is the measure. */
  readonly preprocessesFrames: boolean;
}

export interface TrustRequest {
  readonly config: PolicyConfig;
  readonly sizes: CheckSizes;
  readonly precision: Precision;
  readonly tier?: Tier;
  /** P that the engines admit. */
  readonly promptLength: number;
  /** CPU threads of the preprocessing, >= 1. */
  readonly threads: number;
  readonly device: Session;
  readonly cpu: Session;
  /** For messages: device, driver and TensorRT. */
  readonly label: string;
  readonly signal?: AbortSignal;
}

/** @throws (rejects) ENGINE_CHECK_FAILED with the largest difference, and whether preprocessing or engine made it */
export async function checkAnswers(request: TrustRequest): Promise<TrustResult> {
  const limit = limitOf(request);
  let earlier: (Record<'found' | 'wanted', Float32Array> & { readonly difference: number }) | null = null;
  for (let n = 0; n < observations; n++) {
    request.signal?.throwIfAborted();
    const recorded = recordedInput(request.config, request.sizes, request.promptLength, n);
    const images = await recordedImages(recorded, request.config, request.threads);
    const { fromImages: found, fromFrames } = await onDevice(request, recorded, images);
    const wanted = await answer(request.cpu, recorded, request.signal, (state) =>
      request.cpu.run({ images, ...numbersOf(recorded) }, state, request.signal),
    );
    const differences = [compareOutputs(request, found, wanted, 'images that the CPU preprocessed')];
    if (fromFrames !== null)
      differences.push(
        compareOutputs(request, fromFrames, wanted, 'camera frames, which it preprocessed to the right bits'),
      );
    // Two patches whose scores are nearly equal may swap in low precision; then the actions belong to other patches.
    const known = differences.filter((difference) => difference !== null);
    if (known.length < differences.length) continue;
    const difference = Math.max(...known);
    if (earlier === null) {
      earlier = { found: found.actions, wanted: wanted.actions, difference };
      continue;
    }
    // An engine that ignores its input might still be near a policy that hardly moves. Bins may be the same on both sides.
    if (
      largestDifference(earlier.found, found.actions) === 0 &&
      largestDifference(earlier.wanted, wanted.actions) > 0
    ) {
      throw new SemanticVlaError(
        'ENGINE_CHECK_FAILED',
        `${request.label}: expected other actions for another observation, found the same bits. ${nextStep}`,
      );
    }
    return {
      difference: Math.max(earlier.difference, difference),
      allowed: limit.actions,
      tried: n + 1,
      preprocessesFrames: fromFrames !== null,
    };
  }
  throw new SemanticVlaError(
    'ENGINE_CHECK_FAILED',
    `${request.label}: expected the engine to make the CPU's choices (patches, tokens) in two of ${observations} recorded observations, found fewer. ${nextStep}`,
  );
}

interface DeviceAnswers {
  readonly fromImages: PolicyOutput;
  /** null: the device does not preprocess frames of these sizes. */
  readonly fromFrames: PolicyOutput | null;
}

function onDevice(request: TrustRequest, recorded: Recorded, images: Uint8Array): Promise<DeviceAnswers> {
  const { device, signal } = request;
  const numbers = numbersOf(recorded);
  return answer(device, recorded, signal, async (state) => ({
    fromImages: await device.run({ images, ...numbers }, state, signal),
    fromFrames: await runFrames(request, recorded, images, state),
  }));
}

/**
 * Other frames first: the run that counts then replays the captured graph, and leftovers of the first one would show.
 * @throws (rejects) ENGINE_CHECK_FAILED when the device preprocesses to other bits than the CPU
 */
async function runFrames(
  request: TrustRequest,
  recorded: Recorded,
  images: Uint8Array,
  state: InstructionState,
): Promise<PolicyOutput | null> {
  const { device, config, threads, signal } = request;
  const { jpeg, centerCrop } = recorded;
  const numbers = numbersOf(recorded);
  const negative = recorded.frames.map((frame) => ({
    ...frame,
    data: frame.data.map((value) => 255 - value),
  }));
  const negativeImages = await recordedImages({ frames: negative, jpeg, centerCrop }, config, threads);
  const run = async (frames: readonly ImageFrame[], wanted: Uint8Array): Promise<PolicyOutput | null> => {
    const staged =
      device.stageFrames?.({ frames, jpeg, centerCrop, ...numbers, returnsImages: true }) ?? null;
    if (staged === null) return null;
    const output = await staged.run(state, signal);
    checkImages(request, frames[0]!, output.images, wanted);
    return output;
  };
  if ((await run(negative, negativeImages)) === null) return null;
  return run(recorded.frames, images);
}

function checkImages(
  { label }: TrustRequest,
  { width, height }: ImageFrame,
  found: Uint8Array | undefined,
  wanted: Uint8Array,
): void {
  const expected = `${label}: expected frames of ${width} x ${height} preprocessed on the device to the CPU's bits`;
  let text: string;
  if (found === undefined || found.length !== wanted.length) {
    text = `${found?.length ?? 'no'} bytes instead of ${wanted.length}`;
  } else {
    let count = 0;
    let most = 0;
    wanted.forEach((value, i) => {
      if (value !== found[i]) count++;
      most = Math.max(most, Math.abs(value - found[i]!));
    });
    if (count === 0) return;
    text = `${count} of ${wanted.length} other, by up to ${most} of 255`;
  }
  throw new SemanticVlaError(
    'ENGINE_CHECK_FAILED',
    `${expected}, found ${text}. The preprocessing failed, whatever the engine does. Do not run a robot with it. Update the driver and build the kernels again (${packageCommand('npm run build:native')}), or use --backend cpu.`,
  );
}

/**
 * @param given for messages: what the engine got
 * @returns largest difference of an action; null where other patches were kept, which give other actions
 */
function compareOutputs(
  request: TrustRequest,
  found: PolicyOutput,
  wanted: PolicyOutput,
  given: string,
): number | null {
  const limit = limitOf(request);
  const scores = largestDifference(found.similarity, wanted.similarity);
  if (!(scores <= limit.similarity)) throw mismatch(request, 'similarity', scores, limit.similarity, given);
  if (largestDifference(found.keptPatches, wanted.keptPatches) > 0) return null;
  // one token that is chosen otherwise, where two are nearly as likely, changes all later ones
  const isOneByOne = request.config.head.kind === 'autoregressive';
  if (isOneByOne && largestDifference(found.tokens ?? null, wanted.tokens ?? null) > 0) return null;
  // of a diffusion policy in one step, what it predicts: its actions are nearly all clipped
  const difference = actionDifference(request, found.noise ?? found.actions, wanted.noise ?? wanted.actions);
  if (!(difference <= limit.actions)) throw mismatch(request, 'actions', difference, limit.actions, given);
  return difference;
}

/** The largest; of a discrete head in low precision, and of fp8, the largest of all but `discreteShare` of the actions. */
function actionDifference(
  { config, precision, tier }: TrustRequest,
  found: Float32Array,
  wanted: Float32Array,
): number {
  const largest = largestDifference(found, wanted);
  const jumps = tier === 'fp8' || (config.head.kind === 'discrete' && precision !== 'float32');
  if (!jumps || !Number.isFinite(largest)) return largest;
  const sorted = found.map((value, i) => Math.abs(value - wanted[i]!)).sort();
  return sorted[Math.floor(sorted.length * (1 - discreteShare))]!;
}

function numbersOf({ proprio, noise }: Recorded): Pick<PolicyInput, 'proprio' | 'noise'> {
  return { proprio, ...(noise === undefined ? {} : { noise }) };
}

async function answer<T>(
  session: Session,
  { instruction }: Recorded,
  signal: AbortSignal | undefined,
  body: (state: InstructionState) => Promise<T>,
): Promise<T> {
  const state = await session.encodeInstruction(instruction, signal);
  try {
    return await body(state);
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

function mismatch(
  request: TrustRequest,
  what: string,
  found: number,
  limit: number,
  given: string,
): SemanticVlaError {
  return new SemanticVlaError(
    'ENGINE_CHECK_FAILED',
    `${request.label}: expected ${what} of the recorded observation within ${limit} of the CPU runtime's, found ${found}. The engine failed: it was given ${given}. ${nextStep}`,
  );
}
