/**
 * Sentencepiece model files (`ModelProto` of sentencepiece_model.proto): `tokenizer.model` with the same byte-pair vocabulary
 * as tokenizer.json, and a unigram `spiece.model` for the SigLIP text tower. Neither has a character map: the normalizer is
 * `identity`, whereas SigLIP's real one applies NFKC, which does not change ASCII text.
 */

import protobuf from 'protobufjs';
import { type BpeModel, space } from './bpeTokenizer.ts';
import { words } from './words.ts';

/** Field numbers are those of sentencepiece_model.proto. */
const proto = protobuf
  .parse(
    `
  syntax = "proto2";
  message ModelProto {
    message SentencePiece { optional string piece = 1; optional float score = 2; optional int32 type = 3; }
    message TrainerSpec {
      optional int32 model_type = 3; optional int32 vocab_size = 4; optional float character_coverage = 10;
      optional bool split_digits = 25; optional bool allow_whitespace_only_pieces = 26;
      optional bool vocabulary_output_piece_score = 32; optional bool hard_vocab_limit = 33; optional bool byte_fallback = 35;
      optional int32 unk_id = 40; optional int32 bos_id = 41; optional int32 eos_id = 42; optional int32 pad_id = 43;
      optional string unk_piece = 45; optional string eos_piece = 47; optional string pad_piece = 48;
    }
    message NormalizerSpec {
      optional string name = 1; optional bytes precompiled_charsmap = 2;
      optional bool add_dummy_prefix = 3; optional bool remove_extra_whitespaces = 4;
    }
    repeated SentencePiece pieces = 1; optional TrainerSpec trainer_spec = 2; optional NormalizerSpec normalizer_spec = 3;
  }
`,
    { keepCase: true },
  )
  .root.lookupType('ModelProto');

const type = { normal: 1, unknown: 2, control: 3, unused: 5, byte: 6 } as const;

interface Piece {
  readonly piece: string;
  readonly score: number;
  readonly type: number;
}

function encode(message: {
  pieces: readonly Piece[];
  trainer_spec: object;
  normalizer_spec: object;
}): Uint8Array {
  return proto.encode(proto.create(message)).finish();
}

/** `tokenizer.model`: byte-pair pieces, score = -rank. */
export function bpeSentencePiece({ pieces, merged, characters }: BpeModel): Uint8Array {
  const firstCharacter = pieces.indexOf(space);
  const rows = pieces.map((piece, id): Piece => {
    if (id === 0) return { piece, score: 0, type: type.unknown };
    if (id <= 2) return { piece, score: 0, type: type.control };
    if (id < 259) return { piece, score: 0, type: type.byte };
    if (id < 259 + merged) return { piece, score: -(id - 259), type: type.normal };
    const character = id - firstCharacter;
    if (character >= 0 && character < characters)
      return { piece, score: -(merged + character), type: type.normal };
    return { piece, score: -1e6 - id, type: type.unused };
  });
  return encode({
    pieces: rows,
    trainer_spec: {
      model_type: 2,
      vocab_size: rows.length,
      character_coverage: 1,
      split_digits: true,
      allow_whitespace_only_pieces: true,
      hard_vocab_limit: false,
      byte_fallback: true,
      unk_id: 0,
      bos_id: 1,
      eos_id: 2,
      pad_id: -1,
    },
    normalizer_spec: {
      name: 'identity',
      precompiled_charsmap: new Uint8Array(),
      add_dummy_prefix: true,
      remove_extra_whitespaces: false,
    },
  });
}

const letters = [...'abcdefghijklmnopqrstuvwxyz0123456789<>'];

/** Number of pieces of `spiece.model`: the least number of rows that the text tower's embedding needs. */
export const unigramPieceCount = 3 + words.length + 1 + letters.length;

/** `spiece.model`: `<pad>` 0, `</s>` 1, `<unk>` 2, then words, letters, digits and a few signs. */
export function unigramSentencePiece(): Uint8Array {
  const rows: Piece[] = [
    { piece: '<pad>', score: 0, type: type.control },
    { piece: '</s>', score: 0, type: type.control },
    { piece: '<unk>', score: 0, type: type.unknown },
    ...words.map((word, i) => ({ piece: `${space}${word}`, score: -3 - Math.log1p(i), type: type.normal })),
    { piece: space, score: -5, type: type.normal },
    ...letters.map((letter, i) => ({ piece: letter, score: -9 - i / 64, type: type.normal })),
  ];
  return encode({
    pieces: rows,
    trainer_spec: {
      model_type: 1,
      vocab_size: rows.length,
      character_coverage: 1,
      hard_vocab_limit: false,
      unk_id: 2,
      bos_id: -1,
      eos_id: 1,
      pad_id: 0,
      unk_piece: '<unk>',
      eos_piece: '</s>',
      pad_piece: '<pad>',
    },
    normalizer_spec: { name: 'identity' },
  });
}
