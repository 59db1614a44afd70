/**
 * Measurements for other programs: chunks and layers as comma-separated values (RFC 4180) for spreadsheets, and layer times as
 * trtexec writes them.
 */

import { stageOfBlock } from '../layers/blocks.ts';
import { stageNames } from '../stages.ts';
import type { BenchReport, ChunkRecord, LayerTime } from '../types.ts';

type Row = readonly (string | number)[];

/** Quoted where needed; lines end in CR LF. */
function formatCsv(rows: readonly Row[]): string {
  return rows.map((row) => `${row.map(cell).join(',')}\r\n`).join('');
}

function cell(value: string | number): string {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** One line a chunk; a stage that did not run is empty. Times in milliseconds. */
export function chunksCsv({ subjects }: Pick<BenchReport, 'subjects'>): string {
  const present = stageNames.filter((stage) => subjects.some(({ summary }) => summary[stage] !== undefined));
  const rowsOf = (name: string, kind: string, records: readonly ChunkRecord[]): Row[] =>
    records.map(({ startMs, stages, round }) => [
      ...[name, kind, round ?? '', startMs],
      ...present.map((stage) => stages[stage] ?? ''),
    ]);
  return formatCsv([
    ['subject', 'kind', 'round', 'startMs', ...present.map((stage) => `${stage}Ms`)],
    ...subjects.flatMap(({ subject: { name }, chunks, newInstruction = [] }) => [
      ...rowsOf(name, 'chunk', chunks),
      ...rowsOf(name, 'new instruction', newInstruction),
    ]),
  ]);
}

/** One line a layer. */
export function layersCsv(layers: readonly LayerTime[]): string {
  return formatCsv([
    ['graph', 'stage', 'block', 'layer', 'kind', 'count', 'averageMs', 'medianMs', 'percent'],
    ...layers.map(({ graph, block, name, kind, count, averageMs, medianMs, percent }) => [
      ...[graph, stageOfBlock(block), block, name, kind],
      ...[count, averageMs, medianMs, percent],
    ]),
  ]);
}

/**
 * As `--exportProfile` of trtexec: fields and their order are those of TensorRT's public samples (sampleReporting.cpp).
 *
 * @param layers of one graph, in the order in which they ran
 * @param runs how many runs were counted
 * @returns `[{count}, {name, timeMs, averageMs, medianMs, percentage}, ...]`; percentages of the total time, as trtexec's
 */
export function trtexecProfile(layers: readonly LayerTime[], runs: number): readonly object[] {
  const totalMs = layers.reduce((sum, { averageMs }) => sum + averageMs, 0);
  return [
    { count: runs },
    ...layers.map(({ name, averageMs, medianMs }) => ({
      name,
      timeMs: averageMs * runs,
      averageMs,
      medianMs,
      percentage: totalMs > 0 ? (100 * averageMs) / totalMs : 0,
    })),
  ];
}
