import {
  copyFileSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { cli, inFolder, root } from '../helpers/cli.ts';

const test = suite('inspect, synth, export');
const golden = join(root, 'test/golden/libero-tiny');
const checkpoint = join(golden, 'checkpoint');

interface InFile {
  readonly file: string;
}

test('inspect --json: what the checkpoint is', () => {
  const { code, stdout, stderr } = cli('inspect', checkpoint, '--verify', '--json');
  assert.is(code, 0, stderr);
  const report = JSON.parse(stdout);
  assert.is(report.variant, 'SemanticVLA');
  assert.is(report.platform.name, 'libero');
  const keys = report.normalizationKeys.map(({ key }: { key: string }) => key);
  assert.equal(keys, ['libero_spatial_no_noops', 'another_dataset']);
  assert.is(report.tokens.perImage, 37);
  // L = 1 + 74 + 1 + (P - 1) + 24 + 1 for LIBERO (docs/model.md, LLM).
  assert.is(report.tokens.besidePrompt, 1 + 74 + 1 + 24 + 1);
  const files = readdirSync(checkpoint).filter((name) => /\.(pt|safetensors)$/.test(name));
  assert.equal(report.sources.weights.map(({ file }: InFile) => file).sort(), files.sort());
  const bytes = files.reduce((sum, name) => sum + statSync(join(checkpoint, name)).size, 0);
  assert.is(report.bytesOnDisk, bytes);
  const ignored = report.ignored.map(({ file }: InFile) => file);
  assert.equal(ignored, ['siglip-text-tiny/model.safetensors', 'config.json, norm_stats']);
  assert.is(report.verified.problem, null);
  const sum = report.parts.reduce(
    (total: number, part: { parameters: number }) => total + part.parameters,
    0,
  );
  assert.is(sum, report.parameters);
  const [fp32, bf16, fp8, int8, int4] = report.memory.map((row: { bytes: number }) => row.bytes);
  assert.ok(fp32 === 2 * bf16 && bf16 > fp8 && fp8 === int8 && int8 > int4);
});

test('inspect for people names the parts', () => {
  const { code, stdout } = cli('inspect', checkpoint);
  assert.is(code, 0);
  const lines = [
    /^variant +SemanticVLA/m,
    /^image +224 x 224, 16 x 16 patches of 14$/m,
    /^weights are bfloat16, as the reference's loaders round them$/m,
    /^36 tensors with LoRA merged, \d+ rounded, /m,
    /^tokens an image +32 patches \+ 5 pooled = 37/m,
    /^LLM layers /m,
    /^int4 LLM/m,
  ];
  for (const line of lines) assert.match(stdout, line);
});

test('an image that is no multiple of the patch: the rest is named, and predict takes it', async () => {
  await inFolder((dir) => {
    const policy = join(dir, 'policy');
    assert.is(cli('synth', 'tiny', '--image-size', '130', '--out', policy).code, 0);
    const { stdout } = cli('inspect', policy);
    assert.match(
      stdout,
      /^image +130 x 130, 9 x 9 patches of 14; the last 4 pixels of each side are unused$/m,
    );
    const observation = join(policy, 'observation');
    const out = cli('predict', policy, '--observation', observation, '--view', join(dir, 'kept.png'));
    assert.is(out.code, 0, out.stderr);
    assert.match(out.stdout, /32 of 81/);
  });
});

test('inspect --verify: weights that are not finite are a refusal, exit code 1', async () => {
  await inFolder((dir) => {
    const copy = join(dir, 'policy');
    cpSync(checkpoint, copy, { recursive: true });
    const shard = join(copy, 'model-00001-of-00002.safetensors');
    const bytes = readFileSync(shard);
    const data = 8 + Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.subarray(8, data).toString());
    const [begin] = header['language_model.model.embed_tokens.weight'].data_offsets;
    const bfloat16Nan = 0x7fc0;
    bytes.writeUInt16LE(bfloat16Nan, data + begin);
    writeFileSync(shard, bytes);
    assert.is(cli('inspect', copy).code, 0);
    const { code, stdout } = cli('inspect', copy, '--verify', '--json');
    assert.is(code, 1);
    assert.match(JSON.parse(stdout).verified.problem, /^TENSOR_NOT_FINITE: .*embed_tokens/);
  });
});

test('synth, inspect, predict, export: the commands work without trained weights', async () => {
  await inFolder((dir) => {
    const policy = join(dir, 'policy');
    const made = cli('synth', 'tiny', '--out', policy, '--seed', '3', '--llama-layers', '2', '--json');
    assert.is(made.code, 0, made.stderr);
    assert.is(JSON.parse(made.stdout).dir, policy);
    assert.is(JSON.parse(cli('inspect', policy, '--json').stdout).llama.layers, 2);

    // what synth wrote in addition to the weights is enough
    const own = cli('predict', policy, '--observation', join(policy, 'observation'), '--json');
    assert.is(own.code, 0, own.stderr);
    assert.is(JSON.parse(own.stdout).actions.length, 8);

    const observation = join(dir, 'observation');
    cpSync(join(golden, 'obs0'), observation, { recursive: true });
    const description = join(observation, 'observation.json');
    const written = JSON.parse(readFileSync(description, 'utf8'));
    writeFileSync(description, JSON.stringify({ ...written, instruction: 'lift the cup' }));
    const predicted = cli('predict', policy, '--observation', observation, '--json');
    assert.is(predicted.code, 0, predicted.stderr);
    assert.is(JSON.parse(predicted.stdout).actions.length, 8);

    const out = join(dir, 'onnx');
    const exported = cli('export', policy, '--out', out, '--json');
    assert.is(exported.code, 0, exported.stderr);
    const report = JSON.parse(exported.stdout);
    for (const name of ['instruction', 'policy']) {
      assert.is(statSync(join(out, `${name}.onnx`)).size, report[name].bytes);
    }
    for (const { location } of report.weights) assert.ok(existsSync(join(out, location)), location);
    assert.match(cli('export', policy).stdout, /in place/);

    const again = cli('synth', 'tiny', '--out', policy);
    assert.is(again.code, 2);
    assert.match(again.stderr, /^OUTPUT_UNWRITABLE: /);
  });
});

test('a folder of something else is refused by name', async () => {
  await inFolder((dir) => {
    copyFileSync(join(root, 'package.json'), join(dir, 'config.json'));
    const { code, stderr } = cli('inspect', dir);
    assert.is(code, 2);
    assert.match(stderr, /^CHECKPOINT_NOT_A_POLICY: /);
  });
});

test.run();
