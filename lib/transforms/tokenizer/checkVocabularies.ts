/**
 * Checks that tokenizers and weights belong to the same model: every id has a row, and the ids hard-coded in the reference are
 * the same.
 */

import type { TokenizerFiles } from '../../checkpoint/checkpoint.ts';
import type { PolicyConfig } from '../../checkpoint/policyConfig.ts';
import { SemanticVlaError } from '../../support/errors.ts';
import type { Tokenizers } from './tokenizers.ts';

/**
 * Ids that the reference's code contains as numbers (docs/model.md, Input 2): `</s>` stops, and a prompt ends with the space
 * `▁`.
 */
const llamaIds = { beginId: ['<s>', 1], endId: ['</s>', 2], spaceId: ['▁', 29_871] } as const;
const siglipEndId = 1;

/** @throws TOKENIZER_INVALID with the file and both numbers */
export function checkVocabularies(
  { llama, siglip }: Tokenizers,
  files: TokenizerFiles,
  config: PolicyConfig,
): void {
  const llamaFile = files.llamaJson ?? files.llamaModel ?? 'The Llama tokenizer';
  for (const name of ['beginId', 'endId', 'spaceId'] as const) {
    const [piece, id] = llamaIds[name];
    if (llama[name] !== id) throw other(llamaFile, `id ${id} for ${piece}, as Llama 2 has`, `${llama[name]}`);
  }
  const { vocabSize } = config.llama;
  if (llama.largestId >= vocabSize)
    throw other(llamaFile, `ids below ${vocabSize}, the language model's vocab_size`, `${llama.largestId}`);
  const sampler = config.siglip.sampler ?? config.dinov2.sampler;
  if (siglip === null || sampler === null) return;
  const siglipFile = files.siglipModel ?? 'The SigLIP tokenizer';
  const { vocabSize: rows, folder } = sampler.textEncoder;
  if (siglip.endId !== siglipEndId) throw other(siglipFile, `id ${siglipEndId} for </s>`, `${siglip.endId}`);
  if (siglip.pieces > rows)
    throw other(siglipFile, `at most ${rows} pieces, the vocab_size of ${folder}`, `${siglip.pieces}`);
}

function other(file: string, expected: string, found: string): SemanticVlaError {
  return new SemanticVlaError(
    'TOKENIZER_INVALID',
    `${file}: expected ${expected}, found ${found}. The tokenizer belongs to another model: copy the one of the training run.`,
  );
}
