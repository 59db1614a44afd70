/**
 * OpenVLA's tokens, one after the other (docs/model.md, "Autoregressive tokens"): one pass over the prompt, then one row a
 * token over the keys and values of all rows before it. Every pass is in the graph, so that nothing leaves the device between
 * two tokens.
 */

import { chooseTokens, decodeTokens } from './coupler.ts';
import type { Value } from './graphBuilder.ts';
import type { GraphContext } from './graphContext.ts';
import { type LlamaPass, runLayers, sliceRows, toEnd } from './llama.ts';
import { names } from './names.ts';
import { onnxType } from './onnxModel.ts';

/** The prompt's sequence [S, D] -> actions [1, A] float32. */
export function generateActions(ctx: GraphContext, sequence: Value): Value {
  const { g, config, options, tokens } = ctx;
  const { layers, width } = config.llama;
  const count = tokens.generated + 1;
  /** Rows of the rotary tables, which cover the prompt and the tokens that are read again. */
  const tables = (begin: number, end: number, label: string): Pick<LlamaPass, 'cos' | 'sin'> => ({
    cos: sliceRows(ctx, names.rotaryCos, { begin, end }, `${label}/cos`, 2),
    sin: sliceRows(ctx, names.rotarySin, { begin, end }, `${label}/sin`, 2),
  });
  const whole = { cos: names.rotaryCos, sin: names.rotarySin };
  const lastRow = { begin: -1, end: toEnd };
  ctx.stage('llm.inputs_embeds', sequence, ['S', width]);
  const prompt = runLayers(
    ctx,
    sequence,
    {
      ...(count === 1 ? whole : tables(0, -tokens.generated, 'prompt_tables')),
      bias: names.attentionBias,
      past: [],
      reads: lastRow,
    },
    'llama',
  );
  if (options.stages) ctx.stage('llm.final', prompt.hidden!, ['S', width]);
  // the stages of the other passes have the same names
  const quiet: GraphContext = { ...ctx, stage: () => {} };
  const first = options.stages ? sliceRows(ctx, prompt.hidden!, lastRow, 'llama/last_row') : prompt.hidden!;
  const ids = [g.scope('head', () => chooseTokens(ctx, first, 'logits'))];
  let past = prompt.keysAndValues;
  for (let n = 1; n < count; n++) {
    const label = `token${n}`;
    const from = n - count;
    const next = () =>
      runLayers(
        quiet,
        embedding(ctx, ids.at(-1)!, label),
        {
          ...tables(from, n === count - 1 ? toEnd : from + 1, label),
          bias: null,
          past,
          reads: lastRow,
        },
        `${label}/llama`,
      );
    const choose = (hidden: Value) => g.scope(`${label}/head`, () => chooseTokens(ctx, hidden, `logits${n}`));
    const run = () => {
      const made = next();
      past = made.keysAndValues;
      return choose(made.hidden!);
    };
    ids.push(options.mergeWeights ? run() : g.reusing(label, run));
  }
  if (past.length !== layers) throw new Error('a layer left no keys');
  return g.scope('head', () => decodeTokens(ctx, g.op('Concat', ids, { axis: 0 }, 'ids')));
}

/** The row of one token [1, D]. */
function embedding({ g }: GraphContext, id: Value, label: string): Value {
  const table = g.rawWeight('language_model.model.embed_tokens.weight');
  const row = g.op('Gather', [table, id], { axis: 0 }, `${label}/embedding_row`);
  return g.op('Cast', [row], { to: onnxType[g.precision] }, `${label}/embedding`);
}
