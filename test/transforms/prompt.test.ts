import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { PolicyConfig, SamplerConfig, VitConfig } from '../../lib/checkpoint/policyConfig.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import {
  buildPrompt,
  checkInstruction,
  encodePrompt,
  encodeText,
  promptLimits,
} from '../../lib/transforms/prompt.ts';
import { loadTokenizers, type Tokenizers } from '../../lib/transforms/tokenizer/tokenizers.ts';
import { goldenRows, tokenizerFiles } from './tokenizer/fixtures.ts';

const test = suite('prompt');

let loaded: Promise<Tokenizers> | undefined;
const tokenizers = () => {
  loaded ??= loadTokenizers(tokenizerFiles);
  return loaded;
};
const limits = { siglipPositions: 64, promptTokens: 2000 };

function refused(run: () => unknown, code: string, message: RegExp): void {
  assert.throws(run, (error: unknown) => {
    assert.instance(error, SemanticVlaError);
    assert.is((error as SemanticVlaError).code, code);
    assert.match((error as SemanticVlaError).message, message);
    return true;
  });
}

test('prompt, ids and padding of every golden', async () => {
  const both = await tokenizers();
  let tooLong = 0;
  for (const row of goldenRows()) {
    assert.is(buildPrompt(row.text), row.prompt);
    if (row.prompt_siglip_padded === null) {
      refused(() => encodeText(both, row.prompt, limits), 'INSTRUCTION_TOO_LONG', /at most 64 tokens/);
      tooLong++;
      continue;
    }
    const { promptIds, siglipIds, siglipMask } = encodeText(both, row.prompt, limits);
    assert.equal(promptIds, row.prompt_llama, JSON.stringify(row.text));
    assert.equal(siglipIds, row.prompt_siglip_padded, JSON.stringify(row.text));
    assert.equal(
      siglipMask,
      row.prompt_siglip_padded.map((id) => id !== 1),
    );
  }
  assert.ok(tooLong > 0, 'the goldens hold prompts that are too long');
});

test('an instruction is checked, then encoded as its prompt', async () => {
  const both = await tokenizers();
  const encoded = encodePrompt(both, 'Pick up the Bowl', limits);
  assert.is(encoded.prompt, 'In: What action should the robot take to pick up the bowl?\nOut:');
  assert.equal(encoded, encodeText(both, encoded.prompt, limits));
});

test('without a sampler there are no SigLIP ids', async () => {
  const { llama } = await tokenizers();
  const encoded = encodePrompt({ llama, siglip: null }, 'fold', { siglipPositions: null, promptTokens: 99 });
  assert.equal([encoded.siglipIds, encoded.siglipMask], [null, null]);
});

test('what is no instruction is refused', async () => {
  const both = await tokenizers();
  for (const blank of ['', ' ', '\n\t ']) {
    refused(() => encodePrompt(both, blank, limits), 'INSTRUCTION_INVALID', /Expected a sentence/);
  }
  refused(() => checkInstruction('pick \ud83e'), 'INSTRUCTION_INVALID', /surrogate pair/);
  refused(() => checkInstruction(7), 'INSTRUCTION_INVALID', /Expected a string .* received 7 of type number/);
  refused(() => checkInstruction(undefined), 'INSTRUCTION_INVALID', /of type undefined/);
  refused(() => checkInstruction({}), 'INSTRUCTION_INVALID', /of type Object/);
});

test('what is too long is refused with both counts, nothing is cut', async () => {
  const both = await tokenizers();
  const long = 'the '.repeat(80);
  refused(
    () => encodePrompt(both, long, limits),
    'INSTRUCTION_TOO_LONG',
    /64 tokens for the SigLIP .* found \d+\. Shorten/,
  );
  const { promptIds } = encodePrompt(both, 'fold', limits);
  const P = promptIds.length;
  assert.is(encodePrompt(both, 'fold', { ...limits, promptTokens: P }).promptIds.length, P);
  refused(
    () => encodePrompt(both, 'fold', { ...limits, promptTokens: P - 1 }),
    'INSTRUCTION_TOO_LONG',
    new RegExp(`at most ${P - 1} tokens for the language model, found ${P}`),
  );
});

test('a sentence of megabytes is refused, as long as it is', async () => {
  const both = await tokenizers();
  for (const long of [
    'the black bowl '.repeat(1e5),
    'a'.repeat(1e6),
    '🤖'.repeat(1e6),
    `${' '.repeat(1e6)}x`,
  ]) {
    refused(
      () => encodePrompt(both, long, limits),
      'INSTRUCTION_TOO_LONG',
      /language model, found at least \d+/,
    );
  }
});

function config(queries: number, sampler: SamplerConfig | null, H: number | null): PolicyConfig {
  const vit = { patches: 256, queries: 0, sampler: null } as unknown as VitConfig;
  return {
    dinov2: { ...vit, queries },
    siglip: { ...vit, sampler },
    llama: { maxPositions: 2048 },
    actionTokensPerStep: H,
    head: { kind: 'single' },
  } as unknown as PolicyConfig;
}

test('room for the prompt: positions less vision, proprioception, actions and stop', () => {
  const sampler = { visionTopk: 32, textTopk: 5, textEncoder: { positions: 64 } } as unknown as SamplerConfig;
  const libero = { images: 2, proprio: true, chunk: 8, actionDim: 7 };
  assert.equal(promptLimits(config(32, sampler, 3), libero), {
    siglipPositions: 64,
    promptTokens: 2048 - 74 - 1 - 24 - 1,
  });
  // OpenVLA-OFT: all patches, as many tokens a step as action dimensions
  assert.equal(promptLimits(config(0, null, null), { ...libero, proprio: false }), {
    siglipPositions: null,
    promptTokens: 2048 - 512 - 56 - 1,
  });
});

test.run();
