import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SemanticVlaError } from '../../../lib/support/errors.ts';
import { parseLlamaJson } from '../../../lib/transforms/tokenizer/llamaJson.ts';
import { LlamaTokenizer } from '../../../lib/transforms/tokenizer/llamaTokenizer.ts';
import { loadLlamaTokenizer } from '../../../lib/transforms/tokenizer/tokenizers.ts';
import { differential, goldenRows, tokenizerFiles } from './fixtures.ts';

const test = suite('Llama tokenizer');

let jsonText: string | undefined;
const readJsonText = () => {
  jsonText ??= readFileSync(tokenizerFiles.llamaJson, 'utf8');
  return jsonText;
};
let loaded: Promise<LlamaTokenizer> | undefined;
const fromJson = () => {
  loaded ??= loadLlamaTokenizer({ llamaJson: tokenizerFiles.llamaJson, llamaModel: null });
  return loaded;
};
let loadedModel: Promise<LlamaTokenizer> | undefined;
const fromModel = () => {
  loadedModel ??= loadLlamaTokenizer({ llamaJson: null, llamaModel: tokenizerFiles.llamaModel });
  return loadedModel;
};

for (const [name, open] of [
  ['tokenizer.json', fromJson],
  ['tokenizer.model alone', fromModel],
] as const) {
  test(`${name}: every id of the goldens`, async () => {
    const tokenizer = await open();
    for (const row of goldenRows()) {
      assert.equal(tokenizer.encode(row.text), row.llama, JSON.stringify(row.text));
      const prompt = tokenizer.encode(row.prompt);
      if (prompt.at(-1) !== tokenizer.spaceId) prompt.push(tokenizer.spaceId);
      assert.equal(prompt, row.prompt_llama, JSON.stringify(row.prompt));
    }
    for (const row of differential().rows) {
      assert.equal(tokenizer.encode(row.text), row.llama, JSON.stringify(row.text));
    }
  });
}

test('the newer form of tokenizer.json (spaces marked by the pre-tokenizer)', () => {
  const { tokenizer_metaspace, rows } = differential();
  const text = JSON.stringify({ ...JSON.parse(readJsonText()), ...tokenizer_metaspace });
  const tokenizer = new LlamaTokenizer(parseLlamaJson(text, 'tokenizer.json'), 'tokenizer.json');
  for (const row of rows) {
    assert.equal(tokenizer.encode(row.text), row.metaspace, JSON.stringify(row.text));
  }
});

test('merges as pairs read like merges as strings', async () => {
  const json = JSON.parse(readJsonText());
  json.model.merges = json.model.merges.map((merge: string) => merge.split(' '));
  const text = JSON.stringify(json);
  const tokenizer = new LlamaTokenizer(parseLlamaJson(text, 'tokenizer.json'), 'tokenizer.json');
  assert.equal(tokenizer.encode('pick up the bowl'), (await fromJson()).encode('pick up the bowl'));
});

test('ids that prompts need are looked up', async () => {
  for (const tokenizer of [await fromJson(), await fromModel()]) {
    assert.equal([tokenizer.beginId, tokenizer.endId, tokenizer.spaceId], [1, 2, 29871]);
  }
});

test('tokenizer.json decides when both are there', async () => {
  const json = { llamaJson: tokenizerFiles.llamaJson, llamaModel: '/nowhere/tokenizer.model' };
  assert.equal((await loadLlamaTokenizer(json)).encode('a'), (await fromJson()).encode('a'));
});

test('tokenizer.model without added_tokens.json: its own special strings only', async () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'semanticvla-'));
  try {
    const llamaModel = path.join(dir, 'tokenizer.model');
    copyFileSync(tokenizerFiles.llamaModel, llamaModel);
    const tokenizer = await loadLlamaTokenizer({ llamaJson: null, llamaModel });
    assert.ok(tokenizer.encode('<s></s>').includes(2));
    assert.not.ok(tokenizer.encode('<PAD>').includes(32000));
    assert.ok((await fromModel()).encode('<PAD>').includes(32000));
    writeFileSync(path.join(dir, 'added_tokens.json'), '{"<PAD>": "x"}');
    await rejects(loadLlamaTokenizer({ llamaJson: null, llamaModel }), /added_tokens\.json/);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

async function rejects(promise: Promise<unknown>, message: RegExp): Promise<void> {
  try {
    await promise;
  } catch (error) {
    assert.instance(error, SemanticVlaError);
    assert.is((error as SemanticVlaError).code, 'TOKENIZER_INVALID');
    assert.match((error as SemanticVlaError).message, message);
    return;
  }
  assert.unreachable('expected TOKENIZER_INVALID');
}

test('missing files are named', async () => {
  await rejects(
    loadLlamaTokenizer({ llamaJson: null, llamaModel: null }),
    /tokenizer\.json or tokenizer\.model/,
  );
  await rejects(
    loadLlamaTokenizer({ llamaJson: '/nowhere/tokenizer.json', llamaModel: null }),
    /\/nowhere\/tokenizer\.json.*ENOENT/,
  );
});

test('damaged tokenizer.json is refused with what was found', () => {
  const json = () => JSON.parse(readJsonText());
  const cases: [string, (json: ReturnType<typeof JSON.parse>) => unknown, RegExp][] = [
    ['not an object', () => [], /an object as the file, found \[\]/],
    ['no model', (j) => ({ ...j, model: undefined }), /an object as model/],
    [
      'unigram',
      (j) => ({ ...j, model: { ...j.model, type: 'Unigram' } }),
      /model\.type BPE, found "Unigram"/,
    ],
    ['vocab as list', (j) => ({ ...j, model: { ...j.model, vocab: [] } }), /an object as model\.vocab/],
    ['no merges', (j) => ({ ...j, model: { ...j.model, merges: undefined } }), /an array as model\.merges/],
    [
      'foreign merge',
      (j) => ({ ...j, model: { ...j.model, merges: ['☃ t'] } }),
      /model\.merges\[0\], found "☃ t"/,
    ],
    ['merge of three', (j) => ({ ...j, model: { ...j.model, merges: ['a b c'] } }), /model\.merges\[0\]/],
    [
      'id as string',
      (j) => ({ ...j, model: { ...j.model, vocab: { a: '1' } } }),
      /an id as model\.vocab "a"/,
    ],
    ['huge id', (j) => ({ ...j, model: { ...j.model, vocab: { a: 1e9 } } }), /an id as model\.vocab "a"/],
    ['same id twice', (j) => ({ ...j, model: { ...j.model, vocab: { a: 1, b: 1 } } }), /distinct ids/],
    ['no bytes', (j) => ({ ...j, model: { ...j.model, vocab: { a: 1 }, merges: [] } }), /256 byte pieces/],
    ['no fallback', (j) => ({ ...j, model: { ...j.model, byte_fallback: false } }), /byte_fallback: false/],
    ['dropout', (j) => ({ ...j, model: { ...j.model, dropout: 0.1 } }), /model\.dropout: 0\.1/],
    ['other normalizer', (j) => ({ ...j, normalizer: { type: 'NFKC' } }), /normalizer: NFKC/],
    [
      'pattern',
      (j) => ({ ...j, normalizer: { type: 'Replace', pattern: { Regex: 'a' } } }),
      /pattern\.String/,
    ],
    ['byte level', (j) => ({ ...j, pre_tokenizer: { type: 'ByteLevel' } }), /pre_tokenizer: ByteLevel/],
    [
      'splits at spaces',
      (j) => ({ ...j, pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'first' } }),
      /Metaspace that splits/,
    ],
    ['empty added token', (j) => ({ ...j, added_tokens: [{ id: 1, content: '' }] }), /no empty added token/],
  ];
  for (const [name, change, message] of cases) {
    const text = JSON.stringify(change(json()));
    assert.throws(
      () => parseLlamaJson(text, 'dir/tokenizer.json'),
      (error: unknown) =>
        error instanceof SemanticVlaError &&
        error.code === 'TOKENIZER_INVALID' &&
        error.message.startsWith('dir/tokenizer.json: ') &&
        message.test(error.message),
      name,
    );
  }
  assert.throws(() => parseLlamaJson('{"a":', 'f'), /expected JSON/);
});

test('a vocabulary without the pieces of a prompt is refused', () => {
  const json = JSON.parse(readJsonText());
  delete json.model.vocab['▁'];
  json.model.merges = [];
  assert.throws(
    () => new LlamaTokenizer(parseLlamaJson(JSON.stringify(json), 'f'), 'f'),
    /with the piece ▁, found 31999 pieces/,
  );
});

test('property: any text encodes to ids of the vocabulary, the same from both files', async () => {
  const json = await fromJson();
  const model = await fromModel();
  const special = fc.constantFrom('<s>', '</s>', '<unk>', '<PAD>', '▁', ' ', '<0x0A>', '\n');
  const text = fc
    .array(fc.oneof(special, fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' })), {
      maxLength: 8,
    })
    .map((parts) => parts.join(''));
  fc.assert(
    fc.property(text, (value) => {
      const ids = json.encode(value);
      assert.equal(ids, model.encode(value));
      assert.ok(ids.every((id) => Number.isInteger(id) && id >= 0 && id <= 32000));
    }),
    { numRuns: 300 },
  );
});

test('property: a damaged tokenizer.json throws nothing but a typed error', () => {
  const text = readJsonText();
  fc.assert(
    fc.property(fc.nat({ max: text.length - 1 }), fc.boolean(), (at, cut) => {
      const damaged = cut ? text.slice(0, at) : `${text.slice(0, at)}}${text.slice(at + 1)}`;
      try {
        new LlamaTokenizer(parseLlamaJson(damaged, 'f'), 'f');
      } catch (error) {
        assert.instance(error, SemanticVlaError);
      }
    }),
    { numRuns: 15 },
  );
});

test.run();
