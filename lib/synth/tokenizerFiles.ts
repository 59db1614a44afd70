/** The tokenizer files besides the models: configuration and special tokens, as transformers writes them. */

import { bpeTokenizerJson, makeBpe } from './bpeTokenizer.ts';
import type { SynthSpec } from './presets.ts';
import { bpeSentencePiece, unigramSentencePiece } from './sentencePieceModel.ts';

/** A small file: path relative to the checkpoint, and its bytes. */
export interface SmallFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

export function jsonFile(path: string, content: object, indent = 2): SmallFile {
  return { path, bytes: Buffer.from(`${JSON.stringify(content, null, indent)}\n`) };
}

const added = (content: string, strip: boolean) => ({
  content,
  lstrip: strip,
  normalized: false,
  rstrip: strip,
  single_word: false,
});

export function llamaTokenizerFiles({ llama }: SynthSpec): SmallFile[] {
  const bpe = makeBpe();
  const special = { '0': '<unk>', '1': '<s>', '2': '</s>', '32000': '<PAD>' };
  return [
    jsonFile('tokenizer.json', bpeTokenizerJson(bpe), 0),
    { path: 'tokenizer.model', bytes: bpeSentencePiece(bpe) },
    jsonFile('added_tokens.json', { '<PAD>': 32000 }),
    jsonFile('special_tokens_map.json', {
      bos_token: added('<s>', false),
      eos_token: added('</s>', false),
      pad_token: added('<PAD>', false),
      unk_token: added('<unk>', false),
    }),
    jsonFile('tokenizer_config.json', {
      add_bos_token: true,
      add_eos_token: false,
      added_tokens_decoder: Object.fromEntries(
        Object.entries(special).map(([id, content]) => [id, { ...added(content, false), special: true }]),
      ),
      bos_token: '<s>',
      clean_up_tokenization_spaces: false,
      eos_token: '</s>',
      legacy: false,
      model_max_length: llama.maxPositions,
      pad_token: '<PAD>',
      padding_side: 'right',
      processor_class: 'PrismaticProcessor',
      sp_model_kwargs: {},
      tokenizer_class: 'LlamaTokenizer',
      unk_token: '<unk>',
      use_default_system_prompt: false,
    }),
  ];
}

export function siglipTokenizerFiles(folder: string, positions: number): SmallFile[] {
  return [
    { path: `${folder}/spiece.model`, bytes: unigramSentencePiece() },
    jsonFile(`${folder}/special_tokens_map.json`, {
      eos_token: added('</s>', true),
      pad_token: added('</s>', true),
      unk_token: added('<unk>', true),
    }),
    jsonFile(`${folder}/tokenizer_config.json`, {
      added_tokens_decoder: {
        '1': { ...added('</s>', true), special: true },
        '2': { ...added('<unk>', true), special: true },
      },
      additional_special_tokens: [],
      clean_up_tokenization_spaces: true,
      do_lower_case: true,
      eos_token: '</s>',
      model_input_names: ['input_ids'],
      model_max_length: positions,
      pad_token: '</s>',
      processor_class: 'SiglipProcessor',
      sp_model_kwargs: {},
      tokenizer_class: 'SiglipTokenizer',
      unk_token: '<unk>',
    }),
  ];
}
