/** Frames on their way into a session: preprocessed by it where it can, else on the CPU. The same bits either way. */

import type { InstructionState, PolicyOutput, Session } from '../runtime/session.ts';
import { preprocessTimed } from '../transforms/image.ts';
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
  readonly checkpoint: { readonly config: Pick<PolicyParts['checkpoint']['config'], 'imageSize'> };
};

/** Copies the frames before it returns. @throws IMAGE_* */
export function prepareInput(
  parts: PreprocessingParts,
  session: FrameSession,
  frames: readonly ImageFrame[],
  proprio: Float32Array | null,
): PreparedInput {
  const { jpeg, centerCrop, cameras } = parts.platform;
  frames.forEach((frame, i) => {
    checkFrame(frame, cameras[i] ?? String(i));
  });
  const staged = session.stageFrames?.({ frames, jpeg, centerCrop, proprio }) ?? null;
  if (staged === null) return onCpu(parts, session, frames, proprio);
  return {
    ready: Promise.resolve(),
    run: async (instruction, signal) => ({
      result: await staged.run(instruction, signal),
      timings: { preprocessOnDevice: staged.copyMs },
    }),
    drop: () => staged.drop(),
  };
}

function onCpu(
  { platform, checkpoint, threads }: PreprocessingParts,
  session: FrameSession,
  frames: readonly ImageFrame[],
  proprio: Float32Array | null,
): PreparedInput {
  const { cameras: names, centerCrop, jpeg } = platform;
  const start = performance.now();
  const ready = preprocessTimed(frames, {
    imageSize: checkpoint.config.imageSize,
    centerCrop,
    jpeg,
    threads,
    names,
  }).then((made) => ({ ...made, ms: performance.now() - start }));
  return {
    ready,
    run: async (instruction, signal) => {
      const { images, times, ms } = await ready;
      return {
        result: await session.run({ images, proprio }, instruction, signal),
        timings: { preprocess: ms, ...times },
      };
    },
    drop: () => {},
  };
}
