import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeBpe } from '../../lib/synth/bpeTokenizer.ts';
import { synthPresets } from '../../lib/synth/presets.ts';
import { unigramPieceCount } from '../../lib/synth/sentencePieceModel.ts';
import { llamaTokenizerFiles, siglipTokenizerFiles } from '../../lib/synth/tokenizerFiles.ts';
import { words } from '../../lib/synth/words.ts';
import { buildPrompt } from '../../lib/transforms/prompt.ts';
import { loadTokenizers } from '../../lib/transforms/tokenizer/tokenizers.ts';

const test = suite('synth tokenizers');

const libero = 'pick up the black bowl between the plate and the ramekin and place it on the plate';

async function withTokenizers(
  use: (load: (json: boolean) => ReturnType<typeof loadTokenizers>) => Promise<void>,
): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'synth-tokenizers-'));
  try {
    for (const { path, bytes } of [
      ...llamaTokenizerFiles(synthPresets.tiny),
      ...siglipTokenizerFiles('siglip', 64),
    ]) {
      mkdirSync(dirname(join(dir, path)), { recursive: true });
      writeFileSync(join(dir, path), bytes);
    }
    await use((json) =>
      loadTokenizers({
        llamaJson: json ? join(dir, 'tokenizer.json') : null,
        llamaModel: join(dir, 'tokenizer.model'),
        siglipModel: join(dir, 'siglip/spiece.model'),
      }),
    );
  } finally {
    rmSync(dir, { recursive: true });
  }
}

test('ids lie where Llama has them, and every word is one piece', () => {
  const { pieces } = makeBpe();
  assert.is(pieces.length, 32000);
  assert.is(new Set(pieces).size, 32000);
  assert.equal(pieces.slice(0, 3), ['<unk>', '<s>', '</s>']);
  assert.is(pieces[13], '<0x0A>');
  assert.is(pieces[29871], '▁');
  assert.is(new Set(words).size, words.length);
  for (const word of [...words, 'In', 'What']) assert.ok(pieces.includes(`▁${word}`), word);
});

test('prompts have realistic lengths', () =>
  withTokenizers(async (load) => {
    const { llama, siglip } = await load(true);
    const ids = llama.encode(buildPrompt(libero));
    // Sequences of about 130 with two cameras, as the design counts them, leave about 30 for the prompt.
    assert.ok(ids.length >= 30 && ids.length <= 35, `${ids.length} ids`);
    assert.is(ids[0], 1);
    const text = siglip!.encode(buildPrompt(libero));
    assert.ok(text.length >= 20 && text.length < 64, `${text.length} SigLIP ids`);
    assert.ok(text.every((id: number) => id < unigramPieceCount));
    assert.not.ok(text.includes(2), 'no unknown piece');
  }));

test('tokenizer.model alone gives the ids of tokenizer.json', () =>
  withTokenizers(async (load) => {
    const json = (await load(true)).llama;
    const model = (await load(false)).llama;
    for (const task of [
      libero,
      'Übergib die Tasse',
      'xyzzy 123, foo_bar!',
      'mug  mug\tmug',
      'thetheplates',
      '日本',
    ])
      assert.equal(model.encode(buildPrompt(task)), json.encode(buildPrompt(task)), task);
  }));

test.run();
