/**
 * Converts a sentencepiece BPE model (`tokenizer.model`) as transformers' converter makes a `tokenizer.json` of it
 * (transformers 4.40.1, LlamaConverter and SentencePieceExtractor), so that both files give the same ids.
 */

import type { AddedToken, LlamaTokenizerJson } from './llamaJson.ts';
import { spaceSymbol } from './pieceNormalizer.ts';
import { parseSentencePieceModel, type SentencePieceModel } from './sentencePieceModel.ts';

/** The names that the converter gives ids 0, 1 and 2, whatever the model calls them. */
const reserved = ['<unk>', '<s>', '</s>'] as const;

/**
 * @param added further special strings (`added_tokens.json`): text -> id
 * @throws TOKENIZER_INVALID if it is damaged or not a BPE model
 */
export function llamaJsonFromModel(
  bytes: Uint8Array,
  file: string,
  added: ReadonlyMap<string, number>,
): LlamaTokenizerJson {
  const model = parseSentencePieceModel(bytes, file, 'bpe');
  const texts = model.pieces.map((piece, id) => reserved[id] ?? piece.text);
  const vocab = new Map(texts.map((text, id) => [text, id]));
  const special = (content: string, id: number): AddedToken => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  return {
    added_tokens: [
      ...reserved.map(special),
      ...[...added].filter(([text]) => !vocab.has(text)).map(([text, id]) => special(text, id)),
    ],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: spaceSymbol },
        { type: 'Replace', pattern: { String: ' ' }, content: spaceSymbol },
      ],
    },
    pre_tokenizer: null,
    model: {
      type: 'BPE',
      unk_token: reserved[0],
      byte_fallback: model.byteFallback,
      vocab,
      merges: mergesOf(model, texts),
    },
  };
}

/**
 * Every way to compose a piece of two others, most likely piece first; equally likely ones in the order of the vocabulary.
 * @param texts piece by id
 */
function mergesOf(model: SentencePieceModel, texts: readonly string[]): (readonly [string, string])[] {
  const ids = new Map(model.pieces.map((piece, id) => [piece.text, id]));
  const merges: { left: string; right: string; score: number }[] = [];
  for (const [id, text] of texts.entries()) {
    const score = reserved[id] === undefined ? (model.pieces[id]?.score ?? 0) : 0;
    const chars = [...text];
    const splits: { left: number; right: number }[] = [];
    for (let cut = 1; cut < chars.length; cut++) {
      const left = ids.get(chars.slice(0, cut).join(''));
      const right = ids.get(chars.slice(cut).join(''));
      if (left !== undefined && right !== undefined) splits.push({ left, right });
    }
    splits.sort((a, b) => a.left - b.left || a.right - b.right);
    for (const { left, right } of splits) {
      merges.push({ left: texts[left] as string, right: texts[right] as string, score });
    }
  }
  return merges.sort((a, b) => b.score - a.score).map(({ left, right }) => [left, right] as const);
}
