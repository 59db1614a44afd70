/** Every layer as a row, for spreadsheets. */

import { formatCsv } from '../export/csv.ts';
import type { LayerTime } from '../types.ts';
import { stageOfBlock } from './blocks.ts';

export function layersCsv(layers: readonly LayerTime[]): string {
  return formatCsv([
    ['graph', 'stage', 'block', 'layer', 'kind', 'count', 'averageMs', 'medianMs', 'percent'],
    ...layers.map(({ graph, block, name, kind, count, averageMs, medianMs, percent }) => [
      graph,
      stageOfBlock(block),
      block,
      name,
      kind,
      count,
      averageMs,
      medianMs,
      percent,
    ]),
  ]);
}
