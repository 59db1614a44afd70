import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compareStages } from '../../lib/stages/compareStages.ts';
import { readStages, writeStages } from '../../lib/stages/stageFile.ts';
import { compareStageNames } from '../../lib/stages/stageOrder.ts';
import { SemanticVlaError } from '../../lib/support/errors.ts';
import type { StageTensor } from '../../lib/types.ts';

const test = suite('stages');
const sample = join(import.meta.dirname, '../golden/libero-tiny/sample_o0_i0.safetensors');

function floats(...values: number[]): StageTensor {
  return { dtype: 'F32', shape: [values.length], data: Float32Array.from(values) };
}

function indices(...values: number[]): StageTensor {
  return { dtype: 'I32', shape: [values.length], data: Int32Array.from(values) };
}

function bytes(values: Uint8Array): StageTensor {
  return { dtype: 'U8', shape: [values.length], data: values };
}

async function inFolder(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'semanticvla-stages-'));
  try {
    await body(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** The only row of a comparison of one stage called `name`. */
function compareOne(
  name: string,
  a: StageTensor,
  b: StageTensor,
): { passed: boolean; reason: string | null } {
  const [row] = compareStages(new Map([[name, a]]), new Map([[name, b]])).stages;
  return row!;
}

test('what is written is read back, aligned, and nothing else is left in the folder', async () => {
  await inFolder(async (dir) => {
    const file = join(dir, 'stages.safetensors');
    const stages = new Map<string, StageTensor>([
      ['llm.attention_mask', { dtype: 'U8', shape: [1, 3], data: Uint8Array.of(1, 0, 1) }],
      ['e_avg', floats(1.5, -2, Number.NEGATIVE_INFINITY)],
      ['prompt.ids', indices(1, 512, 29871)],
    ]);
    await writeStages(file, stages);
    const raw = readFileSync(file);
    const length = Number(raw.readBigUInt64LE(0));
    assert.is(length % 8, 0);
    const header = JSON.parse(raw.subarray(8, 8 + length).toString());
    assert.equal(Object.keys(header), ['e_avg', 'llm.attention_mask', 'prompt.ids']);
    for (const name of ['e_avg', 'prompt.ids']) assert.is(header[name].data_offsets[0] % 4, 0, name);
    const back = await readStages(file);
    for (const [name, tensor] of stages) assert.equal(back.get(name), tensor, name);
    assert.equal(readdirSync(dir), ['stages.safetensors']);
  });
});

test('a stage whose shape and data disagree is not written; a folder that is not there is named', async () => {
  await inFolder(async (dir) => {
    const wrong = new Map<string, StageTensor>([['e_avg', { ...floats(1, 2), shape: [3] }]]);
    const good = new Map<string, StageTensor>([['e_avg', floats(1)]]);
    for (const [stages, file, code] of [
      [wrong, join(dir, 'a.safetensors'), 'STAGES_INVALID'],
      [good, join(dir, 'none', 'a.safetensors'), 'OUTPUT_UNWRITABLE'],
    ] as const) {
      const error = await writeStages(file, stages).then(
        () => null,
        (caught: unknown) => caught,
      );
      assert.instance(error, SemanticVlaError);
      assert.is((error as SemanticVlaError).code, code);
    }
    assert.equal(readdirSync(dir), []);
  });
});

test('reference outputs agree with themselves, stage by stage, in computation order', async () => {
  const a = await readStages(sample);
  const b = await readStages(sample);
  const { passed, stages, onlyA, onlyB } = compareStages(a, b, { strict: true });
  assert.ok(passed);
  assert.equal([onlyA, onlyB], [[], []]);
  assert.is(stages.length, a.size);
  const names = stages.map(({ name }) => name);
  assert.ok(names.indexOf('image0.cropped') < names.indexOf('e_avg'));
  assert.ok(names.indexOf('image1.siglip.final') < names.indexOf('image0.similarity'));
  assert.is(names.at(-1), 'actions.unnormalized');
  for (const { name, maxAbs, cosine, agreement, dtype } of stages) {
    assert.is(maxAbs, 0, name);
    if (dtype === 'F32') assert.ok(Math.abs(cosine! - 1) < 1e-12, `${name} ${cosine}`);
    else assert.is(agreement, 1, name);
  }
});

test('float stages differ at most by 1e-3, actions by 5e-5', () => {
  assert.ok(compareOne('llm.hidden1', floats(1, 2.0009), floats(1, 2)).passed);
  assert.not(compareOne('llm.hidden1', floats(1, 2.002), floats(1, 2)).passed);
  assert.ok(compareOne('actions.normalized', floats(0.5, 0.10004), floats(0.5, 0.1)).passed);
  assert.not(compareOne('actions.normalized', floats(0.5, 0.1001), floats(0.5, 0.1)).passed);
  // A joint that moves to 3 rad: its un-normalized tolerance is three times that of its normalized value.
  assert.ok(compareOne('actions.unnormalized', floats(3.0001), floats(3)).passed);
  assert.not(compareOne('actions.unnormalized', floats(3.0002), floats(3)).passed);
});

test('indices, ids and masks are compared exactly, kept indices as sets', () => {
  const row = compareStages(
    new Map([['image0.kept_patches', indices(1, 2, 3, 5)]]),
    new Map([['image0.kept_patches', indices(1, 3, 5, 8)]]),
  ).stages[0]!;
  assert.not(row.passed);
  assert.is(row.agreement, 0.75);
  assert.match(row.reason!, /3 of 4 entries differ/);
  assert.not(compareOne('llm.attention_mask', bytes(Uint8Array.of(1, 1)), bytes(Uint8Array.of(1, 0))).passed);
});

test('pictures may differ by one level in a few values', () => {
  const picture = new Uint8Array(20_000).fill(100);
  const two = Uint8Array.from(picture);
  two[7] = 101;
  two[9] = 99;
  const many = Uint8Array.from(picture, (value, i) => (i % 100 === 0 ? value + 1 : value));
  const far = Uint8Array.from(picture);
  far[7] = 102;
  assert.ok(compareOne('image0.resized', bytes(two), bytes(picture)).passed);
  assert.not(compareOne('image0.resized', bytes(many), bytes(picture)).passed);
  assert.not(compareOne('image0.resized', bytes(far), bytes(picture)).passed);
});

test('NaN never passes, equal infinities do', () => {
  const nan = compareOne('e_avg', floats(1, Number.NaN, 3), floats(1, 2, 3));
  assert.not(nan.passed);
  assert.match(nan.reason!, /NaN at 1/);
  assert.not(compareOne('e_avg', floats(1, Number.NaN), floats(1, Number.NaN)).passed);
  const infinity = Number.NEGATIVE_INFINITY;
  assert.ok(compareOne('e_avg', floats(0, infinity), floats(0, infinity)).passed);
  assert.not(compareOne('e_avg', floats(0, 1), floats(0, infinity)).passed);
});

test('another shape or dtype fails with both named', () => {
  assert.match(compareOne('e_avg', floats(1, 2), floats(1)).reason!, /shape \[2\] against \[1\]/);
  assert.match(compareOne('e_avg', indices(1), floats(1)).reason!, /dtype I32 against F32/);
});

test('stages on one side are listed, and fail only when strict', () => {
  const a = new Map([
    ['e_avg', floats(1)],
    ['mine', floats(1)],
  ]);
  const b = new Map([
    ['e_avg', floats(1)],
    ['bf16.actions', floats(1)],
  ]);
  const relaxed = compareStages(a, b);
  assert.ok(relaxed.passed);
  assert.equal([relaxed.onlyA, relaxed.onlyB], [['mine'], ['bf16.actions']]);
  assert.not(compareStages(a, b, { strict: true }).passed);
});

test('two files without a stage in common are an error, not a pass', () => {
  assert.throws(
    () => compareStages(new Map([['a', floats(1)]]), new Map([['b', floats(1)]])),
    (error: unknown) => error instanceof SemanticVlaError && error.code === 'STAGES_INVALID',
  );
});

test('a file that is no stage file is refused', async () => {
  await inFolder(async (dir) => {
    const file = join(dir, 'x.safetensors');
    writeFileSync(file, 'this is not a stage file at all');
    const error = await readStages(file).catch((caught: unknown) => caught);
    assert.is((error as SemanticVlaError).code, 'SAFETENSORS_INVALID');
  });
});

test('blocks sort by number', () => {
  const names = [
    'image0.siglip.block10',
    'image0.siglip.block9',
    'llm.hidden12',
    'llm.hidden3',
    'zzz',
    'e_avg',
  ];
  assert.equal(names.sort(compareStageNames), [
    'e_avg',
    'image0.siglip.block9',
    'image0.siglip.block10',
    'llm.hidden3',
    'llm.hidden12',
    'zzz',
  ]);
});

test.run();
