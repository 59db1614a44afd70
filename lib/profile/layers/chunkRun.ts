/** One chunk on a watched session, step by step as `predict` does it, each step with its time. */

import { actionsOf, instructionInput } from '../../policy/actionValues.ts';
import { startNoise } from '../../policy/denoising.ts';
import { prepareInput } from '../../policy/policyInput.ts';
import type { PolicyParts } from '../../policy/policyParts.ts';
import { monotonicMs } from '../../support/monotonicMs.ts';
import { encodePrompt } from '../../transforms/prompt.ts';
import { normalizeProprio } from '../../transforms/proprio.ts';
import type { ImageFrame } from '../../types.ts';
import type { Slice } from '../trace/timeline.ts';
import type { StageName, StageTimes } from '../types.ts';
import type { WatchedSession } from './watchedSession.ts';

export interface ChunkInput {
  readonly parts: PolicyParts;
  readonly frames: readonly ImageFrame[];
  /** null without proprioception. */
  readonly state: ArrayLike<number> | null;
  readonly instruction: string;
  readonly unnormKey: string;
}

/** `stream`: the device's; all others are the host's. */
export type ChunkTrack =
  | 'chunks'
  | `${'JavaScript' | 'inference'} thread`
  | 'preprocessing threads'
  | 'stream';

export interface ChunkTimes {
  readonly stages: StageTimes;
  readonly slices: readonly (Slice & { readonly track: ChunkTrack })[];
  readonly promptTokens: number;
}

export async function runChunk(
  session: WatchedSession,
  input: ChunkInput,
  chunk: number,
  signal?: AbortSignal,
): Promise<ChunkTimes> {
  const { parts, state, instruction, unnormKey } = input;
  const { checkpoint, platform } = parts;
  const statistics = checkpoint.statistics.get(unnormKey)!;
  const slices: (Slice & { track: ChunkTrack })[] = [];
  const stages: Partial<Record<StageName, number>> = {};
  const note = (track: ChunkTrack, name: StageName, startMs: number, ms: number): void => {
    slices.push({ track, name, category: 'stage', startMs, ms, flow: chunk });
    stages[name] = ms;
  };
  const timed = <T>(name: StageName, body: () => T): T => {
    const start = monotonicMs();
    const value = body();
    note('JavaScript thread', name, start, monotonicMs() - start);
    return value;
  };

  const start = monotonicMs();
  const proprio =
    state === null
      ? null
      : timed('normalize', () => normalizeProprio(state, statistics.proprio!, platform.normalization));
  const preparedAt = monotonicMs();
  const noise = startNoise(parts.diffusion, parts.sizes, {}, 0);
  const prepared = prepareInput(parts, session, input.frames, proprio, noise);
  // awaited by its run; a failure before that must not be an unhandled one
  prepared.ready.catch(() => {});
  const prompt = timed('tokenize', () =>
    encodePrompt(parts.tokenizers, instruction, parts.promptLimits, parts.promptStyle),
  );
  const ids = instructionInput(parts, prompt);
  const encoded = await session.encodeInstruction(ids, signal).catch((error: unknown) => {
    prepared.drop();
    throw error;
  });
  const { at, ms: encodedMs } = session.windows.instruction.at(-1)!;
  note('inference thread', 'instruction', at, encodedMs);
  try {
    const { result, timings } = await prepared.run(encoded, signal);
    const { preprocess, preprocessOnDevice, ...steps } = timings;
    if (preprocess !== undefined) note('preprocessing threads', 'preprocess', preparedAt, preprocess);
    if (preprocessOnDevice !== undefined)
      note('JavaScript thread', 'preprocessOnDevice', preparedAt, preprocessOnDevice);
    for (const [name, ms] of Object.entries(steps)) if (ms > 0) stages[name as StageName] = ms;
    const window = session.windows.policy.at(-1)!;
    note('inference thread', 'policy', window.at, window.ms);
    // durations are measured; that the parts follow one another from the beginning of the call is how a session runs
    const { enqueue } = result.timings;
    if (enqueue !== undefined) note('inference thread', 'enqueue', window.at, enqueue);
    let partAt = window.at;
    for (const part of ['h2d', 'compute', 'd2h'] as const) {
      const ms = result.timings[part];
      if (ms === undefined) continue;
      note('stream', part, partAt, ms);
      partAt += ms;
    }
    timed('unnormalize', () => actionsOf(parts, result, statistics.action));
  } finally {
    encoded.release();
  }
  const ms = monotonicMs() - start;
  stages.total = ms;
  const promptTokens = prompt.promptIds.length;
  const args = { instruction, promptTokens };
  slices.push({
    track: 'chunks',
    name: `chunk ${chunk}`,
    category: 'chunk',
    startMs: start,
    ms,
    flow: chunk,
    args,
  });
  return { stages, slices, promptTokens };
}
