import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import type { SynthOverrides } from '../../lib/synth/overrides.ts';
import type { SynthPreset } from '../../lib/synth/presets.ts';
import { synthesizeCheckpoint } from '../../lib/synth/synthesize.ts';
import { type GoldenName, goldenCheckpoint } from '../helpers/golden.ts';
import { listFiles, readCheckpoint } from './readFiles.ts';

const test = suite('synth synthesizeCheckpoint');

async function inTemp(use: (dir: string) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'synth-'));
  try {
    await use(dir);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Small enough for every preset. */
const small: SynthOverrides = {
  llamaWidth: 16,
  llamaHeads: 2,
  llamaLayers: 2,
  llamaMlp: 24,
  dinov2Width: 12,
  dinov2Heads: 2,
  dinov2Depth: 3,
  siglipWidth: 20,
  siglipHeads: 2,
  siglipDepth: 4,
  loraRank: 2,
};
const smallText: SynthOverrides = { textWidth: 24, textHeads: 2, textLayers: 1, textMlp: 40, textVocab: 512 };
const isOft = (preset: SynthPreset) => preset.startsWith('oft');

/** The sizes of the reference policies, taken from their configurations. */
const like: readonly [SynthPreset, GoldenName, SynthOverrides][] = [
  ['tiny', 'libero-tiny', { llamaWidth: 56, textWidth: 72 }],
  [
    'aloha',
    'aloha-tiny',
    {
      ...{
        llamaWidth: 48,
        llamaHeads: 4,
        llamaMlp: 104,
        llamaLayers: 3,
        loraRank: 8,
        textWidth: 40,
        textHeads: 4,
      },
      ...{ textLayers: 2, textMlp: 72, dinov2Width: 54, dinov2Heads: 3, dinov2Depth: 3, siglipWidth: 40 },
      ...{
        siglipHeads: 2,
        siglipDepth: 4,
        exchangePairs: [
          [0, 0],
          [1, 2],
        ],
      },
    },
  ],
  [
    'oft',
    'oft-tiny',
    {
      ...{ llamaWidth: 48, llamaHeads: 3, llamaMlp: 96, llamaLayers: 3, dinov2Width: 40, dinov2Heads: 2 },
      ...{ dinov2Depth: 4, siglipWidth: 60, siglipHeads: 3, siglipDepth: 4 },
    },
  ],
];

for (const [preset, name, overrides] of like)
  test(`${preset} has the files, keys, dtypes and shapes of ${name}`, () =>
    inTemp(async (dir) => {
      const out = join(dir, 'policy');
      await synthesizeCheckpoint(preset, out, { overrides, maxShardBytes: 4e6 });
      const reference = goldenCheckpoint(name);
      // The rows of the text embedding follow the vocabulary; the trimmed copies lack a tensor that nothing reads.
      const skipped = (key: string) =>
        key.endsWith('token_embedding.weight') || (name === 'aloha-tiny' && key.includes('lm_head'));
      // Keys are compared without the `module.` that one reference file lacks.
      const table = (folder: string) =>
        Object.fromEntries(
          [...readCheckpoint(folder)]
            .filter(([key]) => !skipped(key))
            .map(([key, { dtype, shape }]) => [key.replace(':module.', ':'), `${dtype} ${shape}`] as const)
            .sort(([a], [b]) => (a < b ? -1 : 1)),
        );
      assert.equal(table(out), table(reference));
      const json = (folder: string, file: string) => JSON.parse(readFileSync(join(folder, file), 'utf8'));
      const keys = (value: object) => Object.keys(value).sort();
      const config = json(out, 'config.json');
      const expected = json(reference, 'config.json');
      assert.equal(keys(config), keys(expected));
      for (const key of Object.keys(expected)) {
        if (['norm_stats', 'text_config', 'fused_featurizer_cfg', 'llm_max_length'].includes(key)) continue;
        assert.equal(config[key], expected[key], key);
      }
      if (preset !== 'oft')
        assert.equal(
          { ...config.fused_featurizer_cfg, text_encoder_path: '' },
          { ...expected.fused_featurizer_cfg, text_encoder_path: '' },
        );
      assert.equal(
        json(out, 'preprocessor_config.json').input_sizes,
        json(reference, 'preprocessor_config.json').input_sizes,
      );
      for (const file of [
        'lora_adapter/adapter_config.json',
        'preprocessor_config.json',
        'model.safetensors.index.json',
        'tokenizer_config.json',
      ])
        assert.equal(keys(json(out, file)), keys(json(reference, file)), file);
      const index = json(out, 'model.safetensors.index.json');
      const expectedIndex = json(reference, 'model.safetensors.index.json');
      assert.equal(
        keys(index.weight_map).filter((key) => !skipped(key)),
        keys(expectedIndex.weight_map).filter((key) => !skipped(key)),
      );
      if (name !== 'aloha-tiny') assert.is(index.metadata.total_size, expectedIndex.metadata.total_size);
      const statistics = Object.values(json(out, 'dataset_statistics.json'))[0] as object;
      assert.equal(
        keys(statistics),
        keys(Object.values(json(reference, 'dataset_statistics.json'))[0] as object),
      );
    }));

test('tiny is a checkpoint with finite weights and ordered statistics', () =>
  inTemp(async (dir) => {
    const out = join(dir, 'tiny');
    const report = await synthesizeCheckpoint('tiny', out, { seed: 3 });
    assert.equal(listFiles(out), report.files.map(({ path }) => path).sort());
    assert.is(
      report.bytes,
      listFiles(out).reduce((sum, path) => sum + readFileSync(join(out, path)).length, 0),
    );
    assert.is(report.files.filter(({ path }) => path.endsWith('.safetensors')).length, 2);
    for (const [name, { dtype, bytes }] of readCheckpoint(out))
      for (let i = dtype === 'F32' ? 2 : 0; i < bytes.length; i += dtype === 'F32' ? 4 : 2)
        // The upper half of a float32 is its bf16; an exponent of 255 is infinity or NaN.
        if (((bytes[i + 1]! & 0x7f) << 1) + (bytes[i]! >> 7) === 255)
          assert.unreachable(`${name} is not finite`);
    const statistics = JSON.parse(readFileSync(join(out, 'dataset_statistics.json'), 'utf8'));
    const { action, proprio } = statistics.libero_spatial_no_noops;
    assert.equal(action.mask, [true, true, true, true, true, true, false]);
    for (const { min, q01, mean, q99, max } of [action, proprio])
      for (const i of mean.keys())
        assert.ok(min[i] <= q01[i] && q01[i] < mean[i] && mean[i] < q99[i] && q99[i] <= max[i]);
  }));

test('every preset can be made small', () =>
  inTemp(async (dir) => {
    for (const preset of ['libero', 'lite', 'aloha', 'bridge', 'oft', 'oft-plus', 'moe'] as const) {
      const out = join(dir, preset);
      const overrides = isOft(preset) ? small : { ...small, ...smallText };
      const report = await synthesizeCheckpoint(preset, out, { overrides });
      assert.is(report.spec.name, preset);
      const tensors = readCheckpoint(out);
      assert.is(tensors.has('vision_backbone:vision_queries'), !isOft(preset), preset);
      assert.is(existsSync(join(out, 'siglip-so400m-patch14-384/spiece.model')), !isOft(preset), preset);
      const config = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'));
      assert.is('featurizer_cfg' in config, !isOft(preset), preset);
    }
  }));

/** All bytes of a folder, by path. */
const contents = (dir: string) =>
  Object.fromEntries(listFiles(dir).map((path) => [path, readFileSync(join(dir, path)).toString('base64')]));

test('the same seed gives the same bytes whatever the chunks; another seed others', () =>
  inTemp(async (dir) => {
    const overrides = { ...small, ...smallText };
    const make = async (name: string, seed: number, chunkBytes?: number) => {
      await synthesizeCheckpoint('libero', join(dir, name), {
        overrides,
        seed,
        ...(chunkBytes ? { chunkBytes } : {}),
      });
      return contents(join(dir, name));
    };
    const first = await make('a', 5);
    const again = await make('b', 5);
    const chunked = await make('c', 5, 64 * 99);
    const other = await make('d', 6);
    for (const path of Object.keys(first)) {
      assert.ok(again[path] === first[path], `${path} again`);
      assert.ok(chunked[path] === first[path], `${path} chunked`);
    }
    for (const path of [
      'model-00001-of-00001.safetensors',
      'action_head--80000_checkpoint.pt',
      'dataset_statistics.json',
    ])
      assert.ok(other[path] !== first[path], path);
  }));

test('the shard size changes no tensor', () =>
  inTemp(async (dir) => {
    const overrides = { ...small, ...smallText };
    await synthesizeCheckpoint('libero', join(dir, 'one'), { overrides });
    await synthesizeCheckpoint('libero', join(dir, 'many'), { overrides, maxShardBytes: 3e5 });
    assert.ok(readdirSync(join(dir, 'many')).filter((name) => name.endsWith('.safetensors')).length > 2);
    const many = readCheckpoint(join(dir, 'many'));
    for (const [name, { bytes }] of readCheckpoint(join(dir, 'one')))
      assert.ok(Buffer.from(bytes).equals(many.get(name)!.bytes), name);
  }));

test('cancelling leaves nothing, at once and in the middle', () =>
  inTemp(async (dir) => {
    for (const at of [0, 0.5]) {
      const controller = new AbortController();
      const reason = new Error('enough');
      if (at === 0) controller.abort(reason);
      const caught = await synthesizeCheckpoint('tiny', join(dir, 'out'), {
        signal: controller.signal,
        chunkBytes: 65536,
        onProgress: ({ done, total }) => {
          if (done > at * total) controller.abort(reason);
        },
      }).then(
        () => 'finished',
        (error: unknown) => error,
      );
      assert.is(caught, reason);
      assert.equal(readdirSync(dir), []);
    }
  }));

test('progress counts the bytes of the weights up to the total', () =>
  inTemp(async (dir) => {
    const seen: number[] = [];
    let total = 0;
    await synthesizeCheckpoint('tiny', join(dir, 'out'), {
      chunkBytes: 1 << 20,
      onProgress: (progress) => {
        seen.push(progress.done);
        total = progress.total;
        assert.is(progress.unit, 'bytes');
      },
    });
    assert.ok(seen.length > 10);
    assert.equal(
      seen,
      seen.toSorted((a, b) => a - b),
    );
    assert.is(seen.at(-1), total);
  }));

async function refusal(run: Promise<unknown>): Promise<SemanticVlaError> {
  const error = await run.then(
    () => null,
    (caught: unknown) => caught,
  );
  assert.instance(error, SemanticVlaError);
  return error as SemanticVlaError;
}

test('a folder that holds something is refused and left alone; an empty one is used', () =>
  inTemp(async (dir) => {
    writeFileSync(join(dir, 'keep.txt'), 'mine');
    const error = await refusal(synthesizeCheckpoint('tiny', dir));
    assert.is(error.code, 'OUTPUT_UNWRITABLE');
    assert.match(error.message, /keep\.txt/);
    assert.equal(readdirSync(dir), ['keep.txt']);
    mkdirSync(join(dir, 'empty'));
    await synthesizeCheckpoint('tiny', join(dir, 'empty'));
    assert.ok(existsSync(join(dir, 'empty', 'config.json')));
    const file = await refusal(synthesizeCheckpoint('tiny', join(dir, 'keep.txt')));
    assert.is(file.code, 'OUTPUT_UNWRITABLE');
  }));

test('a checkpoint larger than the disk is refused before anything is written', () =>
  inTemp(async (dir) => {
    const error = await refusal(
      synthesizeCheckpoint('tiny', join(dir, 'out'), { overrides: { llamaMlp: 1e12 } }),
    );
    assert.is(error.code, 'OUTPUT_NO_SPACE');
    assert.match(error.message, new RegExp(basename(dir)));
    assert.equal(readdirSync(dir), []);
  }));

test('unknown presets and seeds are refused', () =>
  inTemp(async (dir) => {
    const out = join(dir, 'out');
    const preset = await refusal(synthesizeCheckpoint('liberro' as SynthPreset, out));
    assert.is(preset.code, 'OPTION_INVALID');
    assert.match(preset.message, /tiny, libero, lite/);
    assert.is((await refusal(synthesizeCheckpoint('tiny', out, { seed: -1 }))).code, 'OPTION_INVALID');
    assert.is((await refusal(synthesizeCheckpoint('tiny', out, { chunkBytes: 100 }))).code, 'OPTION_INVALID');
    assert.equal(readdirSync(dir), []);
  }));

test('memory does not grow with the checkpoint', () =>
  inTemp(async (dir) => {
    const before = process.memoryUsage().rss;
    let peak = before;
    const report = await synthesizeCheckpoint('tiny', join(dir, 'out'), {
      overrides: { llamaWidth: 1024, llamaMlp: 12000 },
      onProgress: () => {
        peak = Math.max(peak, process.memoryUsage().rss);
      },
    });
    assert.ok(report.bytes > 300e6, `${report.bytes} bytes`);
    // Three 8 MiB buffers, some forty 128 KiB tables and garbage; without streaming it would be the 300 MB and more.
    assert.ok(peak - before < 150e6, `grew by ${((peak - before) / 1e6).toFixed(0)} MB`);
  }));

test.run();
