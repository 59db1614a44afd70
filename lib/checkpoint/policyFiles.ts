/** Finds the files of a checkpoint folder whose names hold a training step, and the tokenizers. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { SemanticVlaError } from '../errors.ts';
import { isThere } from '../support/fileAccess.ts';
import type { TokenizerFiles } from './checkpoint.ts';

export interface PolicyFiles {
  /** Absolute paths; null where there is none. */
  readonly visionBackbone: string | null;
  readonly actionHead: string | null;
  readonly proprioProjector: string | null;
}

/** `action_head--<step>_checkpoint.pt` and its siblings. Two of a kind: CHECKPOINT_AMBIGUOUS. */
export async function findPolicyFiles(dir: string): Promise<PolicyFiles> {
  const names = await readdir(dir);
  const find = (kind: string): string | null => {
    const found = names.filter((name) => name.startsWith(`${kind}--`) && name.endsWith('.pt')).sort();
    if (found.length > 1) {
      throw new SemanticVlaError(
        'CHECKPOINT_AMBIGUOUS',
        `${dir}: expected one file ${kind}--*.pt, found ${found.join(', ')}. Keep the one of the step you want and move the others away.`,
      );
    }
    return found[0] === undefined ? null : join(dir, found[0]);
  };
  return {
    visionBackbone: find('vision_backbone'),
    actionHead: find('action_head'),
    proprioProjector: find('proprio_projector'),
  };
}

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
