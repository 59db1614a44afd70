/** Opens the tokenizers of a checkpoint. */

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { TokenizerFiles } from '../../checkpoint/checkpoint.ts';
import { SemanticVlaError } from '../../errors.ts';
import { llamaJsonFromModel } from './llamaFromModel.ts';
import { parseLlamaJson } from './llamaJson.ts';
import { LlamaTokenizer } from './llamaTokenizer.ts';
import { SiglipTokenizer } from './siglipTokenizer.ts';

export interface Tokenizers {
  readonly llama: LlamaTokenizer;
  /** null when no tower has a sampler. */
  readonly siglip: SiglipTokenizer | null;
}

/** @throws TOKENIZER_INVALID a file is missing or damaged */
export async function loadTokenizers(files: TokenizerFiles): Promise<Tokenizers> {
  return {
    llama: await loadLlamaTokenizer(files),
    siglip: files.siglipModel === null ? null : await loadSiglipTokenizer(files.siglipModel),
  };
}

/**
 * `tokenizer.json` decides when it is there, also about the form of its prefix space (what transformers calls `legacy`);
 * `tokenizer.model` alone gives the same ids as the `tokenizer.json` of Llama 2. Special strings beyond the model's own
 * are in the `added_tokens.json` beside it.
 */
export async function loadLlamaTokenizer(
  files: Pick<TokenizerFiles, 'llamaJson' | 'llamaModel'>,
): Promise<LlamaTokenizer> {
  if (files.llamaJson !== null) {
    const json = parseLlamaJson((await read(files.llamaJson)).toString('utf8'), files.llamaJson);
    return new LlamaTokenizer(json, files.llamaJson);
  }
  if (files.llamaModel !== null) {
    const added = await readAddedTokens(path.join(path.dirname(files.llamaModel), 'added_tokens.json'));
    return new LlamaTokenizer(
      llamaJsonFromModel(await read(files.llamaModel), files.llamaModel, added),
      files.llamaModel,
    );
  }
  throw new SemanticVlaError(
    'TOKENIZER_INVALID',
    'The checkpoint: expected tokenizer.json or tokenizer.model, found neither. Copy the one that training left.',
  );
}

export async function loadSiglipTokenizer(file: string): Promise<SiglipTokenizer> {
  return new SiglipTokenizer(await read(file), file);
}

async function read(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw new SemanticVlaError(
      'TOKENIZER_INVALID',
      `${file}: expected a readable file, found ${(cause as NodeJS.ErrnoException).code ?? cause}. Copy it into the checkpoint.`,
      { cause },
    );
  }
}

async function readAddedTokens(file: string): Promise<Map<string, number>> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
    throw error;
  }
  const added = new Map<string, number>();
  try {
    for (const [piece, id] of Object.entries(JSON.parse(text) as object)) {
      if (piece === '' || !Number.isInteger(id) || id < 0) throw new Error(`${JSON.stringify(piece)}: ${id}`);
      added.set(piece, id);
    }
  } catch (cause) {
    throw new SemanticVlaError(
      'TOKENIZER_INVALID',
      `${file}: expected an object of piece and id, found ${cause instanceof Error ? cause.message : cause}. ` +
        'Take the file from the checkpoint as training left it.',
      { cause },
    );
  }
  return added;
}
