/** When each subject of a run had the machine to itself. */

import type { ChunkRecord } from '../types.ts';

/** From the first chunk of a turn to the end of its last. */
export interface Turn {
  readonly fromMs: number;
  readonly toMs: number;
  readonly chunks: number;
}

/**
 * If only one subject runs, its run is cut into stretches of this length, so that a sensor failing once costs only one of them.
 * Long enough for the slowest sensor, which averages over a second.
 */
const aloneMs = 6000;

/**
 * With several subjects, each round is a turn: chunks that were not counted may lie between two turns of a subject. A single
 * subject has the stretches of its run.
 */
export function turnsOf(subjects: readonly (readonly ChunkRecord[])[]): readonly (readonly Turn[])[] {
  return subjects.map((chunks) => {
    const turns: { fromMs: number; toMs: number; chunks: number; round: number | undefined }[] = [];
    for (const { startMs, stages, round } of chunks) {
      if (stages.total === undefined) continue;
      const toMs = startMs + stages.total;
      const last = turns.at(-1);
      const isNext =
        last === undefined ||
        (subjects.length > 1 ? last.round !== round : last.toMs - last.fromMs >= aloneMs);
      if (isNext) turns.push({ fromMs: startMs, toMs, chunks: 1, round });
      else {
        last.toMs = Math.max(last.toMs, toMs);
        last.chunks++;
      }
    }
    const [before, rest] = turns.slice(-2);
    // a short remainder at the end belongs to the stretch before it
    if (subjects.length === 1 && before && rest && rest.toMs - rest.fromMs < aloneMs) {
      turns.splice(-2, 2, { ...before, toMs: rest.toMs, chunks: before.chunks + rest.chunks });
    }
    return turns.map(({ round: _, ...turn }) => turn);
  });
}
