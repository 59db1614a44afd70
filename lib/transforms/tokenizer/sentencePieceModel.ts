/**
 * Reads a sentencepiece model file (`tokenizer.model`, `spiece.model`): a protobuf `ModelProto`. Only the fields needed for
 * encoding are declared; protobuf skips the others. Field numbers and defaults: sentencepiece_model.proto.
 */

import protobuf from 'protobufjs/light.js';
import { SemanticVlaError } from '../../support/errors.ts';
import { foreignKind, standIn } from '../../support/standIn.ts';

/** `ModelProto.SentencePiece.Type`. */
export const pieceType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** `TrainerSpec.ModelType`. */
const modelTypes: Readonly<Record<number, string>> = { 1: 'unigram', 2: 'bpe', 3: 'word', 4: 'char' };

export type SentencePieceModelType = 'unigram' | 'bpe';

export interface Piece {
  readonly text: string;
  /** float32: log probability (unigram) or minus the merge rank (BPE). */
  readonly score: number;
  readonly type: number;
}

export interface SentencePieceModel {
  /** Index = id. */
  readonly pieces: readonly Piece[];
  readonly byteFallback: boolean;
  /** Compiled character rules (see charsMap.ts); empty if there are none. */
  readonly charsMap: Uint8Array;
  readonly removeExtraWhitespaces: boolean;
  readonly escapeWhitespaces: boolean;
}

interface RawModel {
  readonly pieces: readonly { piece: string; score: number; type: number }[];
  readonly trainerSpec: { modelType: number; byteFallback: boolean } | null;
  readonly normalizerSpec: {
    precompiledCharsmap: Uint8Array;
    removeExtraWhitespaces: boolean;
    escapeWhitespaces: boolean;
  } | null;
}

/** proto2: a field set to false or 0 differs from an absent one, unlike in proto3. */
const edition = 'proto2';

const modelRoot = protobuf.Root.fromJSON({
  nested: {
    SentencePiece: {
      edition,
      fields: {
        piece: { type: 'string', id: 1 },
        score: { type: 'float', id: 2 },
        type: { type: 'int32', id: 3, options: { default: pieceType.normal } },
      },
    },
    TrainerSpec: {
      edition,
      fields: {
        modelType: { type: 'int32', id: 3, options: { default: 1 } },
        byteFallback: { type: 'bool', id: 35 },
      },
    },
    NormalizerSpec: {
      edition,
      fields: {
        precompiledCharsmap: { type: 'bytes', id: 2 },
        removeExtraWhitespaces: { type: 'bool', id: 4, options: { default: true } },
        escapeWhitespaces: { type: 'bool', id: 5, options: { default: true } },
      },
    },
    ModelProto: {
      edition,
      fields: {
        pieces: { rule: 'repeated', type: 'SentencePiece', id: 1 },
        trainerSpec: { type: 'TrainerSpec', id: 2 },
        normalizerSpec: { type: 'NormalizerSpec', id: 3 },
      },
    },
  },
});

/**
 * @param file named in errors
 * @throws TOKENIZER_INVALID if the bytes are not a sentencepiece model of the `expected` kind
 */
export function parseSentencePieceModel(
  bytes: Uint8Array,
  file: string,
  expected: SentencePieceModelType,
): SentencePieceModel {
  const raw = decode(bytes, file);
  const type = raw.trainerSpec?.modelType ?? 1;
  if (modelTypes[type] !== expected) {
    throw invalid(file, `a ${expected} model`, `model type ${type} (${modelTypes[type] ?? 'unknown'})`);
  }
  const pieces = raw.pieces.map(({ piece, score, type: kind }) => ({ text: piece, score, type: kind }));
  checkPieces(pieces, raw.trainerSpec?.byteFallback ?? false, file);
  return {
    pieces,
    byteFallback: raw.trainerSpec?.byteFallback ?? false,
    charsMap: raw.normalizerSpec?.precompiledCharsmap ?? new Uint8Array(0),
    removeExtraWhitespaces: raw.normalizerSpec?.removeExtraWhitespaces ?? true,
    escapeWhitespaces: raw.normalizerSpec?.escapeWhitespaces ?? true,
  };
}

function decode(bytes: Uint8Array, file: string): RawModel {
  try {
    return modelRoot.lookupType('ModelProto').decode(bytes) as unknown as RawModel;
  } catch (cause) {
    const instead = standIn(bytes.subarray(0, 512));
    const found =
      instead?.found ??
      foreignKind(bytes.subarray(0, 512)) ??
      `${bytes.length} bytes that cannot be read as one (${cause instanceof Error ? cause.message : String(cause)})`;
    throw new SemanticVlaError(
      'TOKENIZER_INVALID',
      `${file}: expected a sentencepiece model (protobuf), found ${found}. ${instead?.next ?? 'Copy the file again; it may be truncated.'}`,
      { cause },
    );
  }
}

/**
 * Limit on the sum, over all pieces, of the square of the number of letters: the cost of splitting them in two. Llama's 32,000
 * pieces: 1.5 million.
 */
const maxWays = 50_000_000;

/** The checks that sentencepiece itself makes on loading (ModelInterface::InitializePieces). */
function checkPieces(pieces: readonly Piece[], byteFallback: boolean, file: string): void {
  if (pieces.length === 0) throw invalid(file, 'a vocabulary', 'no pieces');
  const seen = new Set<string>();
  let unknown = 0;
  let bytes = 0;
  let ways = 0;
  for (const [id, piece] of pieces.entries()) {
    if (piece.text === '') throw invalid(file, 'no empty piece', `an empty piece at id ${id}`);
    if (seen.has(piece.text)) throw invalid(file, 'distinct pieces', `${JSON.stringify(piece.text)} twice`);
    seen.add(piece.text);
    ways += piece.text.length ** 2;
    if (ways > maxWays)
      throw invalid(file, 'pieces of a few letters', `one of ${piece.text.length} at id ${id}`);
    if (!Number.isFinite(piece.score)) throw invalid(file, 'finite scores', `${piece.score} at id ${id}`);
    if (piece.type === pieceType.unknown) unknown++;
    if (piece.type === pieceType.byte) bytes++;
  }
  if (unknown !== 1) throw invalid(file, 'one piece of type UNKNOWN', `${unknown}`);
  if (byteFallback && bytes !== 256) throw invalid(file, '256 byte pieces', `${bytes}`);
}

function invalid(file: string, expected: string, found: string): SemanticVlaError {
  return new SemanticVlaError(
    'TOKENIZER_INVALID',
    `${file}: expected ${expected}, found ${found}. Take the file from the checkpoint as training left it.`,
  );
}
