/** Finds the tokenizers of a checkpoint folder. */

import { join } from 'node:path';
import { SemanticVlaError } from '../support/errors.ts';
import { isThere } from '../support/fileAccess.ts';
import type { TokenizerFiles } from './checkpoint.ts';

/** `siglipFolder`: null when no tower has a sampler. CHECKPOINT_FILE_MISSING. */
export async function findTokenizers(dir: string, siglipFolder: string | null): Promise<TokenizerFiles> {
  const existing = async (path: string) => ((await isThere(path, 'CHECKPOINT_FILE_MISSING')) ? path : null);
  const llamaJson = await existing(join(dir, 'tokenizer.json'));
  const llamaModel = await existing(join(dir, 'tokenizer.model'));
  if (llamaJson === null && llamaModel === null) {
    throw new SemanticVlaError(
      'CHECKPOINT_FILE_MISSING',
      `${dir}: expected the Llama tokenizer as tokenizer.json or tokenizer.model, found neither. Copy it from the training machine or from the base model.`,
    );
  }
  if (siglipFolder === null) return { llamaJson, llamaModel, siglipModel: null };
  const siglipModel = await existing(join(siglipFolder, 'spiece.model'));
  if (siglipModel === null) {
    throw new SemanticVlaError(
      'CHECKPOINT_FILE_MISSING',
      `${siglipFolder}: expected the SigLIP tokenizer spiece.model, found none. Copy the whole SigLIP folder or pass another one as option siglipText.`,
    );
  }
  return { llamaJson, llamaModel, siglipModel };
}
