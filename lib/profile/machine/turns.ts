/** When each subject of a run had the machine for itself. */

import type { ChunkRecord } from '../types.ts';

/** From the first chunk of a turn to the end of its last. */
export interface Turn {
  readonly fromMs: number;
  readonly toMs: number;
  readonly chunks: number;
}

/**
 * One subject alone has one turn, the whole run. Where several take turns, each round is one: between two turns of the same
 * subject there may be chunks that were not counted.
 */
export function turnsOf(subjects: readonly (readonly ChunkRecord[])[]): readonly (readonly Turn[])[] {
  return subjects.map((chunks) => {
    const turns: { fromMs: number; toMs: number; chunks: number; round: number | undefined }[] = [];
    for (const { startMs, stages, round } of chunks) {
      if (stages.total === undefined) continue;
      const toMs = startMs + stages.total;
      const last = turns.at(-1);
      if (last === undefined || (subjects.length > 1 && last.round !== round))
        turns.push({ fromMs: startMs, toMs, chunks: 1, round });
      else {
        last.toMs = Math.max(last.toMs, toMs);
        last.chunks++;
      }
    }
    return turns.map(({ round: _, ...turn }) => turn);
  });
}
