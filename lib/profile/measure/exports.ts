/** A report's chunks in files that other tools read: CSV, and the times.json of `trtexec --exportTimes`. */

import { stageNames } from '../stages.ts';
import type { BenchReport, ChunkRecord, StageName, SubjectResult } from '../types.ts';

/** One line a chunk; a stage that did not run is empty. Times in milliseconds. */
export function chunksCsv(report: BenchReport): string {
  const present = stageNames.filter((stage) =>
    report.subjects.some(({ summary }) => summary[stage] !== undefined),
  );
  const lines = [['subject', 'kind', 'round', 'startMs', ...present.map((stage) => `${stage}Ms`)].join(',')];
  for (const { subject, chunks, newInstruction = [] } of report.subjects) {
    const add = (kind: string, records: readonly ChunkRecord[]): void => {
      for (const { startMs, stages, round } of records) {
        const cells = present.map((stage) => stages[stage] ?? '');
        lines.push([quoted(subject.name), kind, round ?? '', startMs, ...cells].join(','));
      }
    };
    add('chunk', chunks);
    add('new instruction', newInstruction);
  }
  return `${lines.join('\n')}\n`;
}

function quoted(text: string): string {
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * One object a chunk with trtexec's names. On TensorRT the device's parts follow each other from the start of the policy's
 * part, as its stream runs them. On the CPU runtime nothing is copied or enqueued, so only compute and latency are there.
 * `latencyMs` is trtexec's: H2D + compute + D2H; `endToEndMs` is the chunk from frames to actions.
 */
export function trtexecTimes(result: SubjectResult): Record<string, number>[] {
  return result.chunks.map(({ startMs, stages }) => {
    const before = hostBefore(stages);
    let at = startMs + before;
    const times: Record<string, number> = {};
    if (stages.enqueue !== undefined) {
      times.startEnqMs = at;
      times.endEnqMs = at + stages.enqueue;
    }
    const parts = [
      ['H2d', stages.h2d],
      ['Compute', stages.compute ?? (result.subject.backend === 'cpu' ? stages.policy : undefined)],
      ['D2h', stages.d2h],
    ] as const;
    let latency = 0;
    for (const [name, ms] of parts) {
      if (ms === undefined) continue;
      times[`start${name}Ms`] = at;
      at += ms;
      times[`end${name}Ms`] = at;
      latency += ms;
    }
    for (const [name, ms] of parts) {
      if (ms !== undefined) times[`${name[0]!.toLowerCase()}${name.slice(1)}Ms`] = ms;
    }
    times.latencyMs = latency;
    times.endToEndMs = stages.total!;
    return times;
  });
}

/** Milliseconds of a chunk before its policy graph begins. */
function hostBefore(stages: Readonly<Partial<Record<StageName, number>>>): number {
  const rest = stages.total! - (stages.policy ?? 0) - (stages.unnormalize ?? 0);
  return Math.max(0, Math.min(rest, (stages.preprocess ?? 0) + (stages.instruction ?? 0)));
}
