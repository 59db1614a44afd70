/** The LoRA merge: values against a plain sum, and the cache. */

import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadAddon } from '../../lib/addon/binding.ts';
import { openCheckpoint } from '../../lib/checkpoint/openCheckpoint.ts';
import { readTensorFloat32 } from '../../lib/checkpoint/readTensor.ts';
import { readSafetensors } from '../../lib/checkpoint/safetensors.ts';
import { readTorchArchive } from '../../lib/checkpoint/torchArchive.ts';
import { synthesizeCheckpoint } from '../../lib/synth/synthesize.ts';
import { goldenCheckpoint, goldenCopy, scratchFolder } from '../helpers/golden.ts';
import { externalMemoryAddon } from '../runtime/fakeTensorRt.ts';
import { editArchive, editJson, errorOf, fileNamed } from './editCheckpoint.ts';

const test = suite('LoRA merge');
const root = resolve(import.meta.dirname, '../..');
let caches = 0;

function freshCache(): string {
  return join(scratchFolder(), `lora-cache-${caches++}`);
}

/** float32 sums of r products in the order of r, then plus W: the promised arithmetic, written plainly. */
function plainMerge(
  w: Float32Array,
  a: Float32Array,
  b: Float32Array,
  columns: number,
  rank: number,
  scale: number,
): Float32Array {
  const { fround } = Math;
  return w.map((value, at) => {
    let sum = 0;
    for (let k = 0; k < rank; k++) {
      const factor = fround(scale * b[Math.floor(at / columns) * rank + k]!);
      sum = fround(sum + fround(a[k * columns + (at % columns)]! * factor));
    }
    return fround(value + sum);
  });
}

const sizes = [
  [1, 1, 1],
  [4, 8, 8],
  [7, 5, 3],
  [9, 11, 12],
  [8, 16, 32],
  [13, 24, 2],
  [6, 35, 5],
  [5, 33, 4],
] as const;
/** Numbers that differ in float32 but not in bfloat16. */
const noise = (length: number, seed: number) =>
  Float32Array.from({ length }, (_, i) => Math.fround(Math.sin((i + seed) * 12.9898) * 3));

const { addLowRank } = loadAddon();

test('low-rank sums of any size, in float32, bit for bit, wherever the rows are split', () => {
  for (const [rows, columns, rank] of sizes) {
    const [a, b, w] = [noise(rank * columns, 0), noise(rows * rank, 1000), noise(rows * columns, 2000)];
    const expected = plainMerge(w, a, b, columns, rank, 1);
    for (let cut = 0; cut <= rows; cut++) {
      const merged = w.slice();
      for (const [from, to] of [
        [0, cut],
        [cut, rows],
      ] as const) {
        const finite = addLowRank(
          merged.subarray(from * columns, to * columns),
          a,
          b.subarray(from * rank, to * rank),
          rank,
        );
        assert.is(finite, true);
      }
      assert.equal(merged, expected, `${rows} x ${columns}, rank ${rank}, cut at ${cut}`);
    }
  }
});

test('the numbers of these tests tell a fused multiply-add apart', () => {
  const [rows, columns, rank] = [9, 11, 12];
  const [a, b, w] = [noise(rank * columns, 0), noise(rows * rank, 1000), noise(rows * columns, 2000)];
  const fused = w.map((value, at) => {
    let sum = 0;
    for (let k = 0; k < rank; k++) {
      // the product of two float32 values is exact in float64
      sum = Math.fround(sum + a[k * columns + (at % columns)]! * b[Math.floor(at / columns) * rank + k]!);
    }
    return Math.fround(value + sum);
  });
  const plain = plainMerge(w, a, b, columns, rank, 1);
  assert.ok(fused.filter((value, at) => value !== plain[at]).length > plain.length / 4);
});

test('a value that is not finite is noticed, in any place, and only then', () => {
  for (const [rows, columns] of [
    [6, 11],
    [5, 35],
  ] as const) {
    const [a, b] = [noise(columns, 0), noise(rows, 9)];
    for (let place = 0; place < rows * columns; place++) {
      const w = noise(rows * columns, 5);
      assert.is(addLowRank(w.slice(), a, b, 1), true);
      w[place] = place % 2 === 0 ? Number.NaN : Number.NEGATIVE_INFINITY;
      assert.is(addLowRank(w, a, b, 1), false, `at ${place}`);
    }
    b[rows - 1] = Number.POSITIVE_INFINITY;
    assert.is(addLowRank(noise(rows * columns, 5), a, b, 1), false);
  }
});

test('arrays that do not fit each other are refused', () => {
  const floats = (length: number) => new Float32Array(length);
  for (const [weights, a, b, rank] of [
    [floats(7), floats(4), floats(4), 2],
    [floats(4), floats(5), floats(4), 2],
    [floats(4), floats(4), floats(3), 2],
    [floats(4), floats(4), floats(4), 0],
    [floats(4), floats(4), new Uint8Array(4) as unknown as Float32Array, 2],
  ] as const)
    assert.throws(() => addLowRank(weights, a, b, rank), /expected/);
});

test('golden: every merged weight is W + alpha/r B A, and the rest is read in place', async () => {
  const dir = goldenCheckpoint('libero-tiny');
  const checkpoint = await openCheckpoint(dir, { cacheDir: freshCache() });
  const archive = await readTorchArchive(fileNamed(dir, 'vision_backbone--'));
  const { madeWeights } = checkpoint.sources;
  // 4 DINOv2 and 5 SigLIP blocks of 4 linear layers each; the pooling head also has LoRA, but is not used.
  assert.is(madeWeights?.merged, 36);
  const raw = async (name: string) => readTensorFloat32(archive.tensors.get(name)!);
  for (const [tower, block] of [
    ['featurizer', 0],
    ['featurizer', 3],
    ['fused_featurizer', 4],
  ] as const) {
    for (const layer of ['attn.qkv', 'attn.proj', 'mlp.fc1', 'mlp.fc2']) {
      const stem = `vision_backbone.${tower}.blocks.${block}`;
      const merged = await readTensorFloat32(checkpoint.tensors.get(`${stem}.${layer}.weight`)!);
      const base = await raw(`${stem}.block.${layer}.base_layer.weight`);
      const a = await raw(`${stem}.block.${layer}.lora_A.default.weight`);
      const b = await raw(`${stem}.block.${layer}.lora_B.default.weight`);
      const columns = a.length / 4;
      let difference = 0;
      for (let i = 0; i < base.length; i++) {
        const [row, column] = [Math.floor(i / columns), i % columns];
        let sum = 0;
        for (let k = 0; k < 4; k++) sum += b[row * 4 + k]! * a[k * columns + column]!;
        // The golden's merge is exact in bf16, hence also in float32: no tolerance.
        difference += Math.abs(merged[i]! - (base[i]! + (8 / 4) * sum));
      }
      assert.is(difference, 0, `${stem}.${layer}`);
      const bias = checkpoint.tensors.get(`${stem}.${layer}.bias`)!;
      assert.is(bias.file, archive.file);
    }
  }
});

test('without the addon the merge is refused by its code, and a checkpoint that is merged already opens', () => {
  const folder = join(scratchFolder(), 'no-addon');
  cpSync(join(root, 'lib'), join(folder, 'lib'), { recursive: true });
  cpSync(join(root, 'package.json'), join(folder, 'package.json'));
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  const module = pathToFileURL(join(folder, 'lib/checkpoint/openCheckpoint.ts')).href;
  const cacheDir = freshCache();
  const script = `import { openCheckpoint } from ${JSON.stringify(module)};
    const opening = openCheckpoint(${JSON.stringify(goldenCheckpoint('libero-tiny'))}, { cacheDir: ${JSON.stringify(cacheDir)} });
    console.log(await opening.then(({ sources }) => String(sources.madeWeights.fromCache), ({ code }) => code));`;
  const answer = () =>
    spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', script], {
      cwd: folder,
      encoding: 'utf8',
    }).stdout.trim();
  assert.is(answer(), 'ADDON_NOT_BUILT');
  assert.equal(readdirSync(cacheDir), []);
  // built before the merge moved into the addon
  mkdirSync(join(folder, 'build/Release'), { recursive: true });
  writeFileSync(join(folder, 'build/Release/semanticvla.node'), readFileSync(externalMemoryAddon()));
  assert.is(answer(), 'ADDON_NOT_BUILT');
  rmSync(join(folder, 'build'), { recursive: true });
  symlinkSync(join(root, 'build'), join(folder, 'build'));
  assert.is(answer(), 'false');
  unlinkSync(join(folder, 'build'));
  assert.is(answer(), 'true');
});

test('OFT+: the patch convolution is merged over its flattened window', async () => {
  const dir = join(scratchFolder(), 'lora-oft-plus');
  const overrides = {
    llamaLayers: 1,
    llamaWidth: 16,
    llamaHeads: 2,
    llamaMlp: 32,
    dinov2Depth: 2,
    dinov2Width: 12,
    dinov2Heads: 2,
    siglipDepth: 2,
    siglipWidth: 20,
    siglipHeads: 2,
    imageSize: 28,
    loraRank: 3,
    loraAlpha: 5,
  };
  await synthesizeCheckpoint('oft-plus', dir, { overrides });
  const { tensors, sources } = await openCheckpoint(dir, { cacheDir: freshCache() });
  const archive = await readTorchArchive(sources.visionBackbone!);
  for (const tower of ['featurizer', 'fused_featurizer']) {
    const stem = `vision_backbone.${tower}.patch_embed.proj`;
    const raw = async (part: string) => readTensorFloat32(archive.tensors.get(`${stem}.${part}.weight`)!);
    const [base, a, b] = [await raw('base_layer'), await raw('lora_A.default'), await raw('lora_B.default')];
    const merged = await readTensorFloat32(tensors.get(`${stem}.weight`)!);
    const window = 3 * 14 * 14;
    assert.is(a.length, 3 * window);
    assert.equal(merged, plainMerge(base, a, b, window, 3, 5 / 3));
    const changed = merged.filter((value, i) => value !== base[i]).length;
    assert.ok(changed > base.length / 2, `${changed} of ${base.length} weights changed`);
  }
  rmSync(dir, { recursive: true });
});

test('the second opening takes the cache; so does a copy that keeps its times; the file is a safetensors file', async () => {
  const cacheDir = freshCache();
  const dir = goldenCheckpoint('aloha-tiny');
  const seen: number[] = [];
  const first = await openCheckpoint(dir, {
    cacheDir,
    onProgress: ({ done, total }) => seen.push(done / total),
  });
  assert.is(first.sources.madeWeights?.fromCache, false);
  assert.is(seen.at(-1), 1);
  assert.ok(seen.every((value, i) => i === 0 || value >= seen[i - 1]!));
  const second = await openCheckpoint(dir, { cacheDir });
  assert.is(second.sources.madeWeights?.fromCache, true);
  assert.equal([...second.tensors], [...first.tensors]);
  const parsed = await readSafetensors(first.sources.madeWeights!.file);
  const { merged, rounded } = first.sources.madeWeights!;
  assert.is(parsed.tensors.size, merged + rounded);
  assert.is([...parsed.tensors.values()][0]!.offset % 64, 0);
});

test('another alpha, another rank or another archive is another file', async () => {
  const cacheDir = freshCache();
  const dir = goldenCopy('libero-tiny');
  await openCheckpoint(dir, { cacheDir });
  editJson(dir, 'lora_adapter/adapter_config.json', (value) => ({ ...value, lora_alpha: 16 }));
  assert.is((await openCheckpoint(dir, { cacheDir })).sources.madeWeights?.fromCache, false);
  await editArchive(fileNamed(dir, 'vision_backbone--'), (tensors) => {
    tensors.get('vision_backbone.featurizer.blocks.0.block.attn.qkv.lora_B.default.weight')!.bytes[0]! ^= 1;
  });
  assert.is((await openCheckpoint(dir, { cacheDir })).sources.madeWeights?.fromCache, false);
  assert.is(readdirSync(cacheDir).length, 3);
});

test('a damaged cache file is made again', async () => {
  const cacheDir = freshCache();
  const dir = goldenCheckpoint('libero-tiny');
  const { file } = (await openCheckpoint(dir, { cacheDir })).sources.madeWeights!;
  const sound = readFileSync(file);
  const damages: (() => void)[] = [
    () => truncateSync(file, sound.length - 1),
    () => truncateSync(file, 0),
    () => writeFileSync(file, Buffer.concat([sound, Buffer.from('x')])),
    () => writeFileSync(file, Buffer.concat([sound.subarray(0, 100), Buffer.from('?'), sound.subarray(101)])),
    () => writeFileSync(file, changedAt(sound, sound.length - 1)),
    () => writeFileSync(file, changedAt(sound, Math.floor(sound.length / 2))),
    // what may be left of an unsynced file after a power cut
    () =>
      writeFileSync(file, Buffer.concat([sound.subarray(0, 65_536), Buffer.alloc(sound.length - 65_536)])),
    () => writeFileSync(file, Buffer.alloc(sound.length)),
  ];
  for (const [i, damage] of damages.entries()) {
    damage();
    const { sources, notices } = await openCheckpoint(dir, { cacheDir, onNotice: () => {} });
    assert.is(sources.madeWeights?.fromCache, false, `damage ${i}`);
    assert.ok(notices.some(({ code, message }) => code === 'MERGE_RENEWED' && message.includes(file)));
    assert.ok(readFileSync(file).equals(sound));
  }
  assert.is((await openCheckpoint(dir, { cacheDir })).sources.madeWeights?.fromCache, true);
});

function changedAt(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes);
  changed[at]! ^= 0x40;
  return changed;
}

test("a link, a file that others may write and another owner's are not taken from the cache", async () => {
  const cacheDir = freshCache();
  const dir = goldenCheckpoint('libero-tiny');
  const { file } = (await openCheckpoint(dir, { cacheDir })).sources.madeWeights!;
  const again = async (): Promise<string> => {
    const { notices, sources } = await openCheckpoint(dir, { cacheDir, onNotice: () => {} });
    assert.is(sources.madeWeights?.fromCache, false);
    assert.ok(lstatSync(file).isFile());
    assert.is(lstatSync(file).mode & 0o777, 0o600);
    return notices.map(({ message }) => message).join();
  };
  renameSync(file, `${file}.elsewhere`);
  symlinkSync(`${file}.elsewhere`, file);
  assert.match(await again(), /found a symbolic link/);
  chmodSync(file, 0o666);
  assert.match(await again(), /expected no right to write for others, found mode 666/);
  rmSync(file);
  execFileSync('mkfifo', [file]);
  assert.match(await again(), /a folder or a device/);
  if (process.getuid?.() === 0) {
    chownSync(file, 12345, 12345);
    const { notices } = await openCheckpoint(dir, { cacheDir, onNotice: () => {} });
    assert.match(notices[0]!.message, /expected owner 0, found owner 12345/);
  }
});

test('the cache keeps what was used last, and whatever was used within the hour', async () => {
  const cacheDir = freshCache();
  const dir = goldenCheckpoint('libero-tiny');
  mkdirSync(cacheDir);
  const old = Array.from({ length: 6 }, (_, i) => `weights-${String(i).repeat(40)}.safetensors`);
  const other = ['notes.txt', 'weights.safetensors'];
  for (const [i, name] of [...old, ...other].entries()) {
    writeFileSync(join(cacheDir, name), 'x');
    utimesSync(join(cacheDir, name), 1000 + i, 1000 + i);
  }
  const { file } = (await openCheckpoint(dir, { cacheDir })).sources.madeWeights!;
  assert.equal(readdirSync(cacheDir).sort(), [...old.slice(3), ...other, basename(file)].sort());
  const written = statSync(file, { bigint: true }).mtimeNs;
  utimesSync(file, 1, Number(written / 1_000_000_000n));
  const opened = Date.now();
  await openCheckpoint(dir, { cacheDir });
  // used now, and unchanged for whoever compares its time
  // file systems store whole seconds at the coarsest
  assert.ok(statSync(file).atimeMs > opened - 1000);
  assert.is(statSync(file, { bigint: true }).mtimeNs, written);
  for (let i = 0; i < 6; i++) writeFileSync(join(cacheDir, `weights-${'a'.repeat(39)}${i}.safetensors`), 'x');
  const count = readdirSync(cacheDir).length;
  await openCheckpoint(goldenCheckpoint('aloha-tiny'), { cacheDir });
  assert.is(readdirSync(cacheDir).filter((name) => /-a{39}\d\./.test(name)).length, 6);
  assert.ok(readdirSync(cacheDir).length <= count + 1);
});

test('several merges of one checkpoint at once all end well', async () => {
  const cacheDir = freshCache();
  const all = await Promise.all(
    Array.from({ length: 4 }, () => openCheckpoint(goldenCheckpoint('libero-tiny'), { cacheDir })),
  );
  const name = 'vision_backbone.featurizer.blocks.1.mlp.fc1.weight';
  const values = await Promise.all(all.map(({ tensors }) => readTensorFloat32(tensors.get(name)!)));
  for (const value of values) assert.equal(value, values[0]);
  assert.is(readdirSync(cacheDir).length, 1);
});

test('a process killed in the middle leaves nothing that is trusted', async () => {
  const cacheDir = freshCache();
  const dir = goldenCheckpoint('libero-tiny');
  const module = new URL('../../lib/checkpoint/openCheckpoint.ts', import.meta.url).href;
  const script = `import { openCheckpoint } from ${JSON.stringify(module)};
    let calls = 0;
    const onProgress = () => { if (++calls === 10) process.kill(process.pid, 'SIGKILL'); };
    await openCheckpoint(${JSON.stringify(dir)}, { cacheDir: ${JSON.stringify(cacheDir)}, onProgress });`;
  const child = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', script]);
  assert.is(child.signal, 'SIGKILL', String(child.stderr));
  assert.equal(
    readdirSync(cacheDir).map((name) => name.endsWith('.tmp')),
    [true],
  );
  const { fromCache, file } = (await openCheckpoint(dir, { cacheDir })).sources.madeWeights!;
  assert.is(fromCache, false);
  assert.ok(readFileSync(file).length > 0);
});

test('aborting leaves nothing behind', async () => {
  const cacheDir = freshCache();
  const controller = new AbortController();
  const stop = new Error('stop');
  const opening = openCheckpoint(goldenCheckpoint('libero-tiny'), {
    cacheDir,
    signal: controller.signal,
    onProgress: () => controller.abort(stop),
  });
  const error: unknown = await opening.then(
    () => null,
    (reason: unknown) => reason,
  );
  assert.is(error, stop);
  assert.equal(readdirSync(cacheDir), []);
});

test('a cache that cannot be written is named', async () => {
  const cacheDir = join(scratchFolder(), 'a-file');
  writeFileSync(cacheDir, '');
  const error = await errorOf(openCheckpoint(goldenCheckpoint('libero-tiny'), { cacheDir }));
  assert.is(error.code, 'CACHE_UNWRITABLE');
  assert.match(error.message, /SEMANTICVLA_CACHE/);
});

test('files left by a killed process are removed, those of a running one are not', async () => {
  const cacheDir = freshCache();
  mkdirSync(cacheDir);
  const fresh = `lora-${'0'.repeat(40)}.safetensors.1.00ff.tmp`;
  writeFileSync(join(cacheDir, fresh), 'x');
  await openCheckpoint(goldenCheckpoint('libero-tiny'), { cacheDir });
  assert.ok(readdirSync(cacheDir).includes(fresh));
  utimesSync(join(cacheDir, fresh), 1, 1);
  await openCheckpoint(goldenCheckpoint('aloha-tiny'), { cacheDir });
  assert.not(readdirSync(cacheDir).includes(fresh));
});

test.run();
