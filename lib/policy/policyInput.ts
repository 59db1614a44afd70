/** Frames on their way into a session: preprocessed by it where it can, else on the CPU. The same bits either way. */

import type { InstructionState, PolicyInput, PolicyOutput, Session } from '../runtime/session.ts';
import { type PreprocessOptions, preprocessTimed } from '../transforms/image.ts';
import { checkFrame } from '../transforms/imageFrame.ts';
import type { ImageFrame } from '../types.ts';
import type { PolicyParts } from './policyParts.ts';

export type Timings = Readonly<Record<string, number>>;

export interface PreparedInput {
  /** Settles when nothing of the preprocessing can fail any more. */
  readonly ready: Promise<unknown>;
  /** Call once. `timings` say which way the frames went: `preprocess` with its steps on the CPU, `preprocessOnDevice`. */
  run(
    instruction: InstructionState,
    signal?: AbortSignal,
  ): Promise<{ readonly result: PolicyOutput; readonly timings: Timings }>;
  /** Call this when it will not run; idempotent. */
  drop(): void;
}

/** What the frames need of a session. */
export type FrameSession = Pick<Session, 'run' | 'stageFrames'>;

/** What decides how frames are preprocessed. */
export type PreprocessingParts = Pick<PolicyParts, 'threads'> & {
  readonly platform: Pick<PolicyParts['platform'], 'cameras' | 'centerCrop' | 'jpeg'>;
  readonly checkpoint: { readonly config: Pick<PolicyParts['checkpoint']['config'], 'imageSize' | 'head'> };
};

/** Copies the frames before it returns. @throws IMAGE_* */
export function prepareInput(
  parts: PreprocessingParts,
  session: FrameSession,
  frames: readonly ImageFrame[],
  proprio: Float32Array | null,
  noise?: Float32Array,
): PreparedInput {
  const { jpeg, centerCrop, cameras } = parts.platform;
  frames.forEach((frame, i) => {
    checkFrame(frame, cameras[i] ?? String(i));
  });
  const numbers = { proprio, ...(noise === undefined ? {} : { noise }) };
  // frames of that size are preprocessed alike in both ways
  const isOnlyHere = isDirect(parts) && frames.some(({ width, height }) => width !== 224 || height !== 224);
  const staged = isOnlyHere
    ? null
    : (session.stageFrames?.({ frames, jpeg, centerCrop, ...numbers }) ?? null);
  if (staged === null) return onCpu(parts, session, frames, numbers);
  return {
    ready: Promise.resolve(),
    run: async (instruction, signal) => ({
      result: await staged.run(instruction, signal),
      timings: { preprocessOnDevice: staged.copyMs },
    }),
    drop: () => staged.drop(),
  };
}

/** OpenVLA's own preprocessing, unless the JPEG round trip of its successors is asked for. */
function isDirect({ platform, checkpoint }: Omit<PreprocessingParts, 'threads'>): boolean {
  return checkpoint.config.head.kind === 'autoregressive' && !platform.jpeg;
}

export function preprocessingOf(parts: PreprocessingParts): PreprocessOptions {
  const { platform, checkpoint, threads } = parts;
  const { cameras: names, centerCrop, jpeg } = platform;
  return {
    imageSize: checkpoint.config.imageSize,
    centerCrop,
    jpeg,
    direct: isDirect(parts),
    threads,
    names,
  };
}

function onCpu(
  parts: PreprocessingParts,
  session: FrameSession,
  frames: readonly ImageFrame[],
  numbers: Pick<PolicyInput, 'proprio' | 'noise'>,
): PreparedInput {
  const start = performance.now();
  const ready = preprocessTimed(frames, preprocessingOf(parts)).then((made) => ({
    ...made,
    ms: performance.now() - start,
  }));
  return {
    ready,
    run: async (instruction, signal) => {
      const { images, times, ms } = await ready;
      return {
        result: await session.run({ images, ...numbers }, instruction, signal),
        timings: { preprocess: ms, ...times },
      };
    },
    drop: () => {},
  };
}
