import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SemanticVlaError } from '../../../lib/support/errors.ts';
import { parseSentencePieceModel } from '../../../lib/transforms/tokenizer/sentencePieceModel.ts';
import { SiglipTokenizer } from '../../../lib/transforms/tokenizer/siglipTokenizer.ts';
import { loadSiglipTokenizer, loadTokenizers } from '../../../lib/transforms/tokenizer/tokenizers.ts';
import { differential, goldenRows, spieceVariants, tokenizerFiles } from './fixtures.ts';

const test = suite('SigLIP tokenizer');

let bytes: Uint8Array | undefined;
const spiece = () => {
  bytes ??= new Uint8Array(readFileSync(tokenizerFiles.siglipModel));
  return bytes;
};
let tokenizer: SiglipTokenizer | undefined;
const siglip = () => {
  tokenizer ??= new SiglipTokenizer(spiece(), 'spiece.model');
  return tokenizer;
};

const withSuffix = (base64: string) =>
  new SiglipTokenizer(Buffer.concat([spiece(), Buffer.from(base64, 'base64')]), 'spiece.model');

test('every id of the goldens', () => {
  for (const row of goldenRows()) {
    assert.equal(siglip().encode(row.text), row.siglip, JSON.stringify(row.text));
    if (row.prompt_siglip_padded !== null) {
      const ids = siglip().encode(row.prompt);
      while (ids.length < row.prompt_siglip_padded.length) ids.push(siglip().endId);
      assert.equal(ids, row.prompt_siglip_padded, JSON.stringify(row.prompt));
    }
  }
  for (const row of differential().rows) {
    assert.equal(siglip().encode(row.text), row.siglip, JSON.stringify(row.text));
  }
});

test('models with a user-defined and an unused piece, with byte fallback, with spaces kept', () => {
  const { rows, suffixes } = differential();
  for (const variant of spieceVariants) {
    const tokenizer = withSuffix(suffixes[variant]);
    for (const row of rows) assert.equal(tokenizer.encode(row.text), row[variant], JSON.stringify(row.text));
  }
});

test('a long text is encoded in one piece', () => {
  // More ids than a call takes arguments.
  assert.is(siglip().encode('a '.repeat(2e5)).length, siglip().encode('a').length + 2e5 - 1);
});

function invalid(bytes: Uint8Array, message: RegExp): void {
  assert.throws(
    () => new SiglipTokenizer(bytes, 'dir/spiece.model'),
    (error: unknown) =>
      error instanceof SemanticVlaError &&
      error.code === 'TOKENIZER_INVALID' &&
      error.message.startsWith('dir/spiece.model: ') &&
      message.test(error.message),
  );
}

/** A piece as protobuf: ModelProto.pieces of text, float32 score 0, type. */
function piece(text: string, type: number): Buffer {
  const utf8 = Buffer.from(text);
  const body = Buffer.from([0x0a, utf8.length, ...utf8, 0x15, 0, 0, 0, 0, 0x18, type]);
  return Buffer.from([0x0a, body.length, ...body]);
}

test('damaged and foreign files are refused with what was found', () => {
  invalid(new Uint8Array(0), /a vocabulary, found no pieces/);
  invalid(spiece().subarray(0, spiece().length - 1), /cannot be read/);
  invalid(
    Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n'),
    /Git LFS pointer/,
  );
  invalid(readFileSync(tokenizerFiles.llamaModel), /a unigram model, found model type 2 \(bpe\)/);
  invalid(Buffer.concat([spiece(), piece('</s>', 3)]), /distinct pieces, found "<\/s>" twice/);
  invalid(Buffer.concat([spiece(), piece('', 1)]), /an empty piece/);
  invalid(Buffer.concat([spiece(), piece('<other>', 2)]), /one piece of type UNKNOWN, found 2/);
  invalid(piece('a', 1), /one piece of type UNKNOWN, found 0/);
  invalid(Buffer.concat([piece('<unk>', 2), piece('a', 1)]), /with the piece <\/s>/);
  invalid(Buffer.concat([spiece(), Buffer.from([0x12, 3, 0x98, 0x02, 1])]), /256 byte pieces, found 0/);
  // normalizer_spec with a precompiled_charsmap of 5 bytes that claims a trie of 2^24
  invalid(
    Buffer.concat([spiece(), Buffer.from([0x1a, 7, 0x12, 5, 0, 0, 0, 1, 0])]),
    /character map, found a trie/,
  );
  assert.throws(
    () => parseSentencePieceModel(spiece(), 'tokenizer.model', 'bpe'),
    /a bpe model, found model type 1 \(unigram\)/,
  );
});

test('a character map that points outside itself is refused', () => {
  // One unit: no label, an offset far away; then an empty replacement.
  const map = [4, 0, 0, 0, 0, 0, 1, 0, 0];
  const model = Buffer.concat([spiece(), Buffer.from([0x1a, 2 + map.length, 0x12, map.length, ...map])]);
  invalid(model, /character map, found trie unit \d+ of 1/);
});

test('a missing file is named; no tower with a sampler, no tokenizer', async () => {
  try {
    await loadSiglipTokenizer('/nowhere/spiece.model');
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, /\/nowhere\/spiece\.model.*ENOENT/);
  }
  const both = await loadTokenizers({ ...tokenizerFiles, siglipModel: null });
  assert.is(both.siglip, null);
  assert.is((await loadTokenizers(tokenizerFiles)).siglip?.endId, 1);
});

test('a tokenizer_config.json that asks for another tokenizer is refused', async () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'semanticvla-'));
  try {
    const file = path.join(dir, 'spiece.model');
    copyFileSync(tokenizerFiles.siglipModel, file);
    assert.is((await loadSiglipTokenizer(file)).endId, 1);
    for (const [config, message] of [
      ['{"do_lower_case": false}', /tokenizer_config\.json: .*found do_lower_case false/],
      ['{"added_tokens_decoder": {"7": {"content": "<x>"}}}', /special strings .*found <x>/],
      ['[]', /expected an object, found \[\]/],
      ['{', /expected JSON/],
    ] as const) {
      writeFileSync(path.join(dir, 'tokenizer_config.json'), config);
      try {
        await loadSiglipTokenizer(file);
        assert.unreachable(config);
      } catch (error) {
        assert.is((error as SemanticVlaError).code, 'TOKENIZER_INVALID', config);
        assert.match((error as SemanticVlaError).message, message);
      }
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('property: any text encodes to ids of the vocabulary, `</s>` last', () => {
  const special = fc.constantFrom('</s>', '<unk>', '▁', ' ', '\u0085', '\u0000', '!', 'Σ');
  const text = fc
    .array(fc.oneof(special, fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' })), {
      maxLength: 8,
    })
    .map((parts) => parts.join(''));
  const pieces = parseSentencePieceModel(spiece(), 'spiece.model', 'unigram').pieces.length;
  fc.assert(
    fc.property(text, (value) => {
      const ids = siglip().encode(value);
      assert.is(ids.at(-1), 1);
      assert.ok(ids.every((id) => Number.isInteger(id) && id >= 0 && id < pieces));
    }),
    { numRuns: 500 },
  );
});

test('property: a damaged file throws nothing but a typed error, at loading or encoding', () => {
  fc.assert(
    fc.property(fc.nat({ max: spiece().length - 1 }), fc.nat({ max: 255 }), fc.boolean(), (at, byte, cut) => {
      const damaged = cut ? spiece().slice(0, at) : spiece().slice();
      if (!cut) damaged[at] = byte;
      try {
        new SiglipTokenizer(damaged, 'f').encode('Ｐick up ½ of the Å bowls №５\u3000now');
      } catch (error) {
        assert.instance(error, SemanticVlaError);
      }
    }),
    { numRuns: 150 },
  );
});

test.run();
