/** Files of one folder that contradict each other: refused when the policy opens, with both files or numbers. */

import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadPolicy } from '../../lib/policy/loadPolicy.ts';
import { errorOf, fileNamed } from '../checkpoint/editCheckpoint.ts';
import { cli } from '../helpers/cli.ts';

import { type GoldenName, goldenCopy } from '../helpers/golden.ts';
import { base, editJson, editStatistics, type Loose } from './bases.ts';

const test = suite('files that must agree');

const bounds = ['min', 'max', 'q01', 'q99', 'mean', 'std', 'mask'];
const cut = (quantity: Loose, length: number) => {
  for (const name of bounds) if (name in quantity) quantity[name] = quantity[name].slice(0, length);
};
const swap = (name: string, from: GoldenName) => (dir: string) => {
  const file = fileNamed(goldenCopy(from), name);
  rmSync(fileNamed(dir, name));
  cpSync(file, join(dir, `${name}1_checkpoint.pt`));
};

const pairs: readonly [string, GoldenName, (dir: string) => void, string, RegExp][] = [
  [
    'joint state of the statistics, projector',
    'oft-tiny',
    (dir) => editStatistics(dir, ({ proprio }) => cut(proprio, 7)),
    'STATISTICS_INVALID',
    /of 8 dimensions, as the proprio projector .* has, found 7/,
  ],
  [
    'actions of the statistics, head',
    'oft-tiny',
    (dir) => editStatistics(dir, ({ action }) => cut(action, 6)),
    'STATISTICS_INVALID',
    /actions of 7 dimensions.*\(6\)/,
  ],
  [
    'head, language model',
    'oft-tiny',
    swap('action_head--', 'aloha-tiny'),
    'TENSOR_UNEXPECTED|TENSOR_SHAPE|TENSOR_MISSING',
    /action_head/,
  ],
  [
    'projector, language model',
    'oft-tiny',
    swap('proprio_projector--', 'libero-tiny'),
    'TENSOR_SHAPE',
    /proprio_projector/,
  ],
  [
    'vision archive, config.json',
    'aloha-tiny',
    swap('vision_backbone--', 'libero-tiny'),
    'TENSOR_SHAPE|CONFIG_INVALID|CONFIG_UNSUPPORTED',
    /dinov2 weights are 48 wide, but .* is 54 wide/,
  ],
  [
    'tokenizer, vocabulary of the weights',
    'oft-tiny',
    (dir) =>
      editJson(join(dir, 'tokenizer.json'), (json) => {
        json.added_tokens.push({ ...json.added_tokens[0], id: 40_000, content: '<extra>' });
      }),
    'TOKENIZER_INVALID',
    /ids below 32064, the language model's vocab_size, found 40000/,
  ],
  [
    'tokenizer of another model',
    'oft-tiny',
    (dir) =>
      editJson(join(dir, 'tokenizer.json'), ({ model }) => {
        [model.vocab['▁'], model.vocab['<unk>']] = [model.vocab['<unk>'], model.vocab['▁']];
      }),
    'TOKENIZER_INVALID',
    /id 29871 for ▁, as Llama 2 has, found 0/,
  ],
  [
    'SigLIP tokenizer, its vocab_size',
    'libero-tiny',
    (dir) =>
      editJson(join(dir, 'siglip-text-tiny', 'config.json'), ({ text_config: text }) => {
        text.vocab_size = 100;
      }),
    'TENSOR_SHAPE',
    /token_embedding/,
  ],
  [
    'SigLIP text config, weights',
    'libero-tiny',
    (dir) =>
      editJson(join(dir, 'siglip-text-tiny', 'config.json'), ({ text_config: text }) => {
        text.intermediate_size += 1;
      }),
    'TENSOR_SHAPE',
    /mlp/,
  ],
  [
    'preprocessor, config.json: size',
    'oft-tiny',
    (dir) =>
      editJson(join(dir, 'config.json'), (config) => {
        config.image_sizes = [336, 336];
      }),
    'CONFIG_INVALID',
    /image_sizes.*as preprocessor_config\.json says/,
  ],
  [
    'preprocessor, config.json: strategy',
    'oft-tiny',
    (dir) =>
      editJson(join(dir, 'config.json'), (config) => {
        config.image_resize_strategy = 'letterbox';
      }),
    'CONFIG_INVALID',
    /image_resize_strategy/,
  ],
  [
    'language model of config.json, shards',
    'oft-tiny',
    (dir) =>
      editJson(join(dir, 'config.json'), ({ text_config: text }) => {
        text.vocab_size = 32_000;
      }),
    'TENSOR_SHAPE',
    /embed_tokens|lm_head/,
  ],
  [
    'adapter_config.json, vision archive',
    'libero-tiny',
    (dir) =>
      editJson(join(dir, 'lora_adapter', 'adapter_config.json'), (config) => {
        config.r *= 2;
      }),
    'LORA_INVALID',
    /adapter_config\.json/,
  ],
];

test(`${pairs.length} pairs`, async () => {
  for (const [name, golden, change, codes, says] of pairs) {
    const { dir } = await base(golden);
    change(dir);
    const error = await errorOf(loadPolicy(dir));
    assert.match(error.code, new RegExp(`^(${codes})$`), `${name}: ${error.message}`);
    assert.match(error.message, says, name);
    rmSync(dir, { recursive: true });
  }
});

test('a data set chosen at predict is compared then', async () => {
  const { dir, observation, instruction } = await base('oft-tiny');
  editJson(join(dir, 'dataset_statistics.json'), (all) => {
    const [own] = Object.values<Loose>(all);
    const other = structuredClone(own);
    cut(other.proprio, 7);
    return { good: own, bad: other };
  });
  await using policy = await loadPolicy(dir, { platform: 'libero' });
  const error = await errorOf(policy.predict(observation, { instruction, unnormKey: 'bad' }));
  assert.match(
    error.message,
    /bad: expected a joint state .* of 8 dimensions.*choose a data set of that size: good/,
  );
  assert.is(error.code, 'STATISTICS_INVALID');
  await policy.predict(observation, { instruction, unnormKey: 'good' });
});

test('inspect refuses it too, and a notice is a line on standard error and a field of the report', async () => {
  const { dir } = await base('oft-tiny');
  const file = join(dir, 'dataset_statistics.json');
  const before = readFileSync(file);
  editStatistics(dir, ({ proprio }) => cut(proprio, 7));
  const refused = cli('inspect', dir, '--json');
  assert.is(refused.code, 2);
  assert.match(refused.stderr, /^STATISTICS_INVALID: .*found 7/);
  writeFileSync(file, before);
  cpSync(fileNamed(dir, 'proprio_projector--'), join(dir, 'proprio_projector--2_checkpoint.pt'));
  rmSync(join(dir, 'proprio_projector--150000_checkpoint.pt'));
  const said = cli('inspect', dir, '--json');
  assert.is(said.code, 0, said.stderr);
  assert.match(said.stderr, /^NOTICE STEPS_MIXED: .*step 150000 \(action_head.*step 2 \(proprio_projector/m);
  assert.equal(
    JSON.parse(said.stdout).notices.map(({ code }: { code: string }) => code),
    ['STEPS_MIXED'],
  );
});

test.run();
