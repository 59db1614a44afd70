/** One chunk on a watched session, step by step as `predict` does it, each step with its time. */

import type { PolicyParts } from '../../policyParts.ts';
import { unnormalizeActions } from '../../transforms/actions.ts';
import { preprocessImages } from '../../transforms/image.ts';
import { encodePrompt } from '../../transforms/prompt.ts';
import { normalizeProprio } from '../../transforms/proprio.ts';
import type { ImageFrame } from '../../types.ts';
import { monotonicMs, type Slice } from '../trace/timeline.ts';
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

export type HostTrack = 'chunks' | 'JavaScript thread' | 'preprocessing threads' | 'inference thread';

export interface ChunkTimes {
  readonly stages: StageTimes;
  readonly slices: readonly (Slice & { readonly track: HostTrack })[];
  readonly promptTokens: number;
}

/** What a device tells of a run (lib/runtime/tensorRt.ts). */
const deviceParts = ['enqueue', 'h2d', 'compute', 'd2h'] as const satisfies readonly StageName[];

export async function runChunk(
  session: WatchedSession,
  input: ChunkInput,
  chunk: number,
  signal?: AbortSignal,
): Promise<ChunkTimes> {
  const { parts, frames, state, instruction, unnormKey } = input;
  const { checkpoint, platform, threads, tokenizers } = parts;
  const statistics = checkpoint.statistics.get(unnormKey)!;
  const slices: (Slice & { track: HostTrack })[] = [];
  const stages: Partial<Record<StageName, number>> = {};
  const note = (track: HostTrack, name: StageName, startMs: number, ms: number): void => {
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
  const preprocessed = preprocess(frames, parts, platform.jpeg, threads).then((result) => {
    note('preprocessing threads', 'preprocess', result.startMs, result.ms);
    return result.images;
  });
  // awaited below; a failure before that must not be an unhandled one
  preprocessed.catch(() => {});
  const { promptIds, siglipIds } = timed('tokenize', () =>
    encodePrompt(tokenizers, instruction, parts.promptLimits),
  );
  const ids = { promptIds: [...promptIds, tokenizers.llama.endId], siglipIds };
  const encoded = await session.encode(ids, signal);
  note('inference thread', 'instruction', encoded.window.at, encoded.window.ms);
  try {
    const images = await preprocessed;
    const result = await session.run({ images, proprio }, encoded.value, signal);
    note('inference thread', 'policy', result.window.at, result.window.ms);
    for (const part of deviceParts) {
      const ms = result.timings?.[part];
      if (ms !== undefined) stages[part] = ms;
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

async function preprocess(
  frames: readonly ImageFrame[],
  { checkpoint, platform }: PolicyParts,
  jpeg: boolean,
  threads: number,
): Promise<{ images: Uint8Array; startMs: number; ms: number }> {
  const startMs = monotonicMs();
  const images = await preprocessImages(frames, {
    imageSize: checkpoint.config.imageSize,
    centerCrop: platform.centerCrop,
    jpeg,
    threads,
    names: platform.cameras,
  });
  return { images, startMs, ms: monotonicMs() - startMs };
}
