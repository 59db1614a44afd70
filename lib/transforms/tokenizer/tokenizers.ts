/** Opens the tokenizers of a checkpoint. */

import path from 'node:path';
import type { TokenizerFiles } from '../../checkpoint/checkpoint.ts';
import { readJsonFile } from '../../checkpoint/jsonFile.ts';
import { isJsonObject, type JsonObject } from '../../checkpoint/strictJson.ts';
import { SemanticVlaError } from '../../support/errors.ts';
import { isThere, readRegular } from '../../support/fileAccess.ts';
import { llamaJsonFromModel } from './llamaFromModel.ts';
import { checkLlamaJson } from './llamaJson.ts';
import { LlamaTokenizer } from './llamaTokenizer.ts';
import { SiglipTokenizer } from './siglipTokenizer.ts';

export interface Tokenizers {
  readonly llama: LlamaTokenizer;
  /** null if no tower has a sampler. */
  readonly siglip: SiglipTokenizer | null;
}

/** @throws TOKENIZER_INVALID if a file is missing or damaged */
export async function loadTokenizers(files: TokenizerFiles): Promise<Tokenizers> {
  return {
    llama: await loadLlamaTokenizer(files),
    siglip: files.siglipModel === null ? null : await loadSiglipTokenizer(files.siglipModel),
  };
}

/**
 * If there is a `tokenizer.json`, it is used, also for the form of the prefix space (what transformers calls `legacy`).
 * `tokenizer.model` alone gives the same ids as the `tokenizer.json` of Llama 2. Special strings beyond those of the model are
 * in the `added_tokens.json` beside it.
 */
export async function loadLlamaTokenizer(
  files: Pick<TokenizerFiles, 'llamaJson' | 'llamaModel'>,
): Promise<LlamaTokenizer> {
  if (files.llamaJson !== null) {
    const json = checkLlamaJson(await readJsonFile(files.llamaJson, codes), files.llamaJson);
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

/**
 * The `tokenizer_config.json` beside it may only state what `SiglipTokenizer` does anyway.
 * @throws TOKENIZER_INVALID if a file is missing, damaged, or configured otherwise
 */
export async function loadSiglipTokenizer(file: string): Promise<SiglipTokenizer> {
  const model = await read(file);
  const configFile = path.join(path.dirname(file), 'tokenizer_config.json');
  const config = await readOptionalObject(configFile);
  const decoder = config?.added_tokens_decoder;
  const added = isJsonObject(decoder) ? Object.values(decoder) : [];
  const found =
    config?.do_lower_case === false
      ? 'do_lower_case false'
      : added
          .map((token) => (isJsonObject(token) ? token.content : undefined))
          .find((content) => content !== '</s>' && content !== '<unk>');
  if (found !== undefined) {
    throw new SemanticVlaError(
      'TOKENIZER_INVALID',
      `${configFile}: expected the SigLIP tokenizer (lower case, special strings </s> and <unk>), found ${found}. ` +
        'Use the SigLIP text folder that the policy was trained with.',
    );
  }
  return new SiglipTokenizer(model, file);
}

/**
 * A sentencepiece model of 32,000 pieces has 0.8 MB; reading one of 4 MB that consists of nothing but pieces takes a second.
 */
const modelCap = 4 * 1024 * 1024;
const codes = { missing: 'TOKENIZER_INVALID' } as const;

function read(file: string): Promise<Buffer> {
  return readRegular(file, { ...codes, cap: modelCap });
}

async function readAddedTokens(file: string): Promise<Map<string, number>> {
  const added = new Map<string, number>();
  for (const [piece, id] of Object.entries((await readOptionalObject(file)) ?? {})) {
    if (piece === '' || !Number.isInteger(id) || (id as number) < 0) {
      throw invalidObject(
        file,
        'an object of piece and id',
        `${JSON.stringify(piece)}: ${JSON.stringify(id)}`,
      );
    }
    added.set(piece, id as number);
  }
  return added;
}

/** null if there is no such file. */
async function readOptionalObject(file: string): Promise<JsonObject | null> {
  if (!(await isThere(file, codes.missing))) return null;
  const value = await readJsonFile(file, codes);
  if (isJsonObject(value)) return value;
  throw invalidObject(file, 'an object', JSON.stringify(value).slice(0, 60));
}

function invalidObject(file: string, expected: string, found: string): SemanticVlaError {
  return new SemanticVlaError(
    'TOKENIZER_INVALID',
    `${file}: expected ${expected}, found ${found}. Take the file from the checkpoint as training left it.`,
  );
}
