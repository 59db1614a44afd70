/** Broken LoRA adapters: each is refused by name, and nothing of it is used. */

import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { readTorchArchive } from '../../lib/checkpoint/torchArchive.ts';
import { goldenCopy, scratchFolder } from '../helpers/golden.ts';
import { editArchive, editJson, errorOf, fileNamed, filled } from './editCheckpoint.ts';

const test = suite('broken LoRA adapters');

const qkv = 'vision_backbone.featurizer.blocks.0.block.attn.qkv';
const adapter = 'lora_adapter/adapter_config.json';
const refusals: readonly {
  name: string;
  says: RegExp;
  code?: string;
  change: (dir: string) => void | Promise<void>;
}[] = [
  {
    name: 'another r',
    says: /r from adapter_config/,
    change: (dir) => editJson(dir, adapter, (value) => ({ ...value, r: 8 })),
  },
  {
    name: 'r of text',
    says: /r: expected an integer/,
    change: (dir) => editJson(dir, adapter, (value) => ({ ...value, r: '4' })),
  },
  {
    name: 'no alpha',
    says: /lora_alpha/,
    change: (dir) => editJson(dir, adapter, ({ lora_alpha: _, ...value }) => value),
  },
  {
    name: 'rsLoRA',
    says: /use_rslora/,
    change: (dir) => editJson(dir, adapter, (value) => ({ ...value, use_rslora: true })),
  },
  {
    name: 'DoRA',
    says: /use_dora/,
    change: (dir) => editJson(dir, adapter, (value) => ({ ...value, use_dora: true })),
  },
  {
    name: 'rank pattern',
    says: /rank_pattern/,
    change: (dir) => editJson(dir, adapter, (value) => ({ ...value, rank_pattern: { qkv: 8 } })),
  },
  {
    name: 'no adapter config',
    says: /adapter_config\.json/,
    code: 'CHECKPOINT_FILE_MISSING',
    change: (dir) => rmSync(join(dir, adapter)),
  },
  {
    name: 'lora_B missing',
    says: /no lora_B/,
    change: (dir) =>
      editArchive(
        fileNamed(dir, 'vision_backbone--'),
        (tensors) => void tensors.delete(`${qkv}.lora_B.default.weight`),
      ),
  },
  {
    name: 'base without LoRA',
    says: /only base_layer/,
    change: (dir) =>
      editArchive(fileNamed(dir, 'vision_backbone--'), (tensors) => {
        tensors.delete(`${qkv}.lora_A.default.weight`);
        tensors.delete(`${qkv}.lora_B.default.weight`);
      }),
  },
  {
    name: 'a second adapter',
    says: /lora_A\.other/,
    change: (dir) =>
      editArchive(
        fileNamed(dir, 'vision_backbone--'),
        (tensors) => void tensors.set(`${qkv}.lora_A.other.weight`, filled([4, 48])),
      ),
  },
  {
    name: 'lora_A of another width',
    says: /\[4, 47\]/,
    change: (dir) =>
      editArchive(
        fileNamed(dir, 'vision_backbone--'),
        (tensors) => void tensors.set(`${qkv}.lora_A.default.weight`, filled([4, 47])),
      ),
  },
  {
    name: 'NaN in lora_A',
    says: /NaN/,
    code: 'TENSOR_NOT_FINITE',
    change: (dir) =>
      editArchive(
        fileNamed(dir, 'vision_backbone--'),
        (tensors) => void tensors.set(`${qkv}.lora_A.default.weight`, filled([4, 48], Number.NaN)),
      ),
  },
  {
    name: 'data whose CRC is wrong',
    says: /CRC/,
    code: 'TORCH_ARCHIVE_INVALID',
    change: async (dir) => {
      const file = fileNamed(dir, 'vision_backbone--');
      const view = (await readTorchArchive(file)).tensors.get(`${qkv}.base_layer.weight`)!;
      const content = readFileSync(file);
      content[view.offset]! ^= 1;
      writeFileSync(file, content);
    },
  },
];

test(`${refusals.length} broken adapters are refused by name`, async () => {
  for (const { name, says, code = 'LORA_INVALID', change } of refusals) {
    const dir = goldenCopy('libero-tiny');
    const cacheDir = join(scratchFolder(), `refused-${name}`);
    await change(dir);
    const error = await errorOf(openCheckpoint(dir, { cacheDir }));
    assert.is(error.code, code, `${name}: ${error.message}`);
    assert.match(error.message, says, name);
    rmSync(dir, { recursive: true });
  }
});

test.run();
