/** Checkpoints as users have them: hub and run folders, failed downloads, wrappers' names, quantized weights, byte order marks. */

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { unwrappedName } from '../../lib/checkpoint/wrappedNames.ts';
import { goldenCopy } from '../helpers/golden.ts';
import { editArchive, editJson, errorOf, fileNamed } from './editCheckpoint.ts';

const test = suite('what people bring');
const lfs =
  'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 4108544\n';

/** A copy of the golden OpenVLA-OFT policy in a folder of its own, and what `change` did to it. */
async function withCopy(work: (dir: string) => Promise<void>): Promise<void> {
  const dir = goldenCopy('oft-tiny');
  try {
    await work(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function refusal(dir: string): Promise<string> {
  const { code, message } = await errorOf(openCheckpoint(dir, { onNotice: () => {} }));
  return `${code} ${message}`;
}

test('pointers, pages, empty and cut files are called by their name in every reader', async () => {
  await withCopy(async (dir) => {
    const names = readdirSync(dir, { recursive: true, encoding: 'utf8' }).filter((name) =>
      /^(config|dataset_statistics|preprocessor_config|model\.safetensors\.index)\.json$|^model-00001|\.pt$/.test(
        name,
      ),
    );
    assert.ok(names.length >= 7, names.join());
    for (const name of names) {
      const file = join(dir, name);
      const kept = readFileSync(file);
      for (const [content, says] of [
        [lfs, /a Git LFS pointer to 4108544 bytes.*git lfs pull/],
        ['<!doctype html><html>', /a web page/],
        ['', /an empty file/],
        [Buffer.alloc(3000), /only zeros/],
      ] as const) {
        writeFileSync(file, content);
        const message = await refusal(dir);
        assert.match(message, says);
        assert.ok(message.includes(file), message);
      }
      rmSync(file);
      symlinkSync('../../blobs/gone', file);
      assert.match(await refusal(dir), /a link to \.\.\/\.\.\/blobs\/gone, which is not there/);
      rmSync(file);
      writeFileSync(file, kept.subarray(0, -40));
      assert.match(await refusal(dir), /truncated|cut off/);
      writeFileSync(file, kept);
    }
    await openCheckpoint(dir);
  });
});

test('statistics that are there and cannot be read are never taken from config.json', async () => {
  await withCopy(async (dir) => {
    const file = join(dir, 'dataset_statistics.json');
    const statistics = readFileSync(file, 'utf8');
    editJson(dir, 'config.json', (config) => ({ ...config, norm_stats: JSON.parse(statistics) }));
    rmSync(file);
    mkdirSync(file);
    assert.match(await refusal(dir), /dataset_statistics\.json: expected a regular file, found a folder/);
    rmSync(file, { recursive: true });
    symlinkSync('nowhere', file);
    assert.match(await refusal(dir), /dataset_statistics\.json.*a link to nowhere/);
  });
});

test('a file of another format is called by its name', async () => {
  await withCopy(async (dir) => {
    const shard = fileNamed(dir, 'model-00001');
    const head = fileNamed(dir, 'action_head');
    const [weights, archive] = [readFileSync(shard), readFileSync(head)];
    writeFileSync(shard, archive);
    assert.match(
      await refusal(dir),
      /model-00001.*expected a safetensors file, found a ZIP archive, as torch\.save/,
    );
    writeFileSync(shard, Buffer.concat([Buffer.from('GGUF'), weights]));
    assert.match(await refusal(dir), /GGUF \(quantized/);
    writeFileSync(shard, weights);
    writeFileSync(head, weights);
    assert.match(await refusal(dir), /action_head.*a safetensors file/);
    rmSync(shard);
    writeFileSync(`${shard}.incomplete`, 'x');
    assert.match(await refusal(dir), /a download that is not finished: model-00001.*\.incomplete/);
    rmSync(join(dir, 'model.safetensors.index.json'));
    assert.match(await refusal(dir), /the shards without their index/);
  });
});

test('marks of wrappers are taken off names, in archives and shards alike', async () => {
  assert.is(unwrappedName('module._orig_mod.model.fc1.weight'), 'model.fc1.weight');
  assert.is(unwrappedName('base_model.model.model.fc1.weight'), 'model.fc1.weight');
  assert.is(unwrappedName('featurizer._orig_mod.blocks.0.norm1.bias'), 'featurizer.blocks.0.norm1.bias');
  await withCopy(async (dir) => {
    const plain = await openCheckpoint(dir);
    const head = fileNamed(dir, 'action_head');
    const original = readFileSync(head);
    for (const prefix of [
      '_orig_mod.',
      'module.module.',
      'module._orig_mod.',
      '_orig_mod.module.',
      'base_model.model.',
      'base_model.model._orig_mod.',
      '_fsdp_wrapped_module.',
      '_forward_module.',
      'action_head.',
    ]) {
      writeFileSync(head, original);
      await editArchive(head, (tensors) => {
        const all = [...tensors];
        tensors.clear();
        for (const [name, tensor] of all) tensors.set(prefix + name, tensor);
      });
      const { tensors, config } = await openCheckpoint(dir);
      assert.equal([...tensors.keys()], [...plain.tensors.keys()], prefix);
      assert.equal(config, plain.config, prefix);
    }
    writeFileSync(head, original);
    await editArchive(head, (tensors) => {
      const all = [...tensors];
      tensors.clear();
      for (const [name, tensor] of all) tensors.set(`policy.net.${name}`, tensor);
    });
    assert.match(await refusal(dir), /^TENSOR_UNEXPECTED .*action_head.*found "policy\.net\."/);
    writeFileSync(head, original);
    await editArchive(head, (tensors) => {
      const name = [...tensors.keys()].find((key) => key.endsWith('model.fc1.weight'))!;
      tensors.set(`_orig_mod.${name}`, tensors.get(name)!);
    });
    assert.match(await refusal(dir), /action_head.*both mean action_head\.model\.fc1\.weight/);
  });
});

test('quantized checkpoints are refused by the name of their method', async () => {
  await withCopy(async (dir) => {
    const original = readFileSync(join(dir, 'config.json'));
    for (const [settings, says] of [
      [{ load_in_4bit: true, quant_method: 'bitsandbytes' }, /bitsandbytes \(4 bit\)/],
      [{ _load_in_8bit: true, quant_method: 'bitsandbytes' }, /bitsandbytes \(8 bit\)/],
      [{ load_in_8bit: true }, /bitsandbytes \(8 bit\)/],
      [{ quant_method: 'gptq', bits: 4 }, /GPTQ \(4 bit\)/],
      [{ quant_method: 'awq', bits: 4 }, /AWQ \(4 bit\)/],
      [{ quant_method: 'compressed-tensors' }, /compressed-tensors/],
      [{ quant_method: 'fp8' }, /FP8/],
      [{ quant_method: 'torchao' }, /torchao/],
      [{ quant_method: 'of tomorrow' }, /"of tomorrow"/],
    ] as const) {
      writeFileSync(join(dir, 'config.json'), original);
      editJson(dir, 'config.json', (config) => ({ ...config, quantization_config: settings }));
      const message = await refusal(dir);
      assert.match(message, says);
      assert.match(message, /^CONFIG_UNSUPPORTED .*config\.json: quantization_config/);
    }
    editJson(dir, 'config.json', (config) => ({
      ...config,
      quantization_config: { load_in_4bit: false, load_in_8bit: false, quant_method: 'bitsandbytes' },
    }));
    await openCheckpoint(dir);
    writeFileSync(join(dir, 'quantize_config.json'), '{}');
    assert.match(await refusal(dir), /quantize_config\.json.*GPTQ/);
    rmSync(join(dir, 'quantize_config.json'));
    await editArchive(fileNamed(dir, 'action_head'), (tensors) => {
      tensors.set('model.fc1.weight.absmax', [...tensors.values()][0]!);
    });
    assert.match(await refusal(dir), /action_head.*model\.fc1\.weight\.absmax.*bitsandbytes \(4 bit\)/);
  });
});

test('an archive without CRCs is read, with a notice; one wrong CRC among others is still damage', async () => {
  await withCopy(async (dir) => {
    const file = fileNamed(dir, 'action_head');
    const original = readFileSync(file);
    const eachCrc = (bytes: Buffer, change: (at: number, n: number) => void) => {
      let n = 0;
      for (let at = 0; at < bytes.length - 4; at++) {
        if (bytes.readUInt32LE(at) === 0x04034b50) change(at + 14, n);
        else if (bytes.readUInt32LE(at) === 0x02014b50) change(at + 16, n++);
      }
      return bytes;
    };
    const none = Buffer.from(original);
    writeFileSync(
      file,
      eachCrc(none, (at) => none.writeUInt32LE(0, at)),
    );
    const { notices } = await openCheckpoint(dir, { onNotice: () => {} });
    assert.equal(
      notices.map(({ code }) => code),
      ['ARCHIVE_WITHOUT_CRC'],
    );
    const one = Buffer.from(original);
    let done = false;
    eachCrc(one, (at) => {
      if (one.readUInt32LE(at) === 0 || done) return;
      one.writeUInt32LE(0, at);
      done = true;
    });
    writeFileSync(file, one);
    assert.match(await refusal(dir), /CRC/);
  });
});

test('a byte order mark is passed over in every JSON file', async () => {
  await withCopy(async (dir) => {
    for (const name of readdirSync(dir).filter((file) => file.endsWith('.json')))
      writeFileSync(join(dir, name), `\ufeff${readFileSync(join(dir, name), 'utf8')}`);
    const { tokenizers } = await openCheckpoint(dir);
    assert.ok(tokenizers.llamaJson);
    const { loadTokenizers } = await import('../../lib/transforms/tokenizer/tokenizers.ts');
    await loadTokenizers(tokenizers);
    await loadTokenizers({ ...tokenizers, llamaJson: null });
    writeFileSync(join(dir, 'config.json'), Buffer.from('\ufeff{}', 'utf16le'));
    assert.match(await refusal(dir), /config\.json: expected UTF-8 text, found UTF-16/);
  });
});

test('folders of a hub, a repository id, a run folder: each gets its own sentence', async () => {
  await withCopy(async (dir) => {
    const root = join(dirname(dir), `hub-${process.pid}`);
    const model = join(root, 'models--org--name');
    const snapshot = join(model, 'snapshots', 'a'.repeat(40));
    try {
      for (const name of ['blobs', 'refs', 'snapshots']) mkdirSync(join(model, name), { recursive: true });
      writeFileSync(join(model, 'refs/main'), 'a'.repeat(40));
      assert.match(await refusal(model), /org\/name.*the download is not complete/);
      cpSync(dir, snapshot, { recursive: true });
      for (const place of [model, join(model, 'snapshots'), join(model, 'blobs')]) {
        const message = await refusal(place);
        assert.match(message, /^CHECKPOINT_NOT_A_POLICY .*a folder of a hub's cache \(org\/name\)/);
        assert.ok(message.endsWith(`Pass the snapshot: ${snapshot}`), message);
      }
      assert.match(await refusal(root), /one in a folder below it\. Pass .*snapshots\/a+$/);
      for (const given of ['org/name', 'https://huggingface.co/org/name/tree/main'])
        assert.match(
          await refusal(given),
          /^CHECKPOINT_NOT_FOUND .*the repository org\/name at the hub.*pass hf:org\/name$/,
        );
      process.env.HF_HUB_CACHE = root;
      await openCheckpoint('hf:org/name');
      assert.match(await refusal('./org/name'), /no such file/);
      await openCheckpoint(snapshot);
    } finally {
      delete process.env.HF_HUB_CACHE;
      rmSync(root, { recursive: true, force: true });
    }
    assert.match(await refusal(join(dir, 'config.json')), /a file of one\. Pass its folder/);
    mkdirSync(join(dir, 'empty'));
    assert.match(await refusal(join(dir, 'empty')), /an empty folder/);
    if (readdirSync(dir).includes('lora_adapter'))
      assert.match(
        await refusal(join(dir, 'lora_adapter')),
        /the LoRA adapter of a checkpoint\. Pass the folder above/,
      );
    mkdirSync(join(dir, 'run/checkpoints'), { recursive: true });
    for (const step of ['100', '200']) {
      mkdirSync(join(dir, 'run/checkpoints', step));
      cpSync(join(dir, 'config.json'), join(dir, 'run/checkpoints', step, 'config.json'));
    }
    assert.match(await refusal(join(dir, 'run')), /2 of them below it.*checkpoints\/100, .*checkpoints\/200/);
  });
});

test('tokenizers: what is no file, nested deep or far too large is refused with a code', async () => {
  await withCopy(async (dir) => {
    const { loadTokenizers } = await import('../../lib/transforms/tokenizer/tokenizers.ts');
    const json = join(dir, 'tokenizer.json');
    const model = join(dir, 'tokenizer.model');
    const load = async () => {
      const { tokenizers } = await openCheckpoint(dir, { onNotice: () => {} });
      const { code, message } = await errorOf(loadTokenizers(tokenizers));
      return `${code} ${message}`;
    };
    const original = readFileSync(json, 'utf8');
    const nested = original.replace(
      /("vocab"\s*:\s*\{\s*"[^"]*"\s*:\s*)\d+/,
      `$1${'['.repeat(20_000)}0${']'.repeat(20_000)}`,
    );
    assert.is.not(nested, original);
    writeFileSync(json, nested);
    assert.match(await load(), /^TOKENIZER_INVALID .*tokenizer\.json.*nesting deeper/);
    writeFileSync(json, ' '.repeat(2 ** 24 + 1));
    assert.match(await load(), /^TOKENIZER_INVALID .*at most 16777216 bytes/);
    for (const [make, says] of [
      [(path: string) => execFileSync('mkfifo', [path]), /a FIFO/],
      [(path: string) => symlinkSync('/dev/zero', path), /a device/],
      [(path: string) => symlinkSync('gone', path), /a link to gone/],
      [(path: string) => mkdirSync(path), /a folder/],
    ] as const) {
      rmSync(json, { recursive: true });
      make(json);
      assert.match(await load(), says);
    }
    rmSync(json, { recursive: true });
    writeFileSync(model, lfs);
    assert.match(await load(), /^TOKENIZER_INVALID .*tokenizer\.model.*a Git LFS pointer/);
    writeFileSync(model, Buffer.alloc(2 ** 22 + 1, 10));
    assert.match(await load(), /at most 4194304 bytes/);
    // one piece of a million letters
    const length = Buffer.from([0xc0, 0x84, 0x3d]);
    const piece = Buffer.concat([Buffer.from([0x0a]), length, Buffer.alloc(1_000_000, 0x61)]);
    const field = Buffer.concat([Buffer.from([0x0a, 0xc4, 0x84, 0x3d]), piece]);
    writeFileSync(model, Buffer.concat([field, Buffer.from([0x12, 0x02, 0x18, 0x02])]));
    assert.match(await load(), /^TOKENIZER_INVALID .*pieces of a few letters/);
  });
});

test('observations: what is no file is refused at once, pointers by their name', async () => {
  const folder = join(goldenCopy('oft-tiny'), 'obs');
  const { readObservation } = await import('../../lib/observation/readObservation.ts');
  mkdirSync(folder);
  const observe = async () => {
    const { code, message } = await errorOf(readObservation(folder));
    return `${code} ${message}`;
  };
  const file = join(folder, 'observation.json');
  const image = join(folder, 'full.png');
  const state = join(folder, 'state.npy');
  writeFileSync(file, '\ufeff{"images": {"full": "full.png"}, "state": "state.npy"}');
  writeFileSync(image, lfs);
  assert.match(await observe(), /^IMAGE_INVALID .*full\.png.*a Git LFS pointer/);
  for (const path of [image, state, file]) {
    for (const make of [
      () => execFileSync('mkfifo', [path]),
      () => symlinkSync('/dev/zero', path),
      () => symlinkSync('gone', path),
      () => mkdirSync(path),
    ]) {
      const kept = path === file ? readFileSync(file) : null;
      rmSync(path, { recursive: true, force: true });
      make();
      assert.match(await observe(), /a FIFO|a device|a link to gone|a folder|no such file/);
      rmSync(path, { recursive: true, force: true });
      if (kept !== null) writeFileSync(file, kept);
    }
    if (path === image) cpSync(join(import.meta.dirname, '../golden/oft-tiny/obs0/full_image.png'), image);
    if (path === state) writeFileSync(state, '');
  }
  rmSync(dirname(folder), { recursive: true });
});

test('what would hold the event loop is refused by its size', async () => {
  await withCopy(async (dir) => {
    const file = join(dir, 'config.json');
    for (const text of [
      `[${'[],'.repeat(4_000_000)}[]]`,
      '['.repeat(10_000_000),
      `{"a": "${'x'.repeat(17 * 2 ** 20)}"}`,
    ]) {
      writeFileSync(file, text);
      assert.match(
        await refusal(dir),
        /^CONFIG_INVALID .*(more than 1000000 values|nesting deeper|at most 16777216)/,
      );
    }
  });
});

test.run();
