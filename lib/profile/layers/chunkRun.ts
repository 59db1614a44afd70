/** One chunk on a watched session, step by step as `predict` does it, each step with its time. */

import type { PolicyParts } from '../../policy/policyParts.ts';
import { unnormalizeActions } from '../../transforms/actions.ts';
import { preprocessImages } from '../../transforms/image.ts';
import { checkFrame } from '../../transforms/imageFrame.ts';
import { encodePrompt } from '../../transforms/prompt.ts';
import { normalizeProprio } from '../../transforms/proprio.ts';
import type { ImageFrame } from '../../types.ts';
import { monotonicMs, type Slice } from '../trace/timeline.ts';
import type { StageName, StageTimes } from '../types.ts';
import type { WatchedFrames, WatchedSession } from './watchedSession.ts';

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
  | 'JavaScript thread'
  | 'preprocessing threads'
  | 'inference thread'
  | 'stream';

export interface ChunkTimes {
  readonly stages: StageTimes;
  readonly slices: readonly (Slice & { readonly track: ChunkTrack })[];
  readonly promptTokens: number;
}

/** Parts of a run that a device reports (lib/runtime/tensorRt.ts). */
const deviceParts = ['enqueue', 'h2d', 'compute', 'd2h'] as const satisfies readonly StageName[];

export async function runChunk(
  session: WatchedSession,
  input: ChunkInput,
  chunk: number,
  signal?: AbortSignal,
): Promise<ChunkTimes> {
  const { parts, state, instruction, unnormKey } = input;
  const { checkpoint, platform, tokenizers } = parts;
  const statistics = checkpoint.statistics.get(unnormKey)!;
  const slices: (Slice & { track: ChunkTrack })[] = [];
  const stages: Partial<Record<StageName, number>> = {};
  const note: Note = (track, name, startMs, ms) => {
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
  const prepared = prepare(session, input, proprio, note);
  // awaited below; a failure before that must not be an unhandled one
  prepared.catch(() => {});
  const { promptIds, siglipIds } = timed('tokenize', () =>
    encodePrompt(tokenizers, instruction, parts.promptLimits),
  );
  const ids = { promptIds: [...promptIds, tokenizers.llama.endId], siglipIds };
  const encoded = await session.encode(ids, signal).catch((error: unknown) => {
    prepared.then((frames) => frames.drop()).catch(() => {});
    throw error;
  });
  note('inference thread', 'instruction', encoded.window.at, encoded.window.ms);
  try {
    const result = await (await prepared).run(encoded.value, signal);
    note('inference thread', 'policy', result.window.at, result.window.ms);
    // durations are measured; that the parts follow one another from the beginning of the call is how a session runs
    let partAt = result.window.at;
    for (const part of deviceParts) {
      const ms = result.timings?.[part];
      if (ms === undefined) continue;
      if (part === 'enqueue') {
        note('inference thread', part, result.window.at, ms);
        continue;
      }
      note('stream', part, partAt, ms);
      partAt += ms;
    }
    timed('unnormalize', () => unnormalizeActions(result.value, statistics.action, platform.normalization));
  } finally {
    encoded.value.release();
  }
  const ms = monotonicMs() - start;
  stages.total = ms;
  slices.push({
    track: 'chunks',
    name: `chunk ${chunk}`,
    category: 'chunk',
    startMs: start,
    ms,
    flow: chunk,
    args: { instruction, promptTokens: promptIds.length },
  });
  return { stages, slices, promptTokens: promptIds.length };
}

type Note = (track: ChunkTrack, name: StageName, startMs: number, ms: number) => void;

/** As lib/policy/policyInput.ts does it: frames to a session that preprocesses them, else the CPU's images. */
async function prepare(
  session: WatchedSession,
  { parts, frames }: ChunkInput,
  proprio: Float32Array | null,
  note: Note,
): Promise<WatchedFrames> {
  const { jpeg, centerCrop, cameras } = parts.platform;
  frames.forEach((frame, i) => {
    checkFrame(frame, cameras[i] ?? String(i));
  });
  const startMs = monotonicMs();
  const staged = session.stageFrames?.({ frames, jpeg, centerCrop, proprio }) ?? null;
  if (staged !== null) {
    note('JavaScript thread', 'preprocessOnDevice', startMs, monotonicMs() - startMs);
    return staged;
  }
  const images = await preprocessImages(frames, {
    imageSize: parts.checkpoint.config.imageSize,
    centerCrop,
    jpeg,
    threads: parts.threads,
    names: cameras,
  });
  note('preprocessing threads', 'preprocess', startMs, monotonicMs() - startMs);
  return { run: (state, signal) => session.run({ images, proprio }, state, signal), drop: () => {} };
}
