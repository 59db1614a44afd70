/** The instruction's part of the language model's sequence, as inputs of the graphs that run it (names.ts). */

import type { GraphContext } from './graphContext.ts';
import { names } from './names.ts';

/** Words, and the tables of positions. */
export function declareSequence(ctx: GraphContext): void {
  const { g, config } = ctx;
  g.input({ name: names.tailEmbeddings, type: g.precision, shape: ['T', config.llama.width] });
  declareTables(ctx);
}

export function declareTables({ g, config }: GraphContext): void {
  const { headDim } = config.llama;
  g.input({ name: names.rotaryCos, type: g.precision, shape: [2, 1, 'L', headDim] });
  g.input({ name: names.rotarySin, type: g.precision, shape: [2, 1, 'L', headDim] });
  const side = { semanticvla: 'L', openvla: 'S', 'openvla-oft': null }[config.family];
  if (side !== null) g.input({ name: names.attentionBias, type: g.precision, shape: [side, side] });
}
